//! What people in voice make the nodes of a region send and receive: the voice model
//! `packets = 50 · speakers · (people − 1)` with pauses and slots, plus screens by
//! `viewers · bitrate / packet`, plus RTCP and ICE. Parts of a room pass voices on by rings in their
//! node's memory: that is work for the cores, and never egress. Pictures that cross parts are left
//! out.

use super::demand::{Channel, Demand, Voice};
use super::ledger::Ledger;
use super::sizing::up;

/// Packets a second of a screen's sound: frames of 20 ms.
const SOUND_PPS: f64 = 50.0;

/// Packets and bits of one region at the busiest moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Traffic {
    /// Packets a second out: voices, screens' sound, control. What a voice packet costs.
    pub small_pps: f64,
    /// Packets a second out that carry pictures.
    pub video_pps: f64,
    /// All packets a second out.
    pub out_pps: f64,
    /// Packets a second in of voices and control; those of pictures are in the cost of video.
    pub in_pps: f64,
    /// Frames of voice a second between the parts of rooms, inside a node.
    pub link_pps: f64,
    /// Gbit/s out, on the wire.
    pub gbit_per_s: f64,
    /// Screens shared.
    pub screens: f64,
}

/// Computes the traffic of `people` in voice.
pub fn of(demand: &Demand, people: f64, ledger: &mut Ledger) -> Traffic {
    for size in demand.channels.iter().filter(|size| size.share_of_people > 0.0) {
        ledger.scope(format!("channels of {}", size.people));
        let talk = talk(&demand.voice, size, people, ledger);
        packets(demand, &talk, ledger);
    }
    ledger.scope(String::new());
    let [speech_pps, pause_pps, voices_in_pps] = ["speech_pps", "pause_pps", "voices_in_pps"]
        .map(|name| ledger.sum_scopes((name, "packets/s")));
    let link_pps = ledger.sum_scopes(("link_pps", "frames/s"));
    let others = ledger.sum_scopes(("others", "people"));
    let (screens, video_pps, sound_pps) = screens(demand, people, others, ledger);
    let control = demand.voice.control_packets_per_second;
    let control_pps = ledger.note(
        ("control_pps", "packets/s"),
        "people * control_packets_per_second",
        [("people", people), ("control_packets_per_second", control)],
        people * control,
    );
    let small_pps = ledger.note(
        ("small_pps", "packets/s"),
        "speech_pps + pause_pps + sound_pps + control_pps",
        [
            ("speech_pps", speech_pps),
            ("pause_pps", pause_pps),
            ("sound_pps", sound_pps),
            ("control_pps", control_pps),
        ],
        speech_pps + pause_pps + sound_pps + control_pps,
    );
    let out_pps = ledger.note(
        ("out_pps", "packets/s"),
        "small_pps + video_pps",
        [("small_pps", small_pps), ("video_pps", video_pps)],
        small_pps + video_pps,
    );
    let in_pps = ledger.note(
        ("in_pps", "packets/s"),
        "voices_in_pps + control_pps",
        [("voices_in_pps", voices_in_pps), ("control_pps", control_pps)],
        voices_in_pps + control_pps,
    );
    let rates = [speech_pps, pause_pps, sound_pps, control_pps, video_pps];
    let gbit_per_s = bits(demand, rates, ledger);
    Traffic { small_pps, video_pps, out_pps, in_pps, link_pps, gbit_per_s, screens }
}

/// Screens shared, and packets a second of their pictures and of their sound. `others` are the
/// people who could watch one.
fn screens(demand: &Demand, people: f64, others: f64, ledger: &mut Ledger) -> (f64, f64, f64) {
    let screen = &demand.screen;
    let screens = ledger.note(
        ("screens", "screens"),
        "people * sharers_share",
        [("people", people), ("sharers_share", screen.sharers_share)],
        people * screen.sharers_share,
    );
    let views = ledger.note(
        ("views", "screens watched"),
        "screens * min(viewers, others)",
        [("screens", screens), ("viewers", screen.viewers), ("others", others)],
        screens * screen.viewers.min(others),
    );
    let video_pps = ledger.note(
        ("video_pps", "packets/s"),
        "views * bitrate_kbps * 1000 / (8 * video_payload_bytes)",
        [
            ("views", views),
            ("bitrate_kbps", screen.bitrate_kbps),
            ("video_payload_bytes", screen.payload_bytes),
        ],
        views * screen.bitrate_kbps * 1000.0 / (8.0 * screen.payload_bytes),
    );
    let sound_rate = if screen.sound_kbps > 0.0 { SOUND_PPS } else { 0.0 };
    let sound_pps = ledger.note(
        ("sound_pps", "packets/s"),
        "views * sound_packets_per_second",
        [("views", views), ("sound_packets_per_second", sound_rate)],
        views * sound_rate,
    );
    (screens, video_pps, sound_pps)
}

