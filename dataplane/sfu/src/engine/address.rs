//! Which session a datagram is of, by the address it came from and the socket it came in by.
//! Only addresses that passed an authenticated ICE check stand here, at most
//! [`MAX_ADDRESSES`] a session, so a stranger cannot make the table grow.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;

use super::random::SeededState;
use crate::transmit::Destination;

/// The most addresses of one session.
pub(crate) const MAX_ADDRESSES: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    ip: u128,
    /// Scope, port, socket, family.
    rest: u64,
}

impl Key {
    #[inline]
    fn new(to: &Destination) -> Self {
        let (ip, family, scope) = match to.remote {
            SocketAddr::V4(v4) => (u128::from(v4.ip().to_bits()), 4, 0),
            SocketAddr::V6(v6) => (v6.ip().to_bits(), 6, v6.scope_id()),
        };
        let port = u64::from(to.remote.port());
        let rest = u64::from(scope) << 32 | port << 16 | u64::from(to.local) << 8 | family;
        Self { ip, rest }
    }
}

impl Hash for Key {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.ip as u64 ^ ((self.ip >> 64) as u64).rotate_left(23));
        state.write_u64(self.rest);
    }
}

/// Sessions by address.
#[derive(Debug)]
pub(crate) struct AddressTable(HashMap<Key, u32, SeededState>);

impl AddressTable {
    /// An empty table.
    pub(crate) fn new(seed: u64) -> Self {
        Self(HashMap::with_hasher(SeededState::new(seed)))
    }

    /// Whose address it is.
    #[inline]
    pub(crate) fn get(&self, from: &Destination) -> Option<usize> {
        self.0.get(&Key::new(from)).map(|session| *session as usize)
    }

    /// Gives an address to a session.
    pub(crate) fn insert(&mut self, address: &Destination, session: usize) {
        let session = u32::try_from(session).expect("sessions are counted in 32 bits");
        self.0.insert(Key::new(address), session);
    }

    /// Takes an address from a session, unless another has it by now.
    pub(crate) fn remove(&mut self, address: &Destination, session: usize) {
        let key = Key::new(address);
        if self.0.get(&key).is_some_and(|owner| *owner as usize == session) {
            self.0.remove(&key);
        }
    }

    /// How many addresses are known.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_port_family_and_scope_tell_addresses_apart() {
        let mut table = AddressTable::new(1);
        let all: Vec<Destination> = [
            (0, "10.0.0.1:1000"),
            (1, "10.0.0.1:1000"),
            (0, "10.0.0.1:1001"),
            (0, "[::10.0.0.1]:1000"),
            (0, "[fe80::1%1]:1000"),
            (0, "[fe80::1%2]:1000"),
        ]
        .map(|(local, remote)| Destination { local, remote: remote.parse().expect("an address") })
        .into();
        for (session, address) in all.iter().enumerate() {
            table.insert(address, session);
        }
        assert_eq!(table.len(), all.len());
        for (session, address) in all.iter().enumerate() {
            assert_eq!(table.get(address), Some(session));
            table.remove(address, session + 1);
            assert_eq!(table.get(address), Some(session), "only the owner's is removed");
            table.remove(address, session);
            assert_eq!(table.get(address), None);
        }
    }
}
