//! A node's metrics, by the `metrics` facade: the names that operators' dashboards and alerts use.
//! `voice_*_per_minute` are counters for all their name says: rate them over a minute.
//! `voice_latency_ms` is half the round trip between node and client, from RTCP.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hype_protocol::id::SessionId;
use hype_protocol::observation::{
    CloseReason, NodeLoad, RefuseReason, SessionStats, SessionStatus,
};
use hype_protocol::unit::Bitrate;
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use super::process::Usage;
use crate::io::IoCounters;
use crate::worker::Counters;

/// Turns counters and events into metrics and load.
pub(super) struct Telemetry {
    workers: Vec<Arc<Counters>>,
    process: Usage,
    sent_at: Instant,
    sent: u64,
    sent_bytes: u64,
    sends: u64,
}

impl Telemetry {
    pub(super) fn new(workers: impl Iterator<Item = Arc<Counters>>) -> Self {
        describe();
        let (process, sent_at) = (Usage::new(), Instant::now());
        Self { workers: workers.collect(), process, sent_at, sent: 0, sent_bytes: 0, sends: 0 }
    }

    /// Somebody's media can flow.
    pub(super) fn joined(&self) {
        counter!("voice_joins_per_minute").increment(1);
    }

    pub(super) fn closed(&self, reason: CloseReason, known: Option<&SessionStatus>) {
        counter!("hype_sessions_closed_total", "reason" => close_name(reason)).increment(1);
        if matches!(reason, CloseReason::Timeout | CloseReason::Handshake) {
            counter!("voice_errors_per_minute").increment(1);
        }
        if let Some(status) = known.filter(|status| status.connected) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let opened = Duration::from_millis(status.opened_at_ms);
            let minutes = now.saturating_sub(opened).as_secs_f64() / 60.0;
            histogram!("voice_avg_session_duration_minutes").record(minutes);
        }
    }

    pub(super) fn refused(&self, reason: RefuseReason) {
        counter!("hype_sessions_refused_total", "reason" => refuse_name(reason)).increment(1);
        counter!("voice_errors_per_minute").increment(1);
    }

    /// Publishes what the workers counted, and tells the load since the last call.
    pub(super) fn sample(&mut self, sessions: u32, links: usize) -> NodeLoad {
        let io: Vec<IoCounters> = self.workers.iter().map(|worker| worker.io()).collect();
        let total = |pick: fn(&IoCounters) -> u64| io.iter().map(pick).sum::<u64>();
        let (sent, sent_bytes) = (total(|io| io.sent), total(|io| io.sent_bytes));
        counter!("hype_packets_received_total").absolute(total(|io| io.received));
        counter!("hype_bytes_received_total").absolute(total(|io| io.received_bytes));
        counter!("hype_packets_sent_total").absolute(sent);
        counter!("hype_bytes_sent_total").absolute(sent_bytes);
        counter!("hype_sends_total").absolute(total(|io| io.sends));
        for (direction, count) in
            [("in", total(|io| io.received_past_kernel)), ("out", total(|io| io.sent_past_kernel))]
        {
            counter!("hype_packets_past_kernel_total", "direction" => direction).absolute(count);
        }
        for (kind, count) in [
            ("truncated", total(|io| io.truncated)),
            ("receive_error", total(|io| io.receive_errors)),
            ("receive_overflow", total(|io| io.receive_overflow)),
            ("send_would_block", total(|io| io.send_would_block)),
            ("send_unreachable", total(|io| io.send_unreachable)),
            ("send_too_long", total(|io| io.send_too_long)),
            ("send_failed", total(|io| io.send_failed)),
            ("transmit_exhausted", total(|io| io.transmit_exhausted)),
        ] {
            counter!("hype_datagrams_dropped_total", "reason" => kind).absolute(count);
        }
        let mut dropped: HashMap<&'static str, u64> = HashMap::new();
        for (reason, count) in self.workers.iter().flat_map(|worker| worker.dropped()) {
            *dropped.entry(reason.name()).or_default() += count;
        }
        for (reason, count) in dropped {
            counter!("hype_datagrams_dropped_total", "reason" => reason).absolute(count);
        }
        let mut engine: HashMap<&'static str, u64> = HashMap::new();
        for (name, count) in self.workers.iter().flat_map(|worker| worker.engine()) {
            *engine.entry(name).or_default() += count;
        }
        for (name, count) in engine {
            counter!("hype_engine_total", "kind" => name).absolute(count);
        }
        let mut busiest = 0.0f32;
        for (number, worker) in self.workers.iter().enumerate() {
            let busy = worker.busy();
            busiest = busiest.max(busy);
            let number = number.to_string();
            gauge!("hype_worker_busy_ratio", "worker" => number.clone()).set(busy);
            let forwarded = worker.engine().find(|(name, _)| *name == "forwarded");
            counter!("hype_worker_forwarded_total", "worker" => number.clone())
                .absolute(forwarded.map_or(0, |(_, count)| count));
            gauge!("hype_worker_sessions", "worker" => number).set(worker.sessions());
        }
        if let Some(percent) = self.process.cpu_percent() {
            gauge!("sfu_node_cpu_percent").set(percent);
        }
        if let Some(percent) = self.process.memory_percent() {
            gauge!("sfu_node_memory_percent").set(percent);
        }
        gauge!("sfu_node_connections").set(sessions);
        gauge!("hype_control_connections").set(u32::try_from(links).unwrap_or(u32::MAX));
        let elapsed = self.sent_at.elapsed();
        self.sent_at = Instant::now();
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let packets = sent.saturating_sub(std::mem::replace(&mut self.sent, sent));
        let sends = total(|io| io.sends);
        let sends = sends.saturating_sub(std::mem::replace(&mut self.sends, sends));
        let bytes = sent_bytes.saturating_sub(std::mem::replace(&mut self.sent_bytes, sent_bytes));
        NodeLoad {
            sessions,
            cpu: busiest,
            packets_per_second: (packets * 1000).checked_div(elapsed_ms).unwrap_or(0),
            sends_per_second: (sends * 1000).checked_div(elapsed_ms).unwrap_or(0),
            egress: Bitrate::from_bytes(bytes, elapsed_ms),
        }
    }

    /// Publishes how the sessions fare.
    pub(super) fn quality(
        &self,
        stats: &[SessionStats],
        sessions: &HashMap<SessionId, SessionStatus>,
        fenced: bool,
    ) {
        for session in stats {
            if let Some(round_trip) = session.round_trip_ms {
                histogram!("voice_latency_ms").record(f64::from(round_trip) / 2.0);
            }
            histogram!("voice_jitter_ms").record(f64::from(session.jitter_ms));
        }
        if !stats.is_empty() {
            let worst = |session: &SessionStats| session.loss_up.max(session.loss_down);
            let loss = stats.iter().map(worst).sum::<f32>() / stats.len() as f32;
            gauge!("voice_packet_loss_percent").set(loss * 100.0);
            let bits = stats.iter().map(|s| s.bitrate_up.0 + s.bitrate_down.0).sum::<u64>();
            gauge!("voice_bitrate_mbps").set(bits as f64 / 1e6);
        } else if sessions.is_empty() {
            gauge!("voice_packet_loss_percent").set(0.0);
            gauge!("voice_bitrate_mbps").set(0.0);
        }
        let connected = || sessions.values().filter(|session| session.connected);
        let channels: HashSet<_> = connected().map(|session| session.room).collect();
        gauge!("active_voice_channels").set(channels.len() as f64);
        gauge!("active_voice_users").set(connected().count() as f64);
        gauge!("sfu_node_health").set(if fenced { 0.0 } else { 1.0 });
    }

    /// The last that is told in this process's life.
    pub(super) fn stopped(&self) {
        gauge!("sfu_node_health").set(0.0);
        gauge!("sfu_node_connections").set(0.0);
        gauge!("active_voice_channels").set(0.0);
        gauge!("active_voice_users").set(0.0);
    }
}

