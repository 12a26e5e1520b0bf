//! Reads a ClientHello in the clear, before any DTLS state is made: which versions and SRTP
//! profiles the client offers (RFC 6347 §4.2, RFC 9147 §5, RFC 8446 §4.2.1, RFC 5764 §4.1).
//! Fragments are put together here, within bounds; whatever is malformed is no ClientHello.

/// The longest ClientHello that is put together, in bytes. With a post-quantum key share one has
/// about 1,800.
pub const MAX_LEN: usize = 8 * 1024;
/// Length of a DTLS record header (RFC 6347 §4.1).
const RECORD_HEADER: usize = 13;
/// Length of a handshake message header (RFC 6347 §4.2.2).
const HANDSHAKE_HEADER: usize = 12;
const CONTENT_HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const DTLS_1_2: u16 = 0xfefd;
const DTLS_1_3: u16 = 0xfefc;
const EXTENSION_USE_SRTP: u16 = 14;
const EXTENSION_EXTENDED_MASTER_SECRET: u16 = 23;
const EXTENSION_SUPPORTED_VERSIONS: u16 = 43;
/// The DTLS 1.2 cipher suites that we have: ECDHE-ECDSA with AES-GCM or ChaCha20-Poly1305.
const SUITES_1_2: [u16; 3] = [0xc02b, 0xc02c, 0xcca9];

/// Which protocol version to answer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// RFC 6347
    Dtls12,
    /// RFC 9147
    Dtls13,
}

/// What matters to us in a ClientHello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello {
    versions: Vec<u16>,
    suites: Vec<u16>,
    extended_master_secret: bool,
    /// SRTP profiles in the client's order.
    pub srtp_profiles: Vec<u16>,
    /// Where the profiles stand in the message's body.
    pub srtp_profiles_at: usize,
}

impl ClientHello {
    /// 1.2 wherever the client can do it with us: only there does our side choose the SRTP
    /// profile, and AES-GCM costs a third of AES-CM with HMAC-SHA1.
    pub fn version(&self) -> Version {
        let offers_1_2 = self.versions.contains(&DTLS_1_2)
            && self.extended_master_secret
            && self.suites.iter().any(|suite| SUITES_1_2.contains(suite));
        if self.versions.contains(&DTLS_1_3) && !offers_1_2 {
            Version::Dtls13
        } else {
            Version::Dtls12
        }
    }

    /// Reads the body of a ClientHello message.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes: body, at: 0 };
        let legacy_version = reader.u16()?;
        reader.take(32)?; // random
        reader.vector8()?; // session id
        reader.vector8()?; // cookie
        let suites = numbers(reader.vector16()?)?;
        reader.vector8()?; // compression methods
        let mut hello = Self {
            versions: vec![legacy_version],
            suites,
            extended_master_secret: false,
            srtp_profiles: Vec::new(),
            srtp_profiles_at: 0,
        };
        if reader.at == body.len() {
            return Some(hello);
        }
        let extensions_at = reader.at + 2;
        let extensions = reader.vector16()?;
        if reader.at != body.len() {
            return None;
        }
        let mut reader = Reader { bytes: extensions, at: 0 };
        while reader.at < extensions.len() {
            let kind = reader.u16()?;
            let data_at = extensions_at + reader.at + 2;
            let data = reader.vector16()?;
            let mut data = Reader { bytes: data, at: 0 };
            match kind {
                EXTENSION_USE_SRTP => {
                    hello.srtp_profiles_at = data_at + 2;
                    hello.srtp_profiles = numbers(data.vector16()?)?;
                }
                EXTENSION_EXTENDED_MASTER_SECRET => hello.extended_master_secret = true,
                EXTENSION_SUPPORTED_VERSIONS => hello.versions = numbers(data.vector8()?)?,
                _ => {}
            }
        }
        Some(hello)
    }
}

fn numbers(bytes: &[u8]) -> Option<Vec<u16>> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect())
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u24(&mut self) -> Option<usize> {
        self.take(3).map(|b| usize::from(b[0]) << 16 | usize::from(b[1]) << 8 | usize::from(b[2]))
    }

    fn vector8(&mut self) -> Option<&'a [u8]> {
        let len = self.take(1)?[0];
        self.take(len.into())
    }

    fn vector16(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.take(len.into())
    }
}

