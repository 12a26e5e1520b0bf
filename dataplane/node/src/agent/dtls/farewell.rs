//! What is left of a DTLS 1.2 session once its handshake is done: the last flight as it was sent, in
//! case it was lost; our `close_notify`, sealed in advance; and the key by which the client's own is
//! understood. A few hundred bytes in place of the library's eleven thousand.

use super::read_key::{self, ALERT, HANDSHAKE, ReadKey};

/// `close_notify` (RFC 5246 §7.2.1).
const CLOSE_NOTIFY: u8 = 0;
/// Records of one datagram that are looked at: an honest one has a flight's few.
const MAX_RECORDS: usize = 8;

/// What a datagram says to a session that is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// The client's last flight, again: it lacks ours.
    Again,
    /// `close_notify`.
    Goodbye,
}

/// See above.
#[derive(Debug)]
pub struct Farewell {
    key: ReadKey,
    last_flight: Box<[Vec<u8>]>,
    close_notify: Box<[Vec<u8>]>,
}

impl Farewell {
    /// From the client's key and the datagrams of both.
    pub fn new(key: ReadKey, last_flight: Vec<Vec<u8>>, close_notify: Vec<Vec<u8>>) -> Self {
        let [last_flight, close_notify] = [last_flight, close_notify].map(|mut datagrams| {
            datagrams.iter_mut().for_each(Vec::shrink_to_fit);
            datagrams.into_boxed_slice()
        });
        Self { key, last_flight, close_notify }
    }

    /// What the client says; nothing where it is not authentic.
    pub fn read(&self, datagram: &[u8]) -> Option<Said> {
        let opened = read_key::records(datagram)
            .take(MAX_RECORDS)
            .filter_map(|record| self.key.open(record));
        let mut said = None;
        for (content_type, content) in opened {
            match (content_type, content.as_slice()) {
                (ALERT, [_, CLOSE_NOTIFY]) => return Some(Said::Goodbye),
                (HANDSHAKE, _) => said = Some(Said::Again),
                _ => {}
            }
        }
        said
    }

    /// The flight that ended the handshake. The same bytes again are no use of a nonce.
    pub fn last_flight(&self) -> impl Iterator<Item = Vec<u8>> {
        self.last_flight.iter().cloned()
    }

    /// Our `close_notify`.
    pub fn close_notify(&self) -> impl Iterator<Item = Vec<u8>> {
        self.close_notify.iter().cloned()
    }
}
