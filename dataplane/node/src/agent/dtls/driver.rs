//! One DTLS thread: its sessions, their timers, and where their output goes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use hype_protocol::id::{SessionId, WorkerId};
use hype_protocol::observation::CloseReason;
use hype_sfu::Command;

use super::session::{Action, Session, Shared};
use crate::agent::workers::Mailboxes;

/// How long a full mailbox is waited for. Workers empty theirs every turn, so this is a worker
/// that hangs.
const MAILBOX_PATIENCE: Duration = Duration::from_millis(200);
/// The longest sleep; timers beyond it are looked at again.
const MAX_SLEEP: Duration = Duration::from_secs(60);

/// What a thread is told.
#[derive(Debug)]
pub(super) enum Input {
    Expect { session: SessionId, worker: WorkerId, fingerprint: [u8; 32] },
    Datagram { session: SessionId, datagram: Vec<u8> },
    Close { session: SessionId, worker: WorkerId, reason: CloseReason },
    Forget { session: SessionId },
}

/// Counts a datagram that too many others kept out.
pub(super) fn count_dropped() {
    metrics::counter!("hype_datagrams_dropped_total", "reason" => "dtls_overload").increment(1);
}

struct Entry {
    worker: WorkerId,
    session: Session,
    /// The earliest entry in the timer heap.
    scheduled: Option<Instant>,
}

pub(super) struct Driver {
    shared: Arc<Shared>,
    mailboxes: Mailboxes,
    queued: Arc<AtomicUsize>,
    sessions: HashMap<SessionId, Entry>,
    timers: BinaryHeap<Reverse<(Instant, SessionId)>>,
    actions: Vec<Action>,
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>, mailboxes: Mailboxes, queued: Arc<AtomicUsize>) -> Self {
        Self {
            shared,
            mailboxes,
            queued,
            sessions: HashMap::new(),
            timers: BinaryHeap::new(),
            actions: Vec::new(),
        }
    }

    /// Until the other end is dropped.
    pub(super) fn run(mut self, inputs: &Receiver<Input>) {
        loop {
            let now = Instant::now();
            let sleep = self.timers.peek().map_or(MAX_SLEEP, |Reverse((at, _))| {
                at.saturating_duration_since(now).min(MAX_SLEEP)
            });
            match inputs.recv_timeout(sleep) {
                Ok(input) => self.handle(Instant::now(), input),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.handle_timeouts(Instant::now());
        }
    }

    fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Expect { session, worker, fingerprint } => {
                let state = Session::new(Arc::clone(&self.shared), fingerprint, now);
                let entry = Entry { worker, session: state, scheduled: None };
                self.sessions.insert(session, entry);
            }
            Input::Datagram { session, datagram } => {
                self.queued.fetch_sub(1, Ordering::Relaxed);
                self.contain(session, |entry, actions| {
                    if !entry.session.handle_datagram(now, &datagram, actions) {
                        count_dropped();
                    }
                });
            }
            Input::Close { session, worker, reason } => {
                self.contain(session, |entry, actions| entry.session.close(actions));
                self.send(worker, Command::Close { session, reason });
            }
            Input::Forget { session } => {
                self.sessions.remove(&session);
            }
        }
    }

    fn handle_timeouts(&mut self, now: Instant) {
        while let Some(Reverse((at, session))) = self.timers.peek().copied() {
            if at > now {
                return;
            }
            self.timers.pop();
            // An entry that was rescheduled meanwhile, or is gone, left this timer behind.
            if let Some(entry) = self.sessions.get_mut(&session)
                && entry.scheduled == Some(at)
            {
                entry.scheduled = None;
                self.contain(session, |entry, actions| entry.session.handle_timeout(now, actions));
            }
        }
    }

    /// Does a step of one session and what comes of it. The library parses what clients send: if it
    /// panics, that costs this session and no other one of the thread.
    fn contain(&mut self, session: SessionId, step: impl FnOnce(&mut Entry, &mut Vec<Action>)) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        let worker = entry.worker;
        let actions = &mut self.actions;
        // What the panic left half done is dropped, so nobody sees it.
        if catch_unwind(AssertUnwindSafe(|| step(entry, actions))).is_ok() {
            return self.carry_out(session);
        }
        tracing::error!(%session, "a client's DTLS panicked: its session ends");
        metrics::counter!("hype_dtls_failures_total", "reason" => "panic").increment(1);
        self.actions.clear();
        self.sessions.remove(&session);
        self.send(worker, Command::Close { session, reason: CloseReason::Handshake });
    }

    /// Sends what a session wants sent, and schedules its next timer.
    fn carry_out(&mut self, session: SessionId) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        if let Some(at) = entry.session.poll_timeout()
            && entry.scheduled.is_none_or(|scheduled| at < scheduled)
        {
            entry.scheduled = Some(at);
            self.timers.push(Reverse((at, session)));
        }
        let worker = entry.worker;
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            let delivered = match action {
                Action::Install(keying) => {
                    metrics::counter!(
                        "hype_dtls_handshakes_total",
                        "profile" => profile_name(keying.profile)
                    )
                    .increment(1);
                    self.send(worker, Command::InstallKeys { session, keying })
                }
                Action::Send(datagram) => {
                    self.send(worker, Command::SendDtls { session, datagram })
                }
                Action::Failed(failure) => {
                    metrics::counter!("hype_dtls_failures_total", "reason" => failure.name())
                        .increment(1);
                    tracing::debug!(%session, reason = failure.name(), "DTLS handshake failed");
                    self.send(worker, Command::Close { session, reason: CloseReason::Handshake })
                }
                Action::ClosedByPeer => {
                    self.send(worker, Command::Close { session, reason: CloseReason::ClosedByPeer })
                }
            };
            if !delivered {
                // Never the datagrams without the keys before them.
                tracing::error!(worker = worker.0, "a worker's mailbox stays full");
                break;
            }
        }
        actions.clear();
        self.actions = actions;
    }

    fn send(&self, worker: WorkerId, mut command: Command) -> bool {
        let begun = Instant::now();
        loop {
            match self.mailboxes.send(worker, command) {
                Ok(()) => return true,
                Err(back) if begun.elapsed() < MAILBOX_PATIENCE => {
                    command = back;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(_) => return false,
            }
        }
    }
}

