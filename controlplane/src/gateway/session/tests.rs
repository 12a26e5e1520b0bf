//! What a session keeps, whom it cuts, and from where it can be resumed.

use std::time::Duration;

use hype_protocol::gateway::{CloseCode, Event};
use hype_protocol::id::{ChannelId, GuildId, UserId};
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::{About, Body, Hold, MAX_BUFFERED, MAX_PENDING, Session};
use crate::gateway::RESUME_WINDOW;

/// An event that says which one it is.
fn event(number: u64) -> Body {
    let event = Event::VoiceSpeakers { channel_id: ChannelId(number), speakers: Vec::new() };
    Body::new(&event, About::Nobody)
}

/// A session that has begun, and its first holder, which has sent `ready`.
async fn begun() -> (Session, Hold) {
    let hold = Hold::default();
    let session = Session::new("key".into(), 0, UserId(1), &hold, 0);
    session.begin([event(1)], Vec::new());
    assert_eq!(next(&session, &hold).await, Ok((1, 1)));
    (session, hold)
}

/// The next frame's sequence number and which event it carries.
async fn next(session: &Session, hold: &Hold) -> Result<(u64, u64), CloseCode> {
    let frame = session.next(hold).await?;
    let frame: Value = serde_json::from_str(&frame).expect("JSON");
    assert_eq!(frame["op"], "event");
    let number = frame["d"]["data"]["channel_id"].as_str().map_or(0, |id| id.parse().expect("id"));
    Ok((frame["d"]["seq"].as_u64().expect("a number"), number))
}

async fn nothing_to_send(session: &Session, hold: &Hold) -> bool {
    timeout(Duration::from_millis(50), session.next(hold)).await.is_err()
}

#[tokio::test]
async fn what_comes_before_ready_follows_it() {
    let hold = Hold::default();
    let session = Session::new("key".into(), 0, UserId(1), &hold, 0);
    session.deliver(event(7));
    session.deliver(event(8));
    assert!(nothing_to_send(&session, &hold).await);
    session.begin([event(1)], Vec::new());
    for expected in [(1, 1), (2, 7), (3, 8)] {
        assert_eq!(next(&session, &hold).await, Ok(expected));
    }
    assert!(nothing_to_send(&session, &hold).await);
}

#[tokio::test]
async fn too_much_before_ready_ends_the_session() {
    let hold = Hold::default();
    let session = Session::new("key".into(), 0, UserId(1), &hold, 0);
    for number in 0..=MAX_BUFFERED as u64 {
        session.deliver(event(number));
    }
    session.begin([event(1)], Vec::new());
    assert_eq!(next(&session, &hold).await, Err(CloseCode::TooSlow));
    assert!(!session.resume(0, &Hold::default()));
}

#[tokio::test]
async fn who_falls_behind_is_cut_and_resumes() {
    let (session, hold) = begun().await;
    for number in 2..=MAX_PENDING + 1 {
        session.deliver(event(number));
    }
    assert_eq!(next(&session, &hold).await, Ok((2, 2)));
    session.deliver(event(MAX_PENDING + 2));
    session.deliver(event(MAX_PENDING + 3));
    assert_eq!(session.cut(&hold).await, CloseCode::TooSlow);
    assert_eq!(next(&session, &hold).await, Err(CloseCode::TooSlow));
    session.detach(&hold);
    // The new holder gets all that is missing, and more may come before it has sent that.
    let hold = Hold::default();
    assert!(session.resume(2, &hold));
    session.deliver(event(1000));
    for number in 3..=MAX_PENDING + 3 {
        assert_eq!(next(&session, &hold).await, Ok((number, number)));
    }
    assert_eq!(next(&session, &hold).await, Ok((MAX_PENDING + 4, 0)), "resumed");
    assert_eq!(next(&session, &hold).await, Ok((MAX_PENDING + 5, 1000)));
}

#[tokio::test]
async fn the_buffer_is_bounded_by_number_and_by_bytes() {
    let (session, hold) = begun().await;
    session.detach(&hold);
    for number in 2..=2 * MAX_BUFFERED as u64 {
        session.deliver(event(number));
    }
    assert_eq!(session.state().buffer.len(), MAX_BUFFERED);
    let first = session.state().first;
    assert_eq!(first, MAX_BUFFERED as u64 + 1);
    assert!(!session.resume(first - 2, &Hold::default()), "one event is gone");
    let hold = Hold::default();
    assert!(session.resume(first - 1, &hold));
    assert_eq!(next(&session, &hold).await, Ok((first, first)));
    session.detach(&hold);
    let large = Body { text: "x".repeat(1 << 20).into(), about: About::Nobody };
    for _ in 0..10 {
        session.deliver(large.clone());
    }
    assert_eq!(session.state().buffer.len(), 4);
    assert_eq!(session.state().bytes, 4 << 20);
    session.deliver(Body { text: "x".repeat(9 << 20).into(), about: About::Nobody });
    assert_eq!(session.state().buffer.len(), 1, "a larger one is kept alone");
}

