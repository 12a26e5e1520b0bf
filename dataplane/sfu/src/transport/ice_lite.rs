//! ICE-lite (RFC 8445 §2.5, §7.3): reads Binding requests, checks them by short-term credentials
//! before any state is made, and writes responses. Which session a check is for, and which
//! addresses it has, is the engine's. A reply is not longer than its request, but for the plain
//! Binding request's XOR-MAPPED-ADDRESS, which is rate-limited by [`PlainLimiter`].

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use aws_lc_rs::{constant_time, hmac};

use crate::drop_reason::DropReason;
use crate::time::Timestamp;
use crate::wire::NoRoom;
use crate::wire::stun::{Class, Message, Writer, integrity_key};

/// A STUN datagram, sorted.
#[derive(Debug, Clone, Copy)]
pub enum Incoming<'a> {
    /// A connectivity check that nobody has verified yet.
    Check(UnverifiedCheck<'a>),
    /// A Binding request without credentials: who asks learns his address, if within the limits.
    Plain(PlainRequest),
}

/// A connectivity check, before its integrity is known.
#[derive(Debug, Clone, Copy)]
pub struct UnverifiedCheck<'a> {
    message: Message<'a>,
    local_ufrag: &'a [u8],
    remote_ufrag: &'a [u8],
}

/// A check whose integrity is proven.
#[derive(Debug)]
pub struct Check {
    key: hmac::Key,
    transaction_id: [u8; 12],
    unknown_attribute: Option<u16>,
    role_conflict: bool,
    use_candidate: bool,
    /// The candidate's priority, as the peer sees it.
    pub priority: u32,
}

/// A Binding request without credentials.
#[derive(Debug, Clone, Copy)]
pub struct PlainRequest {
    transaction_id: [u8; 12],
    fingerprint: bool,
}

/// Sorts a STUN datagram. Touches no key: [`UnverifiedCheck::local_ufrag`] tells strays apart.
///
/// # Errors
/// [`DropReason::StunMalformed`], or [`DropReason::StunUnexpected`] for what is no request.
pub fn read(datagram: &[u8]) -> Result<Incoming<'_>, DropReason> {
    let message = Message::parse(datagram).map_err(|_| DropReason::StunMalformed)?;
    if message.class() != Some(Class::Request) {
        return Err(DropReason::StunUnexpected);
    }
    let Some(username) = message.username() else {
        // RFC 8489 §9.1.3: integrity without a USERNAME makes no sense with short-term credentials.
        if message.has_integrity() || message.unknown_attribute().is_some() {
            return Err(DropReason::StunMalformed);
        }
        return Ok(Incoming::Plain(PlainRequest {
            transaction_id: message.transaction_id(),
            fingerprint: message.has_fingerprint(),
        }));
    };
    // RFC 8445 §7.1 demands all of these in a check.
    let colon = username.iter().position(|&byte| byte == b':').ok_or(DropReason::StunMalformed)?;
    if !message.has_fingerprint() || message.priority().is_none() {
        return Err(DropReason::StunMalformed);
    }
    Ok(Incoming::Check(UnverifiedCheck {
        message,
        local_ufrag: &username[..colon],
        remote_ufrag: &username[colon + 1..],
    }))
}

impl<'a> UnverifiedCheck<'a> {
    /// Our ufrag, as the peer claims it: whose check this is.
    pub fn local_ufrag(&self) -> &'a [u8] {
        self.local_ufrag
    }

    /// The peer's ufrag.
    pub fn remote_ufrag(&self) -> &'a [u8] {
        self.remote_ufrag
    }

    /// Checks the credentials: our password, and the peer's ufrag from its offer.
    ///
    /// # Errors
    /// [`DropReason::StunIntegrity`] or [`DropReason::StunWrongRemoteUfrag`]; both are dropped in
    /// silence.
    pub fn verify(&self, password: &[u8], remote_ufrag: &[u8]) -> Result<Check, DropReason> {
        constant_time::verify_slices_are_equal(self.remote_ufrag, remote_ufrag)
            .map_err(|_| DropReason::StunWrongRemoteUfrag)?;
        let key = integrity_key(password);
        if !self.message.verify(&key) {
            return Err(DropReason::StunIntegrity);
        }
        Ok(Check {
            key,
            transaction_id: self.message.transaction_id(),
            unknown_attribute: self.message.unknown_attribute(),
            // RFC 8445 §7.3.1.1: a lite agent is always controlled, so its peer must not be.
            role_conflict: self.message.controlled().is_some(),
            use_candidate: self.message.use_candidate(),
            priority: self.message.priority().unwrap_or_default(),
        })
    }
}

