//! What a client says of ICE: connectivity checks as the controlling side, which nominate (RFC 8445
//! §7.2), by a STUN library that is not ours. It never gathers candidates: the node's are known.

use is::stun::{StunMessage, TransId};

/// Above every other type of candidate (RFC 8445 §5.1.2.1).
const PRIORITY: u32 = 0x6e00_01ff;

/// One session's credentials, as a client sees them.
#[derive(Debug, Clone)]
pub struct Credentials {
    username: String,
    password: String,
}

impl Credentials {
    /// The node's ufrag and password, and the client's own ufrag.
    pub fn new(remote_ufrag: &str, password: String, own_ufrag: &str) -> Self {
        Self { username: format!("{remote_ufrag}:{own_ufrag}"), password }
    }

    /// Writes a check that nominates; none when the buffer is too short for it (256 bytes do).
    pub fn check<'a>(&self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        let request =
            StunMessage::binding_request(&self.username, TransId::new(), true, 1, PRIORITY, true);
        let password = Some(self.password.as_bytes());
        let len = request.to_bytes(password, buffer, sha1_hmac).ok()?;
        buffer.get(..len)
    }

    /// True for the authentic answer to a check.
    pub fn is_answer(&self, datagram: &[u8]) -> bool {
        matches!(datagram.first(), Some(0..=3))
            && StunMessage::parse(datagram).is_ok_and(|message| {
                message.is_successful_binding_response()
                    && message.verify(self.password.as_bytes(), sha1_hmac)
            })
    }
}

fn sha1_hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    hype_protocol::secret::sha1_hmac(key, parts)
}