fn bits(demand: &Demand, rates: [f64; 5], ledger: &mut Ledger) -> f64 {
    let (voice, screen) = (&demand.voice, &demand.screen);
    let [speech, pause, sound, control, video] = rates;
    let overhead = voice.overhead_bytes;
    let sound_payload = screen.sound_kbps * 1000.0 / 8.0 / SOUND_PPS;
    let bytes = speech * (voice.payload_bytes + overhead)
        + pause * (voice.pause_payload_bytes + overhead)
        + sound * (sound_payload + overhead)
        + control * voice.control_bytes
        + video * (screen.payload_bytes + overhead);
    ledger.note(
        ("gbit_per_s", "Gbit/s"),
        "8 * (speech_pps * (payload_bytes + overhead_bytes) \
         + pause_pps * (pause_payload_bytes + overhead_bytes) \
         + sound_pps * (sound_kbps * 1000 / 8 / 50 + overhead_bytes) \
         + control_pps * control_bytes \
         + video_pps * (video_payload_bytes + overhead_bytes)) / 1000000000",
        [
            ("speech_pps", speech),
            ("pause_pps", pause),
            ("sound_pps", sound),
            ("control_pps", control),
            ("video_pps", video),
            ("payload_bytes", voice.payload_bytes),
            ("pause_payload_bytes", voice.pause_payload_bytes),
            ("overhead_bytes", overhead),
            ("sound_kbps", screen.sound_kbps),
            ("control_bytes", voice.control_bytes),
            ("video_payload_bytes", screen.payload_bytes),
        ],
        8.0 * bytes / 1e9,
    )
}

/// The channels of one size, and people and voices of each.
struct Talk {
    channels: f64,
    people_each: f64,
    speakers: f64,
    listeners: f64,
    talking: f64,
    pausing: f64,
}

fn talk(voice: &Voice, size: &Channel, people: f64, ledger: &mut Ledger) -> Talk {
    let share = ("share_of_people", size.share_of_people);
    // A channel cannot hold more people than are there.
    let people_each = ledger.note(
        ("people_each", "people a channel"),
        "min(channel_people, people)",
        [("channel_people", size.people), ("people", people)],
        size.people.min(people),
    );
    let each = ("people_each", people_each);
    let channels = ledger.note(
        ("channels", "channels"),
        "people * share_of_people / max(0.000001, people_each)",
        [("people", people), share, each],
        people * share.1 / people_each.max(0.000_001),
    );
    let speakers = ledger.note(
        ("speakers", "people a channel"),
        "min(channel_speakers, people_each)",
        [("channel_speakers", size.speakers), each],
        size.speakers.min(people_each),
    );
    let listeners = ledger.note(
        ("listeners", "people a channel"),
        "max(0, people_each - 1)",
        [each],
        (people_each - 1.0).max(0.0),
    );
    ledger.note(
        ("others", "people"),
        "share_of_people * listeners",
        [share, ("listeners", listeners)],
        share.1 * listeners,
    );
    let speaking = ("speaking_share", voice.speaking_share);
    let talking = ledger.note(
        ("talking", "voices at once"),
        "min(speakers * speaking_share, slots)",
        [("speakers", speakers), speaking, ("slots", voice.slots)],
        (speakers * voice.speaking_share).min(voice.slots),
    );
    let pausing = ledger.note(
        ("pausing", "voices at once"),
        "min(speakers * (1 - speaking_share), slots - talking)",
        [("speakers", speakers), speaking, ("slots", voice.slots), ("talking", talking)],
        (speakers * (1.0 - voice.speaking_share)).min(voice.slots - talking),
    );
    Talk { channels, people_each, speakers, listeners, talking, pausing }
}

/// Packets a second of the voices in channels of one size.
fn packets(demand: &Demand, talk: &Talk, ledger: &mut Ledger) {
    let (voice, node) = (&demand.voice, &demand.node);
    let (channels, listeners) = (("channels", talk.channels), ("listeners", talk.listeners));
    let (talking, pausing) = (("talking", talk.talking), ("pausing", talk.pausing));
    let rate = ("packets_per_second", voice.packets_per_second);
    let pause_rate = ("pause_packets_per_second", voice.pause_packets_per_second);
    ledger.note(
        ("speech_pps", "packets/s"),
        "channels * packets_per_second * talking * listeners",
        [channels, rate, talking, listeners],
        channels.1 * rate.1 * talking.1 * listeners.1,
    );
    ledger.note(
        ("pause_pps", "packets/s"),
        "channels * pause_packets_per_second * pausing * listeners",
        [channels, pause_rate, pausing, listeners],
        channels.1 * pause_rate.1 * pausing.1 * listeners.1,
    );
    let speaking = ("speaking_share", voice.speaking_share);
    let voices_in_pps = ledger.note(
        ("voices_in_pps", "packets/s"),
        "channels * speakers * (packets_per_second * speaking_share \
         + pause_packets_per_second * (1 - speaking_share))",
        [channels, ("speakers", talk.speakers), rate, speaking, pause_rate],
        channels.1 * talk.speakers * (rate.1 * speaking.1 + pause_rate.1 * (1.0 - speaking.1)),
    );
    let wanted = up(talk.people_each / demand.people_per_part);
    let parts = ledger.note(
        ("parts", "parts a channel"),
        "max(1, min(ceil(people_each / people_per_part), node_cores - reserved_cores))",
        [
            ("people_each", talk.people_each),
            ("people_per_part", demand.people_per_part),
            ("node_cores", node.cores),
            ("reserved_cores", node.reserved_cores),
        ],
        wanted.min(node.cores - node.reserved_cores).max(1.0),
    );
    // What people of the other parts say goes up to the core; what it chose goes to each of them.
    let chosen = channels.1 * (rate.1 * talking.1 + pause_rate.1 * pausing.1);
    ledger.note(
        ("link_pps", "frames/s"),
        "voices_in_pps * (parts - 1) / parts \
         + channels * (packets_per_second * talking + pause_packets_per_second * pausing) \
         * (parts - 1)",
        [
            ("voices_in_pps", voices_in_pps),
            ("parts", parts),
            channels,
            rate,
            talking,
            pause_rate,
            pausing,
        ],
        voices_in_pps * (parts - 1.0) / parts + chosen * (parts - 1.0),
    );
}
