//! Who is there: of the people connected here by their sockets, of the others by what their replicas
//! report. A person is offline when nobody has seen his last connection for 10 s, or when his
//! replica has not been heard of for 30 s. Nothing of it is kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hype_protocol::gateway::{Event, Presence, PresenceStatus};
use hype_protocol::id::UserId;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::app::Shared;
use crate::event::{Audience, PresenceReport, ReceiveError};

/// How often sockets are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long somebody without a connection counts as there: he may be reconnecting.
const GRACE: Duration = Duration::from_secs(10);
/// How often each replica reports everybody.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// After how long without a report somebody elsewhere is gone.
const EXPIRY: Duration = Duration::from_secs(30);
/// People of one report.
const REPORTED: usize = 5000;

/// Who is there. Whoever is not listed is offline.
#[derive(Debug, Default)]
pub(super) struct Presences {
    people: HashMap<UserId, Person>,
}

#[derive(Debug, Default)]
struct Person {
    here: Option<Seen>,
    elsewhere: Vec<(u64, Seen)>,
    /// What the others were told.
    told: Option<PresenceStatus>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    status: PresenceStatus,
    at: Instant,
}

/// Of a person's connections the one that counts.
fn strongest(statuses: impl Iterator<Item = PresenceStatus>) -> Option<PresenceStatus> {
    statuses.max_by_key(|status| match status {
        PresenceStatus::Offline => 0,
        PresenceStatus::Idle => 1,
        PresenceStatus::Online => 2,
        PresenceStatus::DoNotDisturb => 3,
    })
}

impl Person {
    fn status(&self) -> Option<PresenceStatus> {
        let all = self.here.iter().chain(self.elsewhere.iter().map(|(_, seen)| seen));
        strongest(all.map(|seen| seen.status))
    }
}

impl Presences {
    /// Those of some people who are there.
    pub(super) fn of(&self, people: impl IntoIterator<Item = UserId>) -> Vec<Presence> {
        let status = |user_id: UserId| {
            let told = self.people.get(&user_id)?.told?;
            Some(Presence { user_id, status: told })
        };
        people.into_iter().filter_map(status).collect()
    }

    /// Who is connected here now; returns those of whom other replicas do not know yet.
    fn look(
        &mut self,
        connected: impl Iterator<Item = (UserId, PresenceStatus)>,
        now: Instant,
    ) -> Vec<(UserId, PresenceStatus)> {
        let mut news = Vec::new();
        for (user, status) in connected {
            let person = self.people.entry(user).or_default();
            let before = person.here.replace(Seen { status, at: now });
            if before.is_none_or(|before| before.status != status) {
                news.push((user, status));
            }
        }
        for (user, person) in &mut self.people {
            if person.here.is_some_and(|seen| now >= seen.at + GRACE) {
                person.here = None;
                news.push((*user, PresenceStatus::Offline));
            }
        }
        news
    }

    /// What another replica reports.
    fn hear(&mut self, report: &PresenceReport, now: Instant) {
        for (user, status) in &report.people {
            let person = self.people.entry(*user).or_default();
            person.elsewhere.retain(|(replica, _)| *replica != report.replica);
            if *status != PresenceStatus::Offline {
                person.elsewhere.push((report.replica, Seen { status: *status, at: now }));
            }
        }
    }

    /// Whose presence has changed since it was asked last.
    fn changes(&mut self, now: Instant) -> Vec<Presence> {
        let mut changes = Vec::new();
        self.people.retain(|user, person| {
            person.elsewhere.retain(|(_, seen)| now < seen.at + EXPIRY);
            let status = person.status();
            if status != person.told {
                person.told = status;
                let status = status.unwrap_or(PresenceStatus::Offline);
                changes.push(Presence { user_id: *user, status });
            }
            status.is_some()
        });
        changes
    }

    /// Everybody who is connected here.
    fn here(&self) -> Vec<(UserId, PresenceStatus)> {
        let all = self.people.iter();
        all.filter_map(|(user, person)| Some((*user, person.here?.status))).collect()
    }
}