fn profile_name(profile: hype_protocol::secret::SrtpProfile) -> &'static str {
    use hype_protocol::secret::SrtpProfile;
    match profile {
        SrtpProfile::AeadAes128Gcm => "aead_aes_128_gcm",
        SrtpProfile::AeadAes256Gcm => "aead_aes_256_gcm",
        SrtpProfile::Aes128CmSha1_80 => "aes128_cm_sha1_80",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::dtls::Certificate;

    #[test]
    fn a_panic_costs_one_session_only() {
        let certificate = Certificate::generate().expect("the system has entropy");
        let shared = Shared::new(certificate.dtls).expect("a valid certificate");
        let queued = Arc::new(AtomicUsize::new(0));
        let mut driver = Driver::new(Arc::new(shared), Mailboxes::new([]), queued);
        let (bad, good) = (SessionId(1), SessionId(2));
        for session in [bad, good] {
            let (worker, fingerprint) = (WorkerId(0), [0; 32]);
            driver.handle(Instant::now(), Input::Expect { session, worker, fingerprint });
        }
        driver.contain(bad, |_, actions| {
            actions.push(Action::Send(vec![1]));
            panic!("on purpose");
        });
        assert!(!driver.sessions.contains_key(&bad) && driver.actions.is_empty());
        let mut stepped = false;
        driver.contain(good, |_, _| stepped = true);
        assert!(stepped && driver.sessions.contains_key(&good));
        driver.contain(bad, |_, _| panic!("it is gone"));
    }
}