/// One fragment of a ClientHello.
struct Fragment<'a> {
    total: usize,
    offset: usize,
    data: &'a [u8],
}

/// Calls `visit` with the length of the whole ClientHello, the offset and the bytes of each of its
/// fragments in a datagram.
pub fn for_each_fragment(datagram: &mut [u8], mut visit: impl FnMut(usize, usize, &mut [u8])) {
    let mut places = Vec::new();
    let mut record_at = 0;
    while let Some((record, _)) = split_record(&datagram[record_at..]) {
        let mut messages = Reader { bytes: record, at: 0 };
        while let Some(fragment) = next_fragment(&mut messages) {
            let end = record_at + RECORD_HEADER + messages.at;
            places.push((fragment.total, fragment.offset, end - fragment.data.len()..end));
        }
        record_at += RECORD_HEADER + record.len();
    }
    for (total, offset, range) in places {
        visit(total, offset, &mut datagram[range]);
    }
}

/// Puts the fragments of one ClientHello together.
#[derive(Debug, Default)]
pub struct Assembly {
    body: Vec<u8>,
    /// Which bytes of the body are there.
    present: Vec<bool>,
    missing: usize,
}

impl Assembly {
    /// Takes what a datagram holds of the ClientHello; returns its whole body once it is there.
    pub fn handle_datagram(&mut self, datagram: &[u8]) -> Option<&[u8]> {
        let mut rest = datagram;
        while let Some((record, tail)) = split_record(rest) {
            rest = tail;
            let mut messages = Reader { bytes: record, at: 0 };
            while let Some(fragment) = next_fragment(&mut messages) {
                self.insert(&fragment);
            }
        }
        (!self.body.is_empty() && self.missing == 0).then_some(&self.body)
    }

    fn insert(&mut self, fragment: &Fragment<'_>) {
        if self.body.is_empty() {
            self.body = vec![0; fragment.total];
            self.present = vec![false; fragment.total];
            self.missing = fragment.total;
        }
        // Another ClientHello than the one begun: the first one stands.
        if fragment.total != self.body.len() {
            return;
        }
        let range = fragment.offset..fragment.offset + fragment.data.len();
        self.body[range.clone()].copy_from_slice(fragment.data);
        for present in &mut self.present[range] {
            self.missing -= usize::from(!std::mem::replace(present, true));
        }
    }
}

/// The body of the first record if it is an unencrypted handshake record, and what follows it.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let header = bytes.get(..RECORD_HEADER)?;
    let len = usize::from(u16::from_be_bytes([header[11], header[12]]));
    let body = bytes.get(RECORD_HEADER..RECORD_HEADER + len)?;
    let plain = header[0] == CONTENT_HANDSHAKE && header[3..5] == [0, 0];
    plain.then_some((body, &bytes[RECORD_HEADER + len..]))
}

