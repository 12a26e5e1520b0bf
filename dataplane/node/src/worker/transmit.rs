//! The engine's transmit queue on top of the back end's and of the links to other workers: the one
//! place that knows them all.

use hype_sfu::{Destination, LinkId, LinkUse, Transmit};

use super::links::Links;
use crate::io::TransmitQueue;

/// Lends a back end's queue, and the worker's links, to the engine.
pub(super) struct EngineTransmit<'a, Q>(pub &'a mut Q, pub &'a mut Links);

impl<Q: TransmitQueue> Transmit for EngineTransmit<'_, Q> {
    #[inline]
    fn reserve(&mut self) -> Option<&mut [u8]> {
        self.0.reserve()
    }

    #[inline]
    fn commit(&mut self, len: usize, to: &Destination) {
        self.0.commit(len, to.local, to.remote);
    }

    #[inline]
    fn reserve_link(&mut self, to: LinkId, usage: LinkUse) -> Option<&mut [u8]> {
        self.1.reserve(to, usage)
    }

    #[inline]
    fn commit_link(&mut self, to: LinkId, len: usize) {
        self.1.commit(to, len);
    }
}