fn close_name(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Left => "left",
        CloseReason::Removed => "removed",
        CloseReason::Moved { .. } => "moved",
        CloseReason::Replaced => "replaced",
        CloseReason::Timeout => "timeout",
        CloseReason::ClosedByPeer => "closed_by_peer",
        CloseReason::Handshake => "handshake",
        CloseReason::RoomClosed => "room_closed",
        CloseReason::NodeStopping => "node_stopping",
    }
}

fn refuse_name(reason: RefuseReason) -> &'static str {
    match reason {
        RefuseReason::StaleBoot => "stale_boot",
        RefuseReason::StaleGeneration => "stale_generation",
        RefuseReason::UnknownRoom => "unknown_room",
        RefuseReason::Full => "full",
        RefuseReason::Duplicate => "duplicate",
        RefuseReason::Invalid => "invalid",
    }
}

fn describe() {
    describe_histogram!(
        "voice_latency_ms",
        Unit::Milliseconds,
        "One way between node and client: half of RTCP's round trip"
    );
    describe_histogram!(
        "voice_jitter_ms",
        Unit::Milliseconds,
        "Interarrival jitter of microphones (RFC 3550)"
    );
    describe_gauge!(
        "voice_packet_loss_percent",
        "Mean over sessions of the worse direction's loss, 0-100"
    );
    describe_gauge!("voice_bitrate_mbps", "Media of all sessions, both directions, Mbit/s");
    describe_gauge!("active_voice_channels", "Rooms with somebody connected");
    describe_gauge!("active_voice_users", "Sessions connected");
    describe_gauge!("sfu_node_cpu_percent", "CPU of this process, share of all cores, 0-100");
    describe_gauge!("sfu_node_memory_percent", "Resident memory, share of the machine's, 0-100");
    describe_gauge!("sfu_node_connections", "Sessions open");
    describe_gauge!("sfu_node_health", "1 while this node serves, 0 when fenced or stopped");
    describe_counter!("voice_joins_per_minute", "Sessions connected so far: rate it over 1 m");
    describe_counter!("voice_errors_per_minute", "Failed sessions so far: rate it over 1 m");
    describe_histogram!(
        "voice_avg_session_duration_minutes",
        "How long sessions lasted: its sum by its count is the average"
    );
    describe_counter!("hype_datagrams_dropped_total", "Datagrams that went no further, by reason");
    describe_counter!("hype_engine_total", "What engines did: forwarded, retransmitted, ...");
    describe_counter!("hype_packets_received_total", "Datagrams that came in");
    describe_counter!("hype_packets_sent_total", "Datagrams that went out");
    describe_counter!("hype_bytes_received_total", Unit::Bytes, "UDP payload that came in");
    describe_counter!("hype_bytes_sent_total", Unit::Bytes, "UDP payload that went out");
    describe_counter!("hype_dtls_handshakes_total", "DTLS handshakes done, by SRTP profile");
    describe_counter!("hype_dtls_failures_total", "DTLS handshakes failed, by reason");
    describe_counter!("hype_sessions_closed_total", "Sessions ended, by reason");
    describe_counter!("hype_sessions_refused_total", "Sessions not opened, by reason");
    describe_counter!(
        "hype_commands_held_back_total",
        "Commands that waited for room in a worker's mailbox"
    );
    describe_gauge!("hype_worker_busy_ratio", "Share of time that a worker used its core, 0-1");
    describe_gauge!("hype_worker_sessions", "Sessions of a worker");
    describe_gauge!("hype_control_connections", "Control replicas connected");
}

