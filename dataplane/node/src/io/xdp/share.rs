//! Takes interfaces for AF_XDP at a node's start, before its workers: attaches the program, steers
//! ports to queues where the network card can, and opens every worker's sockets. Each step that
//! fails is logged with its reason and the next best is tried; the last is to go without.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::bpf::{Mode, Program};
use super::netlink::Questions;
use super::program::{self, ANY_QUEUE};
use super::socket::{self, Place, Receiver, Sender, TRANSMIT_RING};
use super::steer::{self, Rule};
use super::umem::{self, Frames};

/// The most sockets of one worker: queues that it serves, over all interfaces.
const MAX_SOCKETS: usize = 64;
/// Frames of a worker for receiving, and the bounds of each socket's part; powers of two.
const RECEIVE_FRAMES: usize = 16_384;
const MOST_FRAMES: usize = 4096;
const FEWEST_FRAMES: usize = 256;

/// An interface with our program.
#[derive(Debug)]
struct Attached {
    program: Program,
    /// Closing it detaches the program.
    _link: OwnedFd,
}

/// What a worker gets: its AF_XDP sockets, not used by anybody yet.
#[derive(Debug)]
pub struct Share {
    pub(super) receivers: Vec<Receiver>,
    pub(super) senders: Vec<Sender>,
    pub(super) receive_frames: Frames,
    pub(super) transmit_frames: Frames,
    /// The interfaces stay ours while any worker lives.
    pub(super) _attached: Arc<Interfaces>,
}

/// All interfaces that were taken.
#[derive(Debug)]
pub(super) struct Interfaces {
    attached: Vec<Attached>,
    _rules: Vec<Rule>,
}

/// An interface that could be taken.
struct Candidate {
    name: String,
    index: u32,
    queues: u32,
    /// The best that is still to be tried.
    mode: Mode,
}

/// An interface that cannot be taken as it was tried.
struct Refused {
    interface: u32,
    error: io::Error,
}

fn refused(interface: u32) -> impl Fn(io::Error) -> Refused {
    move |error| Refused { interface, error }
}

/// Which queues a worker serves on each interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// Worker 0 all of them, the others none.
    FirstTakesAll,
    /// Worker n the n-th, steered there by rules.
    OneEach,
}

/// The addresses of sockets as the program can take datagrams for them, by socket. None for those
/// that only the kernel can serve: wildcards (it must choose the source of what is sent), loopback
/// and link-local ones.
pub fn locals(sockets: &[UdpSocket]) -> Vec<Option<SocketAddr>> {
    let usable = |address: &SocketAddr| match address.ip() {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_loopback() && !ip.is_unicast_link_local(),
    };
    sockets.iter().map(|socket| socket.local_addr().ok().filter(usable)).collect()
}

/// Takes `interfaces` for workers with these sockets. A share for each worker, or none where it must
/// do without; the log says why.
pub fn take(interfaces: &[String], workers: &[&[UdpSocket]]) -> Vec<Option<Share>> {
    let locals: Vec<Vec<SocketAddr>> =
        workers.iter().map(|sockets| locals(sockets).into_iter().flatten().collect()).collect();
    let none = || workers.iter().map(|_| None).collect();
    if locals.iter().all(Vec::is_empty) {
        tracing::warn!("AF_XDP serves no wildcard or loopback address, and there is no other");
        return none();
    }
    let mut candidates = candidates(interfaces);
    while !candidates.is_empty() {
        let Refused { interface, error } = match take_all(&candidates, &locals) {
            Ok(shares) => return shares,
            Err(refused) => refused,
        };
        candidates.retain_mut(|candidate| {
            if candidate.index != interface {
                return true;
            }
            let (interface, mode) = (&candidate.name, candidate.mode.name());
            tracing::warn!(interface, %error, mode, "AF_XDP sockets cannot be opened");
            let native = candidate.mode == Mode::Native;
            candidate.mode = Mode::Generic;
            native
        });
    }
    none()
}

