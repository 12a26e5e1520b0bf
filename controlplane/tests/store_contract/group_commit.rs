//! What was acknowledged is there, whatever others do at the same moment: those who fail, and those
//! who go away in the middle.

use std::collections::HashSet;
use std::task::{Context, Poll};
use std::time::Duration;

use hype_control::store::snowflake::Snowflakes;
use hype_control::store::{Error, Store};
use hype_protocol::gateway::Message;
use hype_protocol::id::{ChannelId, MessageId, UserId};

use crate::place::{Place, account, contract, message, send, with_guild, write};

contract! {
    all_that_was_acknowledged_is_there
    a_dropped_writer_leaves_nothing
    a_dropped_writer_lets_others_in
    writers_who_fail_harm_nobody
    writers_who_vanish_at_any_moment_harm_nobody
    a_single_statement_holds_whoever_vanished_before_it
}

async fn ids(store: &Store) -> Vec<u64> {
    use hype_control::store::message::Page;
    let mut found = Vec::new();
    let mut page = Page::Newest;
    loop {
        let some = store.messages(ChannelId(10), page, 100).await.expect("read");
        let Some(last) = some.last() else { return found };
        page = Page::Before(last.id);
        found.extend(some.iter().map(|message: &Message| message.id.0));
    }
}

/// The numbers of the guild's events, which stand without gaps.
async fn assert_sequence(store: &Store, expected: u64) {
    let guild = store.guild(hype_protocol::id::GuildId(1)).await.expect("read").expect("there");
    assert_eq!(guild.sequence, expected);
}

async fn all_that_was_acknowledged_is_there(place: Place) {
    let store = place.open().await;
    with_guild(&store).await;
    let tasks: Vec<_> = (0..40)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for number in 0..10 {
                    let message = message(1000 + writer * 10 + number, 10, 1);
                    assert!(send(&store, &message).await.expect("acknowledged"));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    assert_sequence(&store, 400).await;
    store.close().await;
    let again = place.open().await;
    assert_eq!(ids(&again).await, (1000..1400).rev().collect::<Vec<_>>());
    assert_sequence(&again, 400).await;
}

async fn a_dropped_writer_leaves_nothing(place: Place) {
    let store = place.open().await;
    with_guild(&store).await;
    for number in 0..3 {
        let mut gone = write(&store, 1).await;
        let lost = message(2000 + number, 10, 1);
        assert!(gone.add_message(&lost, "lost", "").await.expect("written"));
        drop(gone);
        assert!(send(&store, &message(3000 + number, 10, 1)).await.expect("acknowledged"));
    }
    store.close().await;
    let again = place.open().await;
    assert_eq!(ids(&again).await, [3002, 3001, 3000]);
    assert_sequence(&again, 3).await;
}

/// Nor does it keep other processes out of the database.
async fn a_dropped_writer_lets_others_in(place: Place) {
    let (store, other) = (place.open().await, place.open().await);
    with_guild(&store).await;
    let mut gone = write(&store, 1).await;
    assert!(gone.add_message(&message(1, 10, 1), "lost", "").await.expect("written"));
    drop(gone);
    assert!(send(&other, &message(2, 10, 1)).await.expect("acknowledged"));
    assert_eq!(ids(&store).await, [2]);
}

async fn writers_who_fail_harm_nobody(place: Place) {
    let store = place.open().await;
    with_guild(&store).await;
    assert!(send(&store, &message(100, 10, 1)).await.expect("acknowledged"));
    let tasks: Vec<_> = (0..60)
        .map(|writer: u64| {
            let store = store.clone();
            tokio::spawn(async move {
                let id = if writer.is_multiple_of(3) { 100 } else { 4000 + writer };
                (id, send(&store, &message(id, 10, 1)).await)
            })
        })
        .collect();
    let mut acknowledged = 1;
    for task in tasks {
        match task.await.expect("no panic") {
            (100, outcome) => assert!(matches!(outcome, Err(Error::Conflict)), "{outcome:?}"),
            (_, outcome) => {
                assert!(outcome.expect("acknowledged"));
                acknowledged += 1;
            }
        }
    }
    assert_eq!(ids(&store).await.len(), acknowledged);
    assert_sequence(&store, acknowledged as u64).await;
}

/// Requests are dropped when their clients hang up: here each third one, after every number of
/// wake-ups that it may take.
async fn writers_who_vanish_at_any_moment_harm_nobody(place: Place) {
    let store = place.open().await;
    with_guild(&store).await;
    let made = Snowflakes::new(1, 0);
    let mut acknowledged = HashSet::new();
    for polls in 0..60 {
        let vanishing = Box::pin(send_new(&store, &made));
        let staying = [send_new(&store, &made), send_new(&store, &made)];
        let ((), staying) =
            tokio::join!(poll_at_most(vanishing, polls), futures_util::future::join_all(staying));
        for outcome in staying {
            acknowledged.insert(outcome.expect("acknowledged"));
        }
    }
    store.close().await;
    let again = place.open().await;
    let found: Vec<u64> = ids(&again).await;
    let all: HashSet<u64> = found.iter().copied().collect();
    assert!(acknowledged.is_subset(&all), "{:?}", acknowledged.difference(&all));
    assert!(found.is_sorted_by(|newer, older| newer > older));
    assert_sequence(&again, found.len() as u64).await;
}

async fn send_new(store: &Store, ids: &Snowflakes) -> Result<u64, Error> {
    let mut write = write(store, 1).await;
    let id = write.id(ids).await?;
    let message = Message { id: MessageId(id), ..message(id % 1000, 10, 1) };
    assert!(write.add_message(&message, "words", "").await?);
    let audience = hype_control::event::Audience::Guild(message.guild_id);
    write.tell(&audience, &hype_protocol::gateway::Event::MessageCreated(message)).await?;
    write.commit().await?;
    Ok(id)
}

/// Polls a future so many times, then drops it.
async fn poll_at_most<T>(mut future: std::pin::Pin<Box<impl Future<Output = T>>>, polls: u32) {
    let mut left = polls;
    let polled = std::future::poll_fn(|context| {
        if left == 0 {
            return std::task::Poll::Ready(());
        }
        left -= 1;
        future.as_mut().poll(context).map(|_| ())
    });
    // When nothing wakes it any more it has what it waits for, or waits behind another one.
    let _ = tokio::time::timeout(Duration::from_secs(5), polled).await;
}

/// Whoever goes away while he begins leaves a connection that the next one can rely on: what is done
/// there by a single statement is committed with it.
async fn a_single_statement_holds_whoever_vanished_before_it(place: Place) {
    let store = place.open().await;
    for round in 0..200 {
        poll_a_few_times(store.accounts().write(), round % 7).await;
        poll_a_few_times(store.accounts().snapshot(), round % 5).await;
        let name = format!("user {round}");
        let account = account(round + 1, &name);
        store.create_user(&account, &name, 1).await.expect("acknowledged");
    }
    // Another's connections see only what is committed.
    let ids: Vec<UserId> = (1..=200).map(UserId).collect();
    assert_eq!(place.open().await.users(&ids).await.expect("read").len(), 200);
}

/// Lets a future go on for a while, then drops it.
async fn poll_a_few_times(future: impl Future, times: u64) {
    let mut future = std::pin::pin!(future);
    for _ in 0..times {
        let polled = |context: &mut Context<'_>| Poll::Ready(future.as_mut().poll(context));
        if std::future::poll_fn(polled).await.is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}
