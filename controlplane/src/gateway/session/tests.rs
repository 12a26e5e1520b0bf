//! What a session keeps, whom it cuts, and from where it can be resumed.

use std::time::Duration;

use hype_protocol::gateway::{CloseCode, Event};
use hype_protocol::id::{ChannelId, UserId};
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::{Body, Hold, MAX_BUFFERED, MAX_PENDING, Session};
use crate::gateway::RESUME_WINDOW;

/// An event that says which one it is.
fn event(number: u64) -> Body {
    Body::new(&Event::VoiceSpeakers { channel_id: ChannelId(number), speakers: Vec::new() })
}

/// A session that has begun, and its first holder, which has sent `ready`.
async fn begun() -> (Session, Hold) {
    let hold = Hold::default();
    let session = Session::new("key".into(), 0, UserId(1), &hold);
    session.begin(event(1));
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
    let session = Session::new("key".into(), 0, UserId(1), &hold);
    session.deliver(event(7));
    session.deliver(event(8));
    assert!(nothing_to_send(&session, &hold).await);
    session.begin(event(1));
    for expected in [(1, 1), (2, 7), (3, 8)] {
        assert_eq!(next(&session, &hold).await, Ok(expected));
    }
    assert!(nothing_to_send(&session, &hold).await);
}

#[tokio::test]
async fn too_much_before_ready_ends_the_session() {
    let hold = Hold::default();
    let session = Session::new("key".into(), 0, UserId(1), &hold);
    for number in 0..=MAX_BUFFERED as u64 {
        session.deliver(event(number));
    }
    session.begin(event(1));
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
    let large = Body("x".repeat(1 << 20).into());
    for _ in 0..10 {
        session.deliver(large.clone());
    }
    assert_eq!(session.state().buffer.len(), 4);
    assert_eq!(session.state().bytes, 4 << 20);
    session.deliver(Body("x".repeat(9 << 20).into()));
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