fn candidates(interfaces: &[String]) -> Vec<Candidate> {
    let inspect = |name: &String| {
        let index = index_of(name)?;
        let link = Questions::new()?.link(index)?;
        if !link.ethernet {
            return Err(io::Error::other("it is not Ethernet"));
        }
        // Drivers that do not tell have what they were made with.
        let queues = steer::receive_queues(name).unwrap_or(link.receive_queues).max(1);
        Ok(Candidate { name: name.clone(), index, queues, mode: Mode::Native })
    };
    let mut found = Vec::new();
    for name in interfaces {
        match inspect(name) {
            Ok(candidate) => found.push(candidate),
            Err(error) => tracing::warn!(interface = name, %error, "no AF_XDP on this interface"),
        }
    }
    found
}

fn index_of(name: &str) -> io::Result<u32> {
    let name = std::ffi::CString::new(name)?;
    // SAFETY: the name is a string that ends with zero and lives through the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 { Err(io::Error::last_os_error()) } else { Ok(index) }
}

/// Takes all candidates, but for those that no program can be attached to.
fn take_all(
    candidates: &[Candidate],
    locals: &[Vec<SocketAddr>],
) -> Result<Vec<Option<Share>>, Refused> {
    let mut attached = Vec::new();
    let mut all_native = true;
    for candidate in candidates {
        match attach(candidate, locals) {
            Ok((program, link, mode)) => {
                all_native &= mode == Mode::Native;
                attached.push((candidate, program, link));
            }
            Err(error) => tracing::warn!(
                interface = candidate.name,
                %error,
                "cannot attach an XDP program: going on without this interface"
            ),
        }
    }
    if attached.is_empty() {
        return Ok(locals.iter().map(|_| None).collect());
    }
    let taken: Vec<&Candidate> = attached.iter().map(|(candidate, ..)| *candidate).collect();
    let Steering { plan, rules, unsteered } = steer(&taken, locals, Rule::insert);
    let attached =
        attached.into_iter().map(|(_, program, link)| Attached { program, _link: link }).collect();
    let interfaces = Arc::new(Interfaces { attached, _rules: rules });
    let mut shares = Vec::new();
    for (worker, locals) in locals.iter().enumerate() {
        let places = places(plan, worker, &taken);
        if places.is_empty() || locals.is_empty() {
            let why = if locals.is_empty() { "no address that it serves" } else { "no queue" };
            tracing::info!(worker, why, "AF_XDP is not for this worker");
            shares.push(None);
            continue;
        }
        shares.push(Some(open(&places, &taken, &interfaces, all_native)?));
    }
    // The sockets are there: only now is anything redirected to them.
    for (worker, locals) in locals.iter().enumerate() {
        if shares[worker].is_none() {
            continue;
        }
        let queue = match plan {
            Plan::FirstTakesAll => ANY_QUEUE,
            Plan::OneEach => u32::try_from(worker).expect("few workers"),
        };
        for (candidate, interface) in taken.iter().zip(&interfaces.attached) {
            for local in locals.iter().filter(|local| !unsteered.contains(&local.is_ipv6())) {
                let key = program::local_key(*local);
                interface.program.add_local(&key, queue).map_err(refused(candidate.index))?;
            }
        }
    }
    Ok(shares)
}

/// Loads and attaches the program: natively if that is still to be tried and the driver can, else
/// generically.
fn attach(
    candidate: &Candidate,
    locals: &[Vec<SocketAddr>],
) -> io::Result<(Program, OwnedFd, Mode)> {
    let count = locals.iter().map(Vec::len).sum::<usize>().max(1);
    let count = u32::try_from(count).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = Program::load(count, candidate.queues)?;
    let interface = candidate.name.as_str();
    if candidate.mode == Mode::Native {
        match program.attach(candidate.index, Mode::Native) {
            Ok(link) => {
                tracing::info!(interface, queues = candidate.queues, "native XDP attached");
                return Ok((program, link, Mode::Native));
            }
            Err(error) => {
                tracing::warn!(interface, %error, "no native XDP: trying the generic mode");
            }
        }
    }
    let link = program.attach(candidate.index, Mode::Generic)?;
    tracing::info!(interface, queues = candidate.queues, "generic XDP attached");
    Ok((program, link, Mode::Generic))
}