/// Runs until this replica stops.
pub(super) async fn run(app: Shared) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reports = app.bus.presence_reports();
    let mut heartbeat = Instant::now();
    loop {
        tokio::select! {
            _ = looks.tick() => {
                let now = Instant::now();
                let connected = connected(&app);
                let mut news = app.gateway.presences().look(connected.into_iter(), now);
                if now >= heartbeat {
                    heartbeat = now + HEARTBEAT;
                    // Who has just gone is in the news only.
                    news.retain(|(_, status)| *status == PresenceStatus::Offline);
                    news.extend(app.gateway.presences().here());
                }
                for people in news.chunks(REPORTED) {
                    app.bus.report_presence(people.to_vec());
                }
            }
            report = reports.receive() => match report {
                Ok(report) => app.gateway.presences().hear(&report, Instant::now()),
                // The next heartbeat tells again.
                Err(ReceiveError::Lagged(_)) => {}
                Err(ReceiveError::Closed) => return,
            },
            () = app.stopped() => return,
        }
        let changes = app.gateway.presences().changes(Instant::now());
        for presence in changes {
            tell(&app, presence);
        }
    }
}

fn connected(app: &Shared) -> Vec<(UserId, PresenceStatus)> {
    let registry = app.gateway.registry();
    let status = |sessions: &[Arc<super::session::Session>]| {
        strongest(sessions.iter().filter_map(|session| session.presence()))
    };
    registry.users().filter_map(|(user, sessions)| Some((user, status(sessions)?))).collect()
}

/// Tells the guilds of a person that somebody here is in.
fn tell(app: &Shared, presence: Presence) {
    let guilds: Vec<_> = {
        let registry = app.gateway.registry();
        let theirs = registry.all_followed();
        let theirs = theirs.filter(|(_, followed)| followed.access.is_member(presence.user_id));
        theirs.map(|(guild, _)| guild).collect()
    };
    for guild in guilds {
        app.bus.publish(Audience::Guild(guild), Event::Presence { guild_id: guild, presence });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: UserId = UserId(7);

    fn report(replica: u64, status: PresenceStatus) -> PresenceReport {
        PresenceReport { replica, people: vec![(USER, status)] }
    }

    fn changed(presences: &mut Presences, now: Instant) -> Option<PresenceStatus> {
        let changes = presences.changes(now);
        assert!(changes.len() <= 1);
        changes.first().map(|presence| presence.status)
    }

    #[test]
    fn the_last_connection_gone_for_long_is_offline() {
        use PresenceStatus::{DoNotDisturb, Idle, Offline, Online};
        let mut presences = Presences::default();
        let began = Instant::now();
        let now = |seconds| began + Duration::from_secs(seconds);
        assert_eq!(presences.look([(USER, Online)].into_iter(), now(0)), [(USER, Online)]);
        assert_eq!(changed(&mut presences, now(0)), Some(Online));
        assert_eq!(presences.of([USER, UserId(8)]).len(), 1);
        presences.hear(&report(2, DoNotDisturb), now(1));
        assert_eq!(changed(&mut presences, now(1)), Some(DoNotDisturb));
        assert!(presences.look([(USER, Online)].into_iter(), now(2)).is_empty());
        assert_eq!(changed(&mut presences, now(2)), None);
        presences.hear(&report(2, Offline), now(3));
        assert_eq!(changed(&mut presences, now(3)), Some(Online));
        assert!(presences.look(std::iter::empty(), now(11)).is_empty());
        assert_eq!(changed(&mut presences, now(11)), None);
        assert_eq!(presences.look(std::iter::empty(), now(12)), [(USER, Offline)]);
        assert_eq!(changed(&mut presences, now(12)), Some(Offline));
        presences.hear(&report(3, Idle), now(20));
        assert_eq!(changed(&mut presences, now(49)), Some(Idle));
        assert_eq!(changed(&mut presences, now(50)), Some(Offline), "its replica is gone");
        assert!(presences.people.is_empty());
    }
}
