//! STUN and DTLS: how a client's addresses become known, and how its handshake passes through to
//! the agent. A check is verified before any state is made; whatever fails is dropped in silence.

use std::time::Duration;

use crate::drop_reason::DropReason;
use crate::event::Event;
use crate::time::Timestamp;
use crate::transmit::{Destination, Transmit};
use crate::transport::ice_lite::{self, Check, Incoming};

use super::Engine;

/// An address that another session uses is taken over only when that one was silent for this
/// long: otherwise a client that forges its source address could cut somebody else off.
const TAKEOVER_SILENCE: Duration = Duration::from_secs(3);

impl Engine {
    pub(super) fn handle_stun<T: Transmit>(
        &mut self,
        now: Timestamp,
        from: &Destination,
        datagram: &[u8],
        out: &mut T,
    ) -> Result<(), DropReason> {
        match ice_lite::read(datagram)? {
            Incoming::Plain(request) => {
                if !self.plain_limiter.allow(now, from.remote.ip()) {
                    return Err(DropReason::StunRateLimited);
                }
                let buffer = out.reserve().ok_or(DropReason::TransmitFull)?;
                let len = request.respond(from.remote, buffer).map_err(|_| DropReason::Oversize)?;
                out.commit(len, from);
                self.counters.sent(len);
                Ok(())
            }
            Incoming::Check(unverified) => {
                let (worker, id) = self
                    .config
                    .boot_keys
                    .open_ufrag(unverified.local_ufrag())
                    .filter(|(worker, _)| *worker == self.config.worker)
                    .ok_or(DropReason::StunUnknownUfrag)?;
                debug_assert_eq!(worker, self.config.worker);
                let &key = self.by_id.get(&id).ok_or(DropReason::StunUnknownSession)?;
                let session = &self.sessions[key];
                let check = unverified
                    .verify(session.password.as_bytes(), session.remote_ufrag.as_bytes())?;
                self.handle_check(now, key, from, &check, out)
            }
        }
    }

    fn handle_check<T: Transmit>(
        &mut self,
        now: Timestamp,
        key: usize,
        from: &Destination,
        check: &Check,
        out: &mut T,
    ) -> Result<(), DropReason> {
        let first_heard = self.sessions[key].heard_at.replace(now).is_none();
        let buffer = out.reserve().ok_or(DropReason::TransmitFull)?;
        let len = check.respond(from.remote, buffer).map_err(|_| DropReason::Oversize)?;
        if check.is_accepted() {
            self.note_address(now, key, from, check.nominates())?;
        }
        out.commit(len, from);
        self.counters.sent(len);
        self.counters.checks_answered += 1;
        let session = &self.sessions[key];
        if session.native && !session.connected && check.is_accepted() {
            self.connect(key, now);
        } else if first_heard {
            self.reschedule(key);
        }
        Ok(())
    }

    /// An address passed a check: datagrams from it are this session's from now on. The first one
    /// is selected at once so that DTLS can be answered; later only a nomination selects.
    fn note_address(
        &mut self,
        now: Timestamp,
        key: usize,
        address: &Destination,
        nominated: bool,
    ) -> Result<(), DropReason> {
        let owner = self.addresses.get(address);
        if let Some(owner) = owner.filter(|owner| *owner != key) {
            let heard = self.sessions[owner].heard_at;
            if heard.is_some_and(|heard| now.since(heard) < TAKEOVER_SILENCE) {
                return Err(DropReason::StunAddressTaken);
            }
            self.sessions[owner].addresses.retain(|known| known != address);
        }
        let session = &mut self.sessions[key];
        let peer = &mut self.rooms[session.room].peers[session.peer];
        if nominated || peer.destination.is_none() {
            peer.destination = Some(*address);
        }
        if let Some(evicted) = session.note_address(*address, peer.destination.as_ref()) {
            self.addresses.remove(&evicted, key);
        }
        if owner != Some(key) {
            self.addresses.insert(address, key);
        }
        Ok(())
    }

    pub(super) fn handle_dtls(
        &mut self,
        from: &Destination,
        datagram: &[u8],
    ) -> Result<(), DropReason> {
        let key = self.addresses.get(from).ok_or(DropReason::UnknownAddress)?;
        let session = &self.sessions[key];
        if session.native {
            return Err(DropReason::DtlsUnexpected);
        }
        let event = Event::Dtls { session: session.id, datagram: datagram.to_vec() };
        if self.events.push(event) { Ok(()) } else { Err(DropReason::DtlsQueueFull) }
    }
}