fn next_fragment<'a>(messages: &mut Reader<'a>) -> Option<Fragment<'a>> {
    if messages.bytes.len() - messages.at < HANDSHAKE_HEADER {
        return None;
    }
    let kind = messages.take(1)?[0];
    let total = messages.u24()?;
    messages.take(2)?; // message sequence
    let offset = messages.u24()?;
    let len = messages.u24()?;
    let data = messages.take(len)?;
    let fits = (1..=MAX_LEN).contains(&total) && offset + len <= total;
    (kind == CLIENT_HELLO && fits).then_some(Fragment { total, offset, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ClientHello body with the given legacy version, suites and extensions.
    fn body(suites: &[u16], extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut body = DTLS_1_2.to_be_bytes().to_vec();
        body.extend([7; 32]);
        body.extend([0, 0]);
        body.extend(u16::try_from(suites.len() * 2).expect("few").to_be_bytes());
        suites.iter().for_each(|suite| body.extend(suite.to_be_bytes()));
        body.extend([1, 0]);
        let mut block = Vec::new();
        for (kind, data) in extensions {
            block.extend(kind.to_be_bytes());
            block.extend(u16::try_from(data.len()).expect("short").to_be_bytes());
            block.extend(data);
        }
        body.extend(u16::try_from(block.len()).expect("short").to_be_bytes());
        body.extend(block);
        body
    }

    fn versions(list: &[u16]) -> (u16, Vec<u8>) {
        let mut data = vec![u8::try_from(list.len() * 2).expect("few")];
        list.iter().for_each(|version| data.extend(version.to_be_bytes()));
        (EXTENSION_SUPPORTED_VERSIONS, data)
    }

    fn record(body: &[u8], offset: usize, len: usize) -> Vec<u8> {
        let u24 = |n: usize| u32::try_from(n).expect("small").to_be_bytes()[1..].to_vec();
        let mut record = vec![CONTENT_HANDSHAKE, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0];
        record.extend(u16::try_from(HANDSHAKE_HEADER + len).expect("short").to_be_bytes());
        record.push(CLIENT_HELLO);
        record.extend(u24(body.len()));
        record.extend([0, 0]);
        record.extend(u24(offset));
        record.extend(u24(len));
        record.extend(&body[offset..offset + len]);
        record
    }

    #[test]
    fn the_version_is_1_2_unless_only_1_3_works() {
        let ems = (EXTENSION_EXTENDED_MASTER_SECRET, vec![]);
        let both = versions(&[DTLS_1_3, DTLS_1_2]);
        for (suites, extensions, expected) in [
            (&[0xc02b][..], vec![ems.clone()], Version::Dtls12),
            (&[0x1301, 0xc02b], vec![ems.clone(), both.clone()], Version::Dtls12),
            (&[0x1301, 0xc02b], vec![ems.clone(), versions(&[DTLS_1_3])], Version::Dtls13),
            // No suite of ours for 1.2, or no extended master secret.
            (&[0x1301, 0xc013], vec![ems, both.clone()], Version::Dtls13),
            (&[0x1301, 0xc02b], vec![both], Version::Dtls13),
        ] {
            let hello = ClientHello::parse(&body(suites, &extensions)).expect("well formed");
            assert_eq!(hello.version(), expected, "{suites:x?} {extensions:?}");
        }
    }

    #[test]
    fn srtp_profiles_are_found_where_they_stand() {
        let srtp = (EXTENSION_USE_SRTP, vec![0, 4, 0, 1, 0, 7, 0]);
        let body = body(&[0x1301], &[versions(&[DTLS_1_3]), srtp]);
        let hello = ClientHello::parse(&body).expect("well formed");
        assert_eq!(hello.srtp_profiles, [1, 7]);
        assert_eq!(body[hello.srtp_profiles_at..][..4], [0, 1, 0, 7]);
        for len in 0..body.len() {
            // Extensions may be absent altogether (RFC 5246 §7.4.1.2).
            let parsed = ClientHello::parse(&body[..len]);
            assert!(parsed.is_none_or(|hello| hello.srtp_profiles.is_empty()), "cut at {len}");
        }
    }

    #[test]
    fn fragments_come_in_any_order_and_twice() {
        let body = body(&[0xc02b], &[(21, vec![5; 900])]);
        let cut = 300;
        let rest = body.len() - cut;
        let (first, second) = (record(&body, 0, cut), record(&body, cut, rest));
        let whole = record(&body, 0, body.len());
        assert_eq!(Assembly::default().handle_datagram(&whole), Some(&body[..]));
        for datagrams in [
            vec![first.clone(), second.clone()],
            vec![second.clone(), first.clone()],
            vec![first.clone(), first.clone(), second.clone()],
            vec![[first.clone(), second.clone()].concat()],
        ] {
            let mut assembly = Assembly::default();
            let (last, early) = datagrams.split_last().expect("at least one");
            for datagram in early {
                assert_eq!(assembly.handle_datagram(datagram), None);
            }
            assert_eq!(assembly.handle_datagram(last), Some(&body[..]));
        }
    }

    #[test]
    fn what_is_no_client_hello_is_passed_over() {
        let body = body(&[0xc02b], &[]);
        let good = record(&body, 0, body.len());
        let mut huge = good.clone();
        huge[14..17].copy_from_slice(&[0xff; 3]);
        let mut outside = good.clone();
        outside[21] = 1;
        let mut encrypted = good.clone();
        encrypted[4] = 1;
        let mut other_message = good.clone();
        other_message[13] = 2;
        for datagram in [huge, outside, encrypted, other_message, vec![], vec![22; 13]] {
            assert_eq!(Assembly::default().handle_datagram(&datagram), None);
        }
        for len in 0..good.len() {
            assert_eq!(Assembly::default().handle_datagram(&good[..len]), None);
        }
    }
}
