//! What the two planes of Hype agree on: identifiers, units, the records in the coordination
//! store, the messages between clients, the control plane and the nodes, and those
//! between the parts of a room.
//! It holds no behaviour beyond encoding and key derivation and, behind the `runtime` feature,
//! the store itself, the observation pipe and the fleet's certificates.

pub mod bench;
pub mod gateway;
pub mod guild;
pub mod id;
pub mod key;
pub mod link;
pub mod media;
pub mod observation;
pub mod permission;
pub mod record;
pub mod secret;
pub mod unit;

#[cfg(feature = "runtime")]
pub mod coordination;
#[cfg(feature = "runtime")]
pub mod identity;
#[cfg(feature = "runtime")]
pub mod pipe;
