//! The media engine: sans-IO, one per worker. It sees bytes, addresses and a `now` that is passed
//! in; it returns bytes and events. It has no sockets, clock, threads, locks or entropy of its own
//! (DESIGN rule 3), so io_uring, AF_XDP and a simulator drive the same code.
//!
//! Verbs: [`Engine::handle_datagram`], [`Engine::handle_link`], [`Engine::handle_command`],
//! [`Engine::handle_timeout`], [`Engine::poll_timeout`], [`Engine::poll_event`].
#![forbid(unsafe_code)]

pub mod command;
mod congestion;
pub mod drop_reason;
pub mod engine;
pub mod event;
mod room;
pub mod time;
pub mod transmit;
pub mod transport;
pub mod wire;

pub use command::{Command, Neighbour};
pub use drop_reason::DropReason;
pub use engine::{Config, Engine};
pub use event::Event;
pub use time::Timestamp;
pub use transmit::{Destination, LinkId, LinkUse, Transmit};