/// Who serves which queues.
struct Steering<R> {
    plan: Plan,
    rules: Vec<R>,
    /// Families (IPv6: true) whose ports cannot be steered: the kernel's sockets receive for them.
    unsteered: Vec<bool>,
}

/// Several workers need rules in every interface, put there by `insert`. Cards that know only one of
/// IPv4 and IPv6 steer that one; with none, the first worker takes all.
fn steer<R>(
    candidates: &[&Candidate],
    locals: &[Vec<SocketAddr>],
    insert: impl Fn(&str, u16, bool, u32) -> io::Result<R>,
) -> Steering<R> {
    let (plan, rules, unsteered) = (Plan::FirstTakesAll, Vec::new(), Vec::new());
    let mut steering = Steering { plan, rules, unsteered };
    if locals.len() < 2 {
        return steering;
    }
    let mut families: Vec<bool> = locals.iter().flatten().map(SocketAddr::is_ipv6).collect();
    families.sort_unstable();
    families.dedup();
    for ipv6 in families {
        match steer_family(candidates, locals, ipv6, &insert) {
            Ok(rules) => {
                steering.plan = Plan::OneEach;
                steering.rules.extend(rules);
            }
            Err((interface, error)) => {
                let family = if ipv6 { "IPv6" } else { "IPv4" };
                tracing::warn!(interface, family, %error, "this interface cannot steer ports to queues");
                steering.unsteered.push(ipv6);
            }
        }
    }
    match steering.plan {
        Plan::FirstTakesAll => {
            tracing::warn!("only the first worker uses AF_XDP, and takes all queues");
            steering.unsteered.clear();
        }
        Plan::OneEach => {
            tracing::info!(workers = locals.len(), "each worker has a queue of its own")
        }
    }
    steering
}

/// The rules for one family, or which interface refused one.
fn steer_family<'a, R>(
    candidates: &[&'a Candidate],
    locals: &[Vec<SocketAddr>],
    ipv6: bool,
    insert: impl Fn(&str, u16, bool, u32) -> io::Result<R>,
) -> Result<Vec<R>, (&'a str, io::Error)> {
    let mut rules = Vec::new();
    for candidate in candidates {
        for (queue, locals) in (0..candidate.queues).zip(locals) {
            let of_family = locals.iter().filter(|local| local.is_ipv6() == ipv6);
            let mut ports: Vec<u16> = of_family.map(SocketAddr::port).collect();
            ports.sort_unstable();
            ports.dedup();
            for port in ports {
                let rule = insert(&candidate.name, port, ipv6, queue);
                rules.push(rule.map_err(|error| (candidate.name.as_str(), error))?);
            }
        }
    }
    Ok(rules)
}

/// The places of a worker's sockets.
fn places(plan: Plan, worker: usize, candidates: &[&Candidate]) -> Vec<Place> {
    let mut places = Vec::new();
    for candidate in candidates {
        let queues = match plan {
            Plan::FirstTakesAll if worker == 0 => 0..candidate.queues,
            Plan::FirstTakesAll => continue,
            Plan::OneEach => match u32::try_from(worker) {
                Ok(worker) if worker < candidate.queues => worker..worker + 1,
                _ => continue,
            },
        };
        places.extend(queues.map(|queue| Place { interface: candidate.index, queue }));
    }
    if places.len() > MAX_SOCKETS {
        tracing::warn!(
            queues = places.len(),
            served = MAX_SOCKETS,
            "more queues than a worker serves by AF_XDP: what comes by the others goes the usual way"
        );
        places.truncate(MAX_SOCKETS);
    }
    places
}

