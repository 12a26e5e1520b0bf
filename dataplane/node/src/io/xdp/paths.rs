//! Which way a datagram goes: past the kernel by one of our interfaces, with prepared headers, or by
//! the kernel's socket. Learned from the kernel on the first datagram to a destination, forgotten
//! when the kernel's routes change, kept true by its news of neighbours.
//!
//! By the kernel goes whatever is not plainly ours: other interfaces, loopback, broadcast, tunnels,
//! unknown or long unheard neighbours (so that the kernel resolves or checks them), and datagrams
//! longer than the MTU.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use super::frame::{MacAddress, Template};
use super::netlink::{Link, News, Newsreader, Questions};

/// Destinations that are remembered: sets of [`WAYS`]. A worker has fewer peers than that; one more
/// takes the place of another of its set.
const SETS: usize = 4096;
const WAYS: usize = 4;
/// Next hops that are followed; destinations behind further ones go by the kernel.
const MAX_HOPS: usize = 4096;
/// Destinations that are looked up in one turn of the worker; others go by the kernel meanwhile.
const LOOKUPS_PER_TURN: u32 = 64;
/// How often the kernel shall see traffic to a neighbour in use, so that it keeps checking it.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Pace of housekeeping.
const TICK: Duration = Duration::from_secs(1);
/// However often routes change, what was learned is thrown away at most this often.
const FORGET_AT_MOST_EVERY: Duration = Duration::from_millis(100);

/// A way past the kernel.
pub struct Way<'a> {
    pub template: &'a Template,
    pub next_hop: MacAddress,
    /// Index of the sender, as given to [`Paths::new`].
    pub sender: usize,
}

/// Where in the table a destination is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Place(u16);

/// Two cache lines, both of which a datagram needs.
#[derive(Debug)]
#[repr(align(64))]
struct Entry {
    local: u8,
    remote: SocketAddr,
    /// It holds only while this is the table's own.
    generation: u64,
    direction: Direction,
}

const _: () = assert!(size_of::<Option<Entry>>() == 128);

#[derive(Debug)]
enum Direction {
    Kernel,
    Past { hop: u16, sender: u8, longest: u16, template: Template },
}

/// A neighbour that destinations are behind.
#[derive(Debug)]
struct Hop {
    /// The kernel resolves its address.
    resolved: bool,
    mac: MacAddress,
    usable: bool,
    stale: bool,
    /// The next datagram goes by the kernel.
    refresh: bool,
    used: bool,
    refreshed: Instant,
}

/// One of our interfaces, and the sender that serves it.
#[derive(Debug)]
struct Own {
    interface: u32,
    sender: u8,
    link: Option<Link>,
}

/// The table.
#[derive(Debug)]
pub struct Paths {
    /// By socket; none where the kernel must choose the source address.
    locals: Vec<Option<SocketAddr>>,
    own: Vec<Own>,
    entries: Vec<Option<Entry>>,
    hops: Vec<Hop>,
    hop_index: HashMap<(u32, IpAddr), u16>,
    questions: Questions,
    news: Newsreader,
    seed: u64,
    generation: u64,
    /// Routes have changed since the table was emptied.
    outdated: bool,
    forgotten: Instant,
    ticked: Instant,
    lookups: u32,
    victim: usize,
}

impl Paths {
    /// For sockets bound to `locals`, and senders on `interfaces`.
    ///
    /// # Errors
    /// When there is no netlink.
    pub fn new(locals: Vec<Option<SocketAddr>>, interfaces: &[u32]) -> io::Result<Self> {
        // News first: what changes after an answer is heard.
        let news = Newsreader::new()?;
        let mut own: Vec<Own> = Vec::new();
        for (sender, interface) in interfaces.iter().enumerate() {
            // The first sender of an interface serves it; others are there to receive.
            if own.iter().all(|own| own.interface != *interface) {
                let sender = u8::try_from(sender).map_err(|_| io::ErrorKind::InvalidInput)?;
                own.push(Own { interface: *interface, sender, link: None });
            }
        }
        let now = Instant::now();
        let mut paths = Self {
            locals,
            own,
            entries: std::iter::repeat_with(|| None).take(SETS * WAYS).collect(),
            hops: Vec::new(),
            hop_index: HashMap::new(),
            questions: Questions::new()?,
            news,
            seed: RandomState::new().hash_one(0u8) | 1,
            generation: 0,
            outdated: false,
            forgotten: now,
            ticked: now,
            lookups: LOOKUPS_PER_TURN,
            victim: 0,
        };
        paths.forget(now);
        Ok(paths)
    }