#[tokio::test]
async fn the_newest_holder_wins() {
    let (session, first) = begun().await;
    let second = Hold::default();
    assert!(session.resume(1, &second));
    assert_eq!(session.cut(&first).await, CloseCode::Unknown);
    session.detach(&first);
    assert_eq!(next(&session, &second).await, Ok((2, 0)), "resumed, and not detached by the loser");
    session.deliver(event(5));
    assert_eq!(next(&session, &second).await, Ok((3, 5)));
    assert!(!session.resume(4, &Hold::default()), "nobody saw the future");
    assert!(!session.resume(u64::MAX, &Hold::default()));
}

#[tokio::test]
async fn a_session_waits_for_its_window() {
    let (session, hold) = begun().await;
    assert!(!session.expired(Instant::now() + 2 * RESUME_WINDOW), "it is held");
    let before = Instant::now();
    session.detach(&hold);
    assert!(!session.expired(before + RESUME_WINDOW - Duration::from_millis(1)));
    assert!(session.expired(Instant::now() + RESUME_WINDOW));
}

#[tokio::test]
async fn an_ended_session_is_never_resumed() {
    let (session, hold) = begun().await;
    session.end(CloseCode::InvalidSequence);
    session.deliver(event(2));
    assert_eq!(next(&session, &hold).await, Err(CloseCode::InvalidSequence));
    assert!(!session.resume(1, &Hold::default()));
    session.detach(&hold);
    assert!(session.expired(Instant::now()));
}

/// A durable event of a guild.
fn durable(guild: u64, sequence: u64) -> Body {
    let event = Event::VoiceSpeakers { channel_id: ChannelId(sequence), speakers: Vec::new() };
    Body::new(&event, About::Guild(GuildId(guild), Some(sequence)))
}

#[tokio::test]
async fn durable_events_come_once_and_only_of_guilds_that_are_shown() {
    let hold = Hold::default();
    let session = Session::new("key".into(), 0, UserId(1), &hold, 40);
    // Held: what the beginning includes, what it does not, and what it does not show.
    for body in [durable(1, 5), durable(1, 6), durable(2, 9)] {
        session.deliver(body);
    }
    assert_eq!(session.shows(GuildId(1)), None);
    session.begin([event(900)], vec![(GuildId(1), 5)]);
    assert_eq!(session.shows(GuildId(1)), Some(true));
    assert_eq!(session.shows(GuildId(2)), Some(false));
    let added = |guild, sequence| {
        let event = Event::VoiceSpeakers { channel_id: ChannelId(800), speakers: Vec::new() };
        Body::new(&event, About::Added(GuildId(guild), sequence))
    };
    let removed = |guild| Body { about: About::Removed(GuildId(guild)), ..event(700) };
    for body in [
        durable(1, 6),
        durable(1, 7),
        added(1, 9),
        added(2, 9),
        durable(2, 9),
        durable(2, 10),
        removed(1),
        removed(1),
        durable(1, 8),
        Body { about: About::Guild(GuildId(1), None), ..event(600) },
        Body { about: About::Guild(GuildId(2), None), ..event(500) },
    ] {
        session.deliver(body);
    }
    let expected = [900, 6, 7, 800, 10, 700, 500];
    for (seq, number) in (41..).zip(expected) {
        assert_eq!(next(&session, &hold).await, Ok((seq, number)));
    }
    assert!(nothing_to_send(&session, &hold).await);
}

#[tokio::test]
async fn a_long_beginning_is_no_fault_of_the_reader() {
    let hold = Hold::default();
    let session = Session::new("key".into(), 0, UserId(1), &hold, 0);
    let many = 2 * MAX_BUFFERED as u64;
    session.begin((1..=many).map(event), Vec::new());
    session.deliver(event(many + 1));
    for number in 1..=many + 1 {
        assert_eq!(next(&session, &hold).await, Ok((number, number)));
    }
    session.deliver(event(many + 2));
    assert_eq!(session.state().buffer.len(), MAX_BUFFERED, "what was sent is forgotten");
}