impl Check {
    /// True when the check is answered with success; otherwise it changes nothing but liveness.
    pub fn is_accepted(&self) -> bool {
        !self.role_conflict && self.unknown_attribute.is_none()
    }

    /// True when the peer nominates the address pair that this check came over.
    pub fn nominates(&self) -> bool {
        self.is_accepted() && self.use_candidate
    }

    /// Writes the response for the address that the check came from; returns its length.
    ///
    /// # Errors
    /// [`NoRoom`]; 104 bytes always suffice.
    pub fn respond(&self, source: SocketAddr, out: &mut [u8]) -> Result<usize, NoRoom> {
        let class = if self.is_accepted() { Class::Success } else { Class::Error };
        let mut writer = Writer::new(out, class, self.transaction_id)?;
        if let Some(kind) = self.unknown_attribute {
            writer.error_code(420, "Unknown")?;
            writer.unknown_attribute(kind)?;
        } else if self.role_conflict {
            writer.error_code(487, "Role Conflict")?;
        } else {
            writer.mapped_address(source)?;
        }
        writer.integrity(&self.key)?;
        writer.finish()
    }
}

impl PlainRequest {
    /// Writes the response for the address that the request came from; returns its length.
    ///
    /// # Errors
    /// [`NoRoom`]; 64 bytes always suffice.
    pub fn respond(&self, source: SocketAddr, out: &mut [u8]) -> Result<usize, NoRoom> {
        let mut writer = Writer::new(out, Class::Success, self.transaction_id)?;
        writer.mapped_address(source)?;
        if self.fingerprint { writer.finish() } else { Ok(writer.finish_plain()) }
    }
}

/// How many sources are told apart. Prefixes that share a place share its allowance.
const PLACES: usize = 1024;
/// Between two answers to one prefix in the long run: 20 a second.
const PREFIX_INTERVAL: Duration = Duration::from_millis(50);
/// How many one prefix may have at once.
const PREFIX_BURST: u32 = 20;
/// Between two answers in all: 2,000 a second.
const TOTAL_INTERVAL: Duration = Duration::from_micros(500);
/// How many there may be at once in all.
const TOTAL_BURST: u32 = 200;

/// Limits the answers to plain Binding requests, by source prefix (/24 and /56) and in all: an
/// answer is longer than its request, and anybody's address can be written on one.
/// The table is fixed; each place is a generic cell rate algorithm (ITU-T I.371) of one word.
pub struct PlainLimiter {
    seed: u64,
    places: Box<[Timestamp; PLACES]>,
    total: Timestamp,
}

impl PlainLimiter {
    /// The seed should be secret: it decides which prefixes share a place.
    pub fn new(seed: u64) -> Self {
        Self { seed, places: Box::new([Timestamp::ZERO; PLACES]), total: Timestamp::ZERO }
    }

    /// Tells whether a request from there may be answered now, and counts it if so.
    pub fn allow(&mut self, now: Timestamp, source: IpAddr) -> bool {
        let place = self.place(source);
        let due = &mut self.places[place];
        let prefix = conforms(*due, now, PREFIX_INTERVAL, PREFIX_BURST);
        let total = conforms(self.total, now, TOTAL_INTERVAL, TOTAL_BURST);
        let (Some(prefix), Some(total)) = (prefix, total) else {
            return false;
        };
        *due = prefix;
        self.total = total;
        true
    }

    fn place(&self, source: IpAddr) -> usize {
        let (family, prefix) = match source.to_canonical() {
            IpAddr::V4(ip) => (4u64, u64::from(ip.to_bits() >> 8)),
            IpAddr::V6(ip) => (6u64, (ip.to_bits() >> 72) as u64),
        };
        // The finaliser of SplitMix64: enough to spread, since places only share allowances.
        let mut mixed = prefix ^ (family << 60) ^ self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % PLACES
    }
}