    /// Readable when the kernel has news.
    pub fn descriptor(&self) -> RawFd {
        self.news.as_raw_fd()
    }

    /// Where `find` will look, which is called into the cache.
    #[inline]
    pub fn place(&self, local: u8, remote: &SocketAddr) -> Place {
        let set = self.set(local, remote);
        hype_gcm::prefetch(&self.entries[set * WAYS]);
        Place(set as u16)
    }

    /// The way past the kernel, or none: by its socket.
    #[inline]
    pub fn find(
        &mut self,
        place: Place,
        local: u8,
        remote: SocketAddr,
        payload: usize,
    ) -> Option<Way<'_>> {
        let start = usize::from(place.0) * WAYS;
        let generation = self.generation;
        let known = self.entries[start..start + WAYS].iter().position(|entry| {
            entry.as_ref().is_some_and(|entry| {
                entry.generation == generation && entry.local == local && entry.remote == remote
            })
        });
        let index = match known {
            Some(way) => start + way,
            None => self.learn(start, local, remote)?,
        };
        let entry = self.entries[index].as_ref().expect("it was just found or made");
        let Direction::Past { hop, sender, longest, template } = &entry.direction else {
            return None;
        };
        let hop = &mut self.hops[usize::from(*hop)];
        hop.used = true;
        if !hop.usable || template.packet_len(payload) > usize::from(*longest) {
            return None;
        }
        if hop.refresh {
            hop.refresh = false;
            return None;
        }
        Some(Way { template, next_hop: hop.mac, sender: usize::from(*sender) })
    }

    /// Once a turn, and when there is news.
    pub fn turn(&mut self, news: bool) {
        self.lookups = LOOKUPS_PER_TURN;
        let now = Instant::now();
        if news {
            self.read();
        }
        if self.outdated && now.duration_since(self.forgotten) >= FORGET_AT_MOST_EVERY {
            self.forget(now);
        }
        if now.duration_since(self.ticked) >= TICK {
            self.ticked = now;
            for hop in &mut self.hops {
                let due = hop.stale || now.duration_since(hop.refreshed) >= KEEP_ALIVE;
                if std::mem::take(&mut hop.used) && due && hop.resolved {
                    hop.refresh = true;
                    hop.refreshed = now;
                }
            }
        }
    }

    /// How long a sleep may be so that what is due is done.
    pub fn patience(&self) -> Option<Duration> {
        self.outdated.then_some(FORGET_AT_MOST_EVERY)
    }

    fn read(&mut self) {
        let Self { news, hops, hop_index, outdated, own, .. } = self;
        news.read(|news| match news {
            News::Routes => *outdated = true,
            // Containers come and go; what leaves by their interfaces is the kernel's.
            News::Link { interface } => {
                *outdated |= own.iter().any(|own| own.interface == interface);
            }
            News::Neighbour { interface, ip, neighbour } => {
                let Some(index) = hop_index.get(&(interface, ip)) else { return };
                let hop = &mut hops[usize::from(*index)];
                hop.usable = neighbour.is_some();
                if let Some(neighbour) = neighbour {
                    hop.mac = neighbour.mac;
                    hop.stale = neighbour.stale;
                }
            }
        });
    }

    /// Empties the table, and asks for our interfaces anew.
    fn forget(&mut self, now: Instant) {
        self.outdated = false;
        self.forgotten = now;
        self.generation += 1;
        self.hops.clear();
        self.hop_index.clear();
        for own in &mut self.own {
            own.link = self.questions.link(own.interface).ok().filter(|link| link.up);
        }
    }

    fn set(&self, local: u8, remote: &SocketAddr) -> usize {
        let ip = match remote.ip() {
            IpAddr::V4(ip) => u64::from(ip.to_bits()),
            IpAddr::V6(ip) => {
                let bits = ip.to_bits();
                (bits as u64) ^ ((bits >> 64) as u64).wrapping_mul(self.seed)
            }
        };
        let rest = u64::from(remote.port()) << 8 | u64::from(local);
        // A secret multiplier: who sends from many addresses cannot choose which of them meet.
        let mixed = (ip ^ rest << 32).wrapping_mul(self.seed);
        ((mixed ^ mixed >> 29).wrapping_mul(self.seed) >> 40) as usize % SETS
    }

    /// Asks the kernel, and remembers what it said. None when it was asked enough in this turn, or
    /// did not say.
    #[cold]
    fn learn(&mut self, start: usize, local: u8, remote: SocketAddr) -> Option<usize> {
        self.lookups = self.lookups.checked_sub(1)?;
        let direction = self.look_up(local, remote)?;
        let generation = self.generation;
        let set = &self.entries[start..start + WAYS];
        let free = set
            .iter()
            .position(|entry| entry.as_ref().is_none_or(|entry| entry.generation != generation));
        let way = free.unwrap_or_else(|| {
            self.victim = (self.victim + 1) % WAYS;
            self.victim
        });
        self.entries[start + way] = Some(Entry { local, remote, generation, direction });
        Some(start + way)
    }

    fn look_up(&mut self, local: u8, remote: SocketAddr) -> Option<Direction> {
        let Some(Some(from)) = self.locals.get(usize::from(local)).copied() else {
            return Some(Direction::Kernel);
        };
        let same_family = from.is_ipv4() == remote.is_ipv4();
        // Port 0 is an error that the kernel reports.
        if !same_family || remote.port() == 0 || has_scope(remote.ip()) {
            return Some(Direction::Kernel);
        }
        let Ok(route) = self.questions.route(from.ip(), remote.ip()) else {
            // No route: the kernel counts it. One may come, of which there is news.
            return Some(Direction::Kernel);
        };
        let Some(route) = route else { return Some(Direction::Kernel) };
        let own = self.own.iter().find(|own| own.interface == route.interface);
        let Some((sender, link)) = own.and_then(|own| Some((own.sender, own.link?))) else {
            return Some(Direction::Kernel);
        };
        let Some(template) = Template::new(link.mac, from, remote) else {
            return Some(Direction::Kernel);
        };
        let longest = route.mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu));
        let longest = u16::try_from(longest).unwrap_or(u16::MAX);
        let neighbour = route.gateway.unwrap_or(remote.ip());
        let Some(hop) = self.hop(route.interface, neighbour, &link) else {
            return Some(Direction::Kernel);
        };
        Some(Direction::Past { hop, sender, longest, template })
    }

    /// The next hop's number; none when there are too many, or the kernel does not answer.
    fn hop(&mut self, interface: u32, ip: IpAddr, link: &Link) -> Option<u16> {
        // An interface that resolves nothing takes everything: one next hop for all.
        let ip = if link.no_arp { Ipv4Addr::UNSPECIFIED.into() } else { ip };
        if let Some(index) = self.hop_index.get(&(interface, ip)) {
            return Some(*index);
        }
        if self.hops.len() >= MAX_HOPS {
            return None;
        }
        let now = Instant::now();
        let mut hop = Hop {
            resolved: !link.no_arp,
            // As the kernel addresses what nobody resolves: to the interface itself.
            mac: link.mac,
            usable: true,
            stale: false,
            refresh: false,
            used: false,
            refreshed: now,
        };
        if !link.no_arp {
            let neighbour = self.questions.neighbour(interface, ip).ok()?;
            hop.usable = neighbour.is_some();
            if let Some(neighbour) = neighbour {
                (hop.mac, hop.stale) = (neighbour.mac, neighbour.stale);
                // Nobody knows how long it has been unheard of.
                hop.refresh = neighbour.stale;
            }
        }
        let index = u16::try_from(self.hops.len()).expect("fewer than MAX_HOPS");
        self.hops.push(hop);
        self.hop_index.insert((interface, ip), index);
        Some(index)
    }
}

/// Addresses whose interface is part of them.
fn has_scope(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_multicast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_multicast(),
    }
}
