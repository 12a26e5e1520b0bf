//! The gateway over real sockets: a whole control replica with its SQLite file, the in-memory
//! coordination store, and a node's end of the observation pipe that the test speaks for.

mod harness;
mod insights;
mod positions;
mod rights;
mod session;
mod visibility;
mod voice;
