//! What people in voice make the nodes of a region send and receive: the voice model
//! `packets = 50 · speakers · (people − 1)` with pauses, slots and cascades, plus screens by
//! `viewers · bitrate / packet`, plus RTCP and ICE.

use super::demand::{Channel, Demand};
use super::ledger::Ledger;
use super::sizing::up;

/// Bytes that a link between parts puts around a packet: QUIC short header, tag, link header.
const LINK_BYTES: f64 = 40.0;
/// Packets a second of a screen's sound: frames of 20 ms.
const SOUND_PPS: f64 = 50.0;

/// Packets and bits of one region at the busiest moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Traffic {
    /// Packets a second out: voices, links, screens' sound, control. What a voice packet costs.
    pub small_pps: f64,
    /// Packets a second out that carry pictures.
    pub video_pps: f64,
    /// All packets a second out.
    pub out_pps: f64,
    /// Packets a second in of voices and control; those of pictures are in the cost of video.
    pub in_pps: f64,
    /// Gbit/s out, on the wire.
    pub gbit_per_s: f64,
    /// Screens shared.
    pub screens: f64,
}

/// Packets a second of voice, summed over channel sizes.
#[derive(Default)]
struct Voices {
    speech: f64,
    pause: f64,
    link: f64,
    received: f64,
    /// People who could watch a screen in one's channel, on average.
    others: f64,
}