#[cfg(test)]
mod tests {
    use hype_protocol::id::{RoomId, UserId};
    use hype_protocol::observation::VoiceFlags;
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    fn status(session: u64, room: u64, connected: bool) -> SessionStatus {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        SessionStatus {
            session: SessionId(session),
            room: RoomId(room),
            worker: hype_protocol::id::WorkerId(0),
            user: UserId(session),
            connected,
            flags: VoiceFlags::default(),
            producers: Vec::new(),
            decodes: Vec::new(),
            opened_at_ms: u64::try_from((now - Duration::from_secs(120)).as_millis())
                .expect("this century"),
        }
    }

    #[test]
    fn the_promised_names_are_published_with_their_values() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            let counters = [Arc::new(Counters::default()), Arc::new(Counters::default())];
            let mut telemetry = Telemetry::new(counters.into_iter());
            let sessions = [status(1, 7, true), status(2, 7, true), status(3, 8, false)];
            telemetry.joined();
            telemetry.refused(RefuseReason::Full);
            telemetry.closed(CloseReason::Timeout, Some(&sessions[0]));
            telemetry.closed(CloseReason::Left, Some(&sessions[2]));
            let stats = SessionStats {
                session: SessionId(1),
                round_trip_ms: Some(40.0),
                loss_up: 0.25,
                loss_down: 0.125,
                jitter_ms: 3.0,
                bitrate_up: Bitrate(1_000_000),
                bitrate_down: Bitrate(500_000),
            };
            assert_eq!(telemetry.sample(3, 1).sessions, 3);
            let sessions = sessions.into_iter().map(|status| (status.session, status)).collect();
            telemetry.quality(&[stats], &sessions, false);
        });
        let text = handle.render();
        for line in [
            "voice_latency_ms_sum 20",
            "voice_jitter_ms_sum 3",
            "voice_bitrate_mbps 1.5",
            "active_voice_channels 1",
            "active_voice_users 2",
            "sfu_node_connections 3",
            "sfu_node_health 1",
            "voice_joins_per_minute 1",
            "voice_errors_per_minute 2",
            "voice_avg_session_duration_minutes_count 1",
            "hype_sessions_closed_total{reason=\"timeout\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        for name in
            ["voice_packet_loss_percent 25", "sfu_node_cpu_percent ", "sfu_node_memory_percent "]
        {
            assert!(text.lines().any(|found| found.starts_with(name)), "{name} is not in\n{text}");
        }
        for reason in hype_sfu::DropReason::ALL {
            let line = format!("hype_datagrams_dropped_total{{reason=\"{}\"}} 0", reason.name());
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
    }
}
