//! The REST API over real sockets: the whole control plane on an address of its own, with an
//! in-memory coordination store and the test as its node.

mod access;
mod accounts;
mod community;
mod deletion;
mod document;
mod guilds;
mod idempotency;
mod limits;
mod messages;
mod moderation;
mod operations;
mod roles;
mod server;
mod surface;
