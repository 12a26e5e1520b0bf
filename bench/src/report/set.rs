//! The set of benches that make a report: which shapes, on which back ends and sinks, and what
//! each of them needs of the machine.

use super::result::Group;

/// One run to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// Stable name.
    pub id: String,
    /// What it measures.
    pub group: Group,
    /// Words after `hype bench`.
    pub arguments: Vec<String>,
    /// Namespaces and devices are made by it, or a socket that only root opens.
    pub needs_root: bool,
    /// It loads a whole server, whose address is added as `--url`.
    pub needs_server: bool,
    /// How long it may take before it is stopped, seconds.
    pub patience_s: u64,
}

/// How much to run.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Seconds of each measurement.
    pub seconds: u64,
    /// Few shapes and small ones, to see that everything works.
    pub quick: bool,
    /// Cores of this machine.
    pub cores: usize,
}

/// A room's shape.
#[derive(Clone, Copy)]
struct Shape {
    speakers: u32,
    people: u32,
    rooms: u32,
}

/// The runs, in the order in which they are made.
pub fn set(extent: Extent) -> Vec<Planned> {
    let mut set = Set { extent, planned: Vec::new() };
    set.engine();
    set.rates();
    set.room_sizes();
    set.workers();
    set.vbr();
    set.sweeps();
    set.video();
    set.whole();
    set.planned
}

struct Set {
    extent: Extent,
    planned: Vec<Planned>,
}

impl Set {
    fn add(&mut self, id: String, group: Group, arguments: &str) -> &mut Planned {
        let mut arguments: Vec<String> = arguments.split_whitespace().map(String::from).collect();
        arguments.push("--json".into());
        let patience_s = 120 + self.extent.seconds * 40;
        self.planned.push(Planned {
            id,
            group,
            arguments,
            needs_root: false,
            needs_server: false,
            patience_s,
        });
        self.planned.last_mut().expect("one was pushed just now")
    }

    fn relay(&mut self, id: &str, group: Group, io: &str, sink: &str, shape: Shape, more: &str) {
        let Shape { speakers, people, rooms } = shape;
        let seconds = self.extent.seconds;
        let arguments = format!(
            "relay --io {io} --sink {sink} --speakers {speakers} --listeners {people} \
             --rooms {rooms} --seconds {seconds} {more}"
        );
        self.add(id.into(), group, &arguments).needs_root = sink != "loopback" || io == "xdp";
    }

    fn engine(&mut self) {
        let mut shapes = vec![(50, 160, "gcm")];
        if !self.extent.quick {
            shapes.extend([(50, 1100, "gcm"), (300, 160, "gcm"), (50, 160, "cm")]);
        }
        for (listeners, payload, suite) in shapes {
            let seconds = self.extent.seconds;
            self.add(
                format!("engine-{listeners}-{payload}-{suite}"),
                Group::Engine,
                &format!(
                    "engine --listeners {listeners} --speakers 1 --payload {payload} \
                     --suite {suite} --seconds {seconds}"
                ),
            );
        }
    }

    fn rates(&mut self) {
        let all: &[u32] = if self.extent.quick { &[1, 10] } else { &[1, 3, 10, 30] };
        for &speakers in all {
            let shape = Shape { speakers, people: 50, rooms: 1 };
            let slots = format!("--payload 160 --slots {speakers}");
            let name = |io: &str| format!("rate-{io}-{speakers}x50");
            let against = format!("{slots} --against floor");
            self.relay(&name("uring"), Group::Rate, "uring", "loopback", shape, &against);
            self.relay(&name("socket"), Group::Rate, "socket", "loopback", shape, &slots);
            let against = format!("{slots} --against uring");
            self.relay(&name("xdp-veth"), Group::Rate, "xdp", "veth", shape, &against);
            if speakers >= 10 {
                self.relay(&name("xdp-ifb"), Group::Rate, "xdp", "ifb", shape, &against);
            }
        }
    }

    fn room_sizes(&mut self) {
        // Small rooms come many at once, as they do in life.
        let all: &[(u32, u32)] = if self.extent.quick {
            &[(4, 10), (50, 1)]
        } else {
            &[(2, 50), (4, 40), (10, 20), (50, 5), (150, 2), (300, 1)]
        };
        for &(people, rooms) in all {
            let shape = Shape { speakers: 2, people, rooms };
            let id = format!("room-uring-2x{people}");
            let more = "--payload 160 --against floor";
            self.relay(&id, Group::RoomSize, "uring", "loopback", shape, more);
        }
    }

    fn workers(&mut self) {
        let cores = u32::try_from(self.extent.cores).unwrap_or(1);
        let most = if self.extent.quick { 1 } else { 16 };
        let mut workers = 1;
        while workers <= cores.min(most) {
            let shape = Shape { speakers: 5, people: 50, rooms: 8 };
            let more = format!("--payload 160 --workers {workers}");
            let id = format!("workers-uring-{workers}");
            self.relay(&id, Group::Workers, "uring", "loopback", shape, &more);
            workers *= 2;
        }
    }

    fn vbr(&mut self) {
        let all: &[(u32, u32)] =
            if self.extent.quick { &[(1, 50)] } else { &[(1, 50), (30, 50), (2, 300)] };
        for &(speakers, people) in all {
            let shape = Shape { speakers, people, rooms: 1 };
            let more = format!("--payload vbr --slots {speakers} --against floor");
            let id = format!("vbr-uring-{speakers}x{people}");
            self.relay(&id, Group::Vbr, "uring", "loopback", shape, &more);
        }
    }

    fn sweeps(&mut self) {
        if self.extent.quick {
            return;
        }
        let shape = Shape { speakers: 30, people: 50, rooms: 1 };
        for io in ["uring", "socket"] {
            let more = "--payload 160 --slots 30 --workers 1 --sweep";
            let id = format!("sweep-{io}");
            self.relay(&id, Group::Sweep, io, "loopback", shape, more);
            if let Some(planned) = self.planned.last_mut() {
                planned.patience_s += self.extent.seconds * 40;
            }
        }
    }

    fn video(&mut self) {
        let all: &[u32] = if self.extent.quick { &[10] } else { &[3, 10, 50] };
        for &viewers in all {
            let seconds = self.extent.seconds;
            self.add(
                format!("video-uring-{viewers}"),
                Group::Video,
                &format!(
                    "video --io uring --viewers {viewers} --bitrate-kbps 2500 \
                     --seconds {seconds} --against floor"
                ),
            );
        }
    }

    fn whole(&mut self) {
        let (people, rooms) = if self.extent.quick { (100, 5) } else { (5000, 100) };
        let idle = format!("idle --people {people} --rooms {rooms}");
        self.add(format!("idle-{people}"), Group::Idle, &idle).patience_s = 540;
        let people = if self.extent.quick { 10 } else { 100 };
        let join =
            self.add(format!("join-{people}"), Group::Join, &format!("join --people {people}"));
        join.needs_server = true;
        join.patience_s = 540;
    }
}