/// Opens a worker's sockets and makes them those of their queues.
fn open(
    places: &[Place],
    candidates: &[&Candidate],
    interfaces: &Arc<Interfaces>,
    all_native: bool,
) -> Result<Share, Refused> {
    // Zero-copy only where every driver can; a UMEM is of one kind for all its sockets.
    if all_native {
        match open_in(places, candidates, interfaces, false) {
            Ok(share) => return Ok(share),
            Err(Refused { error, .. }) => tracing::warn!(%error, "AF_XDP only in copy mode"),
        }
    }
    open_in(places, candidates, interfaces, true)
}

fn open_in(
    places: &[Place],
    candidates: &[&Candidate],
    interfaces: &Arc<Interfaces>,
    copy: bool,
) -> Result<Share, Refused> {
    let each =
        (RECEIVE_FRAMES / places.len().next_power_of_two()).clamp(FEWEST_FRAMES, MOST_FRAMES);
    let (receive_frames, transmit_frames) =
        umem::allocate(each * places.len(), TRANSMIT_RING as usize)
            .map_err(refused(places[0].interface))?;
    let addresses: Vec<u64> = receive_frames.addresses().collect();
    let mut receivers: Vec<Receiver> = Vec::new();
    let mut senders = Vec::new();
    for (place, frames) in places.iter().zip(addresses.chunks_exact(each)) {
        let first = receivers.first().map(|first| first.socket.as_fd());
        let (receiver, sender) = socket::open(*place, &receive_frames, frames, first, copy)
            .map_err(refused(place.interface))?;
        receivers.push(receiver);
        senders.push(sender);
    }
    for (candidate, interface) in candidates.iter().zip(&interfaces.attached) {
        for receiver in receivers.iter().filter(|r| r.place.interface == candidate.index) {
            let added = interface.program.add_socket(receiver.place.queue, receiver.socket.as_fd());
            added.map_err(refused(candidate.index))?;
        }
    }
    let _attached = Arc::clone(interfaces);
    Ok(Share { receivers, senders, receive_frames, transmit_frames, _attached })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What two workers with an IPv4 and an IPv6 address each get of two cards with 2 and 4 queues, if
    /// the card `name` refuses a family.
    fn check(refuses: impl Fn(&str, bool) -> bool, plan: Plan, rules: &str, unsteered: &[bool]) {
        let candidate = |name: &str, queues| Candidate {
            name: name.to_owned(),
            index: queues,
            queues,
            mode: Mode::Native,
        };
        let (one, two) = (candidate("a", 2), candidate("b", 4));
        let locals = [7001, 7002].map(|port| {
            let address = |ip: &str| SocketAddr::new(ip.parse().expect("an address"), port);
            vec![address("192.0.2.1"), address("192.0.2.2"), address("2001:db8::1")]
        });
        let insert = |name: &str, port: u16, ipv6: bool, queue: u32| {
            if refuses(name, ipv6) {
                return Err(io::ErrorKind::Unsupported.into());
            }
            Ok(format!("{name} {} {port} -> {queue}", if ipv6 { 6 } else { 4 }))
        };
        let steering = steer(&[&one, &two], &locals, insert);
        assert_eq!((steering.plan, steering.rules.join(", ").as_str()), (plan, rules));
        assert_eq!(steering.unsteered, unsteered);
    }

    #[test]
    fn each_worker_has_a_queue_where_a_card_steers_at_least_one_family() {
        let four = "a 4 7001 -> 0, a 4 7002 -> 1, b 4 7001 -> 0, b 4 7002 -> 1";
        let six = "a 6 7001 -> 0, a 6 7002 -> 1, b 6 7001 -> 0, b 6 7002 -> 1";
        check(|_, _| false, Plan::OneEach, &format!("{four}, {six}"), &[]);
        check(|name, ipv6| name == "b" && ipv6, Plan::OneEach, four, &[true]);
        check(|name, ipv6| name == "a" && !ipv6, Plan::OneEach, six, &[false]);
        check(|name, _| name == "b", Plan::FirstTakesAll, "", &[]);
    }
}