/// The next time due when one more conforms, else none.
fn conforms(due: Timestamp, now: Timestamp, interval: Duration, burst: u32) -> Option<Timestamp> {
    (due <= now + interval * (burst - 1)).then(|| due.max(now) + interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &[u8] = b"0123456789abcdef01234567";

    fn source() -> SocketAddr {
        "[2001:db8::1]:54321".parse().expect("an address")
    }

    fn check(build: impl Fn(&mut Writer<'_>) -> Result<(), NoRoom>) -> Vec<u8> {
        let mut out = [0; 256];
        let mut writer = Writer::new(&mut out, Class::Request, [7; 12]).expect("room");
        writer.username(b"ours", b"theirs").expect("room");
        build(&mut writer).expect("room");
        writer.integrity(&integrity_key(PASSWORD)).expect("room");
        let len = writer.finish().expect("room");
        out[..len].to_vec()
    }

    fn verified(datagram: &[u8]) -> Result<Check, DropReason> {
        match read(datagram)? {
            Incoming::Check(check) => {
                assert_eq!(check.local_ufrag(), b"ours");
                check.verify(PASSWORD, b"theirs")
            }
            Incoming::Plain(_) => panic!("it has a username"),
        }
    }

    #[test]
    fn a_check_is_answered_with_its_address_and_is_not_longer() {
        let request = check(|writer| {
            writer.priority(9)?;
            writer.controlling(1)?;
            writer.use_candidate()
        });
        let check = verified(&request).expect("our own password");
        assert!(check.nominates());
        assert_eq!(check.priority, 9);
        let mut out = [0; 104];
        let len = check.respond(source(), &mut out).expect("room");
        assert!(len <= request.len(), "{len} > {}", request.len());
        let reply = Message::parse(&out[..len]).expect("what we wrote");
        assert_eq!(reply.class(), Some(Class::Success));
        assert_eq!(reply.transaction_id(), [7; 12]);
        assert_eq!(reply.mapped_address(), Some(source()));
        assert!(reply.verify(&integrity_key(PASSWORD)));
        for short in 0..len {
            assert_eq!(check.respond(source(), &mut out[..short]), Err(NoRoom));
        }
    }

    #[test]
    fn wrong_credentials_and_incomplete_checks_are_dropped() {
        let request = check(|writer| writer.priority(9));
        let Ok(Incoming::Check(good)) = read(&request) else { panic!("a check") };
        let refused = |password: &[u8], ufrag: &[u8]| good.verify(password, ufrag).err();
        assert_eq!(refused(b"other", b"theirs"), Some(DropReason::StunIntegrity));
        assert_eq!(refused(PASSWORD, b"others"), Some(DropReason::StunWrongRemoteUfrag));
        assert_eq!(refused(PASSWORD, b"theirs"), None);
        for (index, bit) in (0..request.len()).flat_map(|index| [(index, 1), (index, 0x80)]) {
            let mut damaged = request.clone();
            damaged[index] ^= bit;
            assert!(read(&damaged).is_err(), "FINGERPRINT covers byte {index}");
        }
        let without_priority = check(|_| Ok(()));
        assert_eq!(read(&without_priority).err(), Some(DropReason::StunMalformed));
    }

    #[test]
    fn a_role_conflict_gets_its_error() {
        let mut out = [0; 104];
        let conflict = verified(&check(|writer| {
            writer.priority(9)?;
            writer.controlled(1)?;
            writer.use_candidate()
        }));
        let conflict = conflict.expect("authentic");
        assert!(!conflict.nominates() && !conflict.is_accepted());
        let len = conflict.respond(source(), &mut out).expect("room");
        let reply = Message::parse(&out[..len]).expect("what we wrote");
        assert_eq!(reply.error_code(), Some(487));
        assert!(reply.verify(&integrity_key(PASSWORD)));
    }

    #[test]
    fn plain_requests_are_answered_within_limits() {
        let mut out = [0; 64];
        let writer = Writer::new(&mut out, Class::Request, [1; 12]).expect("room");
        let len = writer.finish_plain();
        let Ok(Incoming::Plain(request)) = read(&out[..len]) else { panic!("no credentials") };
        let len = request.respond(source(), &mut out).expect("room");
        let reply = Message::parse(&out[..len]).expect("what we wrote");
        assert_eq!(reply.mapped_address(), Some(source()));

        let mut limiter = PlainLimiter::new(3);
        let one: IpAddr = "192.0.2.1".parse().expect("an address");
        let same_prefix: IpAddr = "192.0.2.99".parse().expect("an address");
        let now = Timestamp::from_millis(5_000);
        let allowed = (0..100).filter(|_| limiter.allow(now, one)).count();
        assert_eq!(allowed, 20);
        assert!(!limiter.allow(now, same_prefix));
        assert!(limiter.allow(now + PREFIX_INTERVAL, same_prefix));
        let later = now + PREFIX_INTERVAL;
        let others = (0..4_000_u32)
            .filter(|n| limiter.allow(later, IpAddr::from((n << 8 | 0x0a00_0001).to_be_bytes())))
            .count();
        assert_eq!(others, 199, "one of 200 was the known prefix's");
    }
}