/// Computes the traffic of `people` in voice.
pub fn of(demand: &Demand, people: f64, ledger: &mut Ledger) -> Traffic {
    let mut voices = Voices::default();
    for channel in &demand.channels {
        if channel.share_of_people > 0.0 {
            ledger.scope(format!("channels of {}", channel.people));
            add(&mut voices, demand, channel, people, ledger);
        }
    }
    ledger.scope(String::new());
    let screen = &demand.screen;
    let screens = ledger.note(
        ("screens", "screens"),
        "people * sharers_share",
        [("people", people), ("sharers_share", screen.sharers_share)],
        people * screen.sharers_share,
    );
    let viewers = ("viewers", screen.viewers);
    let views = ledger.note(
        ("views", "screens watched"),
        "screens * min(viewers, others)",
        [("screens", screens), viewers, ("others", voices.others)],
        screens * screen.viewers.min(voices.others),
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
    let sound_pps = if screen.sound_kbps > 0.0 { views * SOUND_PPS } else { 0.0 };
    let control = demand.voice.control_packets_per_second;
    let control_pps = ledger.note(
        ("control_pps", "packets/s"),
        "people * control_packets_per_second",
        [("people", people), ("control_packets_per_second", control)],
        people * control,
    );
    let small_pps = ledger.note(
        ("small_pps", "packets/s"),
        "speech_pps + pause_pps + link_pps + sound_pps + control_pps",
        [
            ("speech_pps", voices.speech),
            ("pause_pps", voices.pause),
            ("link_pps", voices.link),
            ("sound_pps", sound_pps),
            ("control_pps", control_pps),
        ],
        voices.speech + voices.pause + voices.link + sound_pps + control_pps,
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
        [("voices_in_pps", voices.received), ("control_pps", control_pps)],
        voices.received + control_pps,
    );
    let rates = [voices.speech, voices.pause, voices.link, sound_pps, control_pps, video_pps];
    let gbit_per_s = bits(demand, rates, ledger);
    Traffic { small_pps, video_pps, out_pps, in_pps, gbit_per_s, screens }
}

fn bits(demand: &Demand, rates: [f64; 6], ledger: &mut Ledger) -> f64 {
    let (voice, screen) = (&demand.voice, &demand.screen);
    let [speech, pause, link, sound, control, video] = rates;
    let overhead = voice.overhead_bytes;
    let sound_payload = screen.sound_kbps * 1000.0 / 8.0 / SOUND_PPS;
    let bytes = speech * (voice.payload_bytes + overhead)
        + pause * (voice.pause_payload_bytes + overhead)
        + link * (voice.payload_bytes + overhead + LINK_BYTES)
        + sound * (sound_payload + overhead)
        + control * voice.control_bytes
        + video * (screen.payload_bytes + overhead);
    ledger.note(
        ("gbit_per_s", "Gbit/s"),
        "8 * (speech_pps * (payload_bytes + overhead_bytes) \
         + pause_pps * (pause_payload_bytes + overhead_bytes) \
         + link_pps * (payload_bytes + overhead_bytes + link_bytes) \
         + sound_pps * (sound_kbps * 1000 / 8 / 50 + overhead_bytes) \
         + control_pps * control_bytes \
         + video_pps * (video_payload_bytes + overhead_bytes)) / 1000000000",
        [
            ("speech_pps", speech),
            ("pause_pps", pause),
            ("link_pps", link),
            ("sound_pps", sound),
            ("control_pps", control),
            ("video_pps", video),
            ("payload_bytes", voice.payload_bytes),
            ("pause_payload_bytes", voice.pause_payload_bytes),
            ("overhead_bytes", overhead),
            ("link_bytes", LINK_BYTES),
            ("sound_kbps", screen.sound_kbps),
            ("control_bytes", voice.control_bytes),
            ("video_payload_bytes", screen.payload_bytes),
        ],
        8.0 * bytes / 1e9,
    )
}

/// Adds the channels of one size.
fn add(voices: &mut Voices, demand: &Demand, size: &Channel, people: f64, ledger: &mut Ledger) {
    let voice = &demand.voice;
    let share = ("share_of_people", size.share_of_people);
    // A channel cannot hold more people than are there.
    let (each, channels) = if people < size.people {
        (people, size.share_of_people)
    } else {
        (size.people, people * size.share_of_people / size.people)
    };
    let channels = ledger.note(
        ("channels", "channels"),
        "people * share_of_people / max(0.000001, min(channel_people, people))",
        [("people", people), share, ("channel_people", size.people)],
        if people > 0.0 { channels } else { 0.0 },
    );
    let speakers = size.speakers.min(each);
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
    let listeners = (each - 1.0).max(0.0);
    let rate = ("packets_per_second", voice.packets_per_second);
    let pause_rate = ("pause_packets_per_second", voice.pause_packets_per_second);
    voices.speech += ledger.note(
        ("speech_pps", "packets/s"),
        "channels * packets_per_second * talking * listeners",
        [("channels", channels), rate, ("talking", talking), ("listeners", listeners)],
        channels * rate.1 * talking * listeners,
    );
    voices.pause += ledger.note(
        ("pause_pps", "packets/s"),
        "channels * pause_packets_per_second * pausing * listeners",
        [("channels", channels), pause_rate, ("pausing", pausing), ("listeners", listeners)],
        channels * pause_rate.1 * pausing * listeners,
    );
    let parts = ledger.note(
        ("parts", "parts a channel"),
        "max(1, ceil(channel_people / people_per_part))",
        [("channel_people", each), ("people_per_part", demand.people_per_part)],
        up(each / demand.people_per_part).max(1.0),
    );
    let streams = rate.1 * talking + pause_rate.1 * pausing;
    voices.link += ledger.note(
        ("link_pps", "packets/s"),
        "channels * (packets_per_second * talking + pause_packets_per_second * pausing) \
         * (parts - 1)",
        [
            ("channels", channels),
            rate,
            ("talking", talking),
            pause_rate,
            ("pausing", pausing),
            ("parts", parts),
        ],
        channels * streams * (parts - 1.0),
    );
    voices.received += ledger.note(
        ("voices_in_pps", "packets/s"),
        "channels * speakers * (packets_per_second * speaking_share \
         + pause_packets_per_second * (1 - speaking_share))",
        [("channels", channels), ("speakers", speakers), rate, speaking, pause_rate],
        channels
            * speakers
            * (rate.1 * voice.speaking_share + pause_rate.1 * (1.0 - voice.speaking_share)),
    );
    voices.others += size.share_of_people * listeners;
}
