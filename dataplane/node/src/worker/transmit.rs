//! The engine's transmit queue on top of the back end's: the one place that knows both.

use hype_sfu::{Destination, Transmit};

use crate::io::TransmitQueue;

/// Lends a back end's queue to the engine.
pub(super) struct EngineTransmit<'a, Q>(pub &'a mut Q);

impl<Q: TransmitQueue> Transmit for EngineTransmit<'_, Q> {
    #[inline]
    fn reserve(&mut self) -> Option<&mut [u8]> {
        self.0.reserve()
    }

    #[inline]
    fn commit(&mut self, len: usize, to: &Destination) {
        self.0.commit(len, to.local, to.remote);
    }
}
