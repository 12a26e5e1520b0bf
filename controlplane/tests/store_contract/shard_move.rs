//! Guilds that move between databases while people write and read, and moves that are interrupted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hype_control::config::Dsn;
use hype_control::domain::search;
use hype_control::event::Audience;
use hype_control::store::message::Page;
use hype_control::store::shard_copy;
use hype_control::store::shard_move::{MoveError, Step};
use hype_control::store::snowflake::Snowflakes;
use hype_control::store::{Error, Store};
use hype_protocol::gateway::{Event, Message, ReadMark};
use hype_protocol::id::{ChannelId, GuildId, MessageId, UserId};
use sqlx::AssertSqlSafe;

use crate::place::{Place, guild, join, message, open, with_guild, with_users};

/// Accounts beside the first shard, and a second one.
struct Fleet {
    places: [Place; 2],
}

impl Fleet {
    fn dsns(&self) -> [Dsn; 2] {
        [self.places[0].dsn.clone(), self.places[1].dsn.clone()]
    }

    async fn open(&self) -> Store {
        open(&self.places[0].dsn, &self.dsns()).await
    }
}

/// Shard of guild 1 in a store of two shards, and the other one.
async fn home_and_other(store: &Store) -> (usize, usize) {
    let home = store.shard_number(GuildId(1)).await.expect("read").expect("there");
    (home, 1 - home)
}

async fn say(store: &Store, ids: &Snowflakes, text: &str) -> Result<u64, Error> {
    let mut write = store.write_guild(GuildId(1)).await?.expect("the guild is there");
    let id = write.id(ids).await?;
    let message = Message {
        id: MessageId(id),
        content: text.to_owned(),
        created_at_ms: 1,
        guild_id: GuildId(1),
        ..message(1, 10, 1)
    };
    assert!(write.add_message(&message, &search::words_of(&message), "").await?);
    let audience = Audience::Channel(GuildId(1), ChannelId(10));
    write.tell(&audience, &Event::MessageCreated(message)).await?;
    write.commit().await?;
    Ok(id)
}

async fn change(store: &Store, id: u64, text: Option<&str>) -> Result<(), Error> {
    let mut write = store.write_guild(GuildId(1)).await?.expect("the guild is there");
    let old = write.message(ChannelId(10), MessageId(id)).await?.expect("it is there");
    let event = match text {
        Some(text) => {
            let new = Message { content: text.to_owned(), edited_at_ms: Some(2), ..old };
            write.edit_message(&new, &search::words_of(&new)).await?;
            Event::MessageUpdated(new)
        }
        None => {
            write.delete_message(MessageId(id)).await?;
            let (guild_id, channel_id) = (GuildId(1), ChannelId(10));
            Event::MessageDeleted { guild_id, channel_id, message_id: MessageId(id) }
        }
    };
    write.tell(&Audience::Guild(GuildId(1)), &event).await?;
    write.commit().await
}

async fn all(store: &Store) -> Vec<Message> {
    let (mut found, mut page) = (Vec::new(), Page::Newest);
    loop {
        let some = store.messages(ChannelId(10), page, 100).await.expect("read");
        let Some(last) = some.last() else { break };
        page = Page::Before(last.id);
        found.extend(some);
    }
    found.reverse();
    found
}

/// How many rows of guild 1 a shard has in a table.
async fn count(store: &Store, shard: usize, table: &str) -> i64 {
    let sql = format!("SELECT COUNT(*) FROM {table} WHERE guild_id = 1");
    let count = sqlx::query_scalar(AssertSqlSafe(sql));
    count.fetch_one(store.shards()[shard].readers()).await.expect("read")
}

/// The same in all tables.
async fn rows(store: &Store, shard: usize) -> i64 {
    let mut rows = 0;
    for table in shard_copy::tables() {
        rows += count(store, shard, table).await;
    }
    rows
}

/// Moves guild 1 while others write and read by a store of their own, as another process would.
async fn moves_while_people_write(fleet: Fleet) {
    let people = fleet.open().await;
    with_guild(&people).await;
    with_users(&people, [2]).await;
    join(&people, 1, 2, 9).await.expect("joined");
    let ids = Arc::new(Snowflakes::new(1, 0));
    let mut expected = Vec::new();
    for number in 0..450 {
        let text = format!("before {number}");
        expected.push((say(&people, &ids, &text).await.expect("sent"), text));
    }
    let (home, other) = home_and_other(&people).await;
    let (stop, slowest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writer = {
        let (people, ids, stop) = (people.clone(), Arc::clone(&ids), Arc::clone(&stop));
        let (slowest, first) = (Arc::clone(&slowest), expected.clone());
        tokio::spawn(async move {
            let mut sent = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                let number = sent.len();
                let text = format!("meanwhile {number}");
                sent.push((say(&people, &ids, &text).await.expect("no error"), text));
                if number < 100 {
                    let edit = format!("edited {number}");
                    change(&people, first[number].0, Some(&edit)).await.expect("no error");
                    change(&people, first[200 + number].0, None).await.expect("no error");
                }
                // Whoever was told that it is there finds it.
                let newest = people.messages(ChannelId(10), Page::Newest, 1).await;
                let newest = newest.expect("no error").first().map(|message| message.id.0);
                assert_eq!(newest, sent.last().map(|(id, _)| *id));
                let took = u64::try_from(began.elapsed().as_millis()).expect("short");
                slowest.fetch_max(took, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            sent
        })
    };
    let reader = {
        let (people, stop) = (people.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let seen = people.guild(GuildId(1)).await.expect("no error").expect("never away");
                assert_eq!(seen.members.len(), 2);
                let access = people.access(GuildId(1), UserId(2)).await.expect("no error");
                assert!(access.is_some(), "a member all the time");
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        })
    };
    let mover = fleet.open().await;
    let mut steps = Vec::new();
    let mut watch = |step: Step| {
        if !matches!(step, Step::Copied(_)) {
            steps.push(step);
        }
        true
    };
    let outcome = mover.move_guild(GuildId(1), other, search::words_of, &mut watch).await;
    outcome.expect("moved");
    let order = [Step::Announced, Step::CaughtUp, Step::Moved, Step::Directed, Step::Cleared];
    assert_eq!(steps, order);
    stop.store(true, Ordering::Relaxed);
    let sent = writer.await.expect("no panic");
    reader.await.expect("no panic");
    for (number, (_, text)) in expected.iter_mut().enumerate().take(sent.len().min(100)) {
        *text = format!("edited {number}");
    }
    let deleted = 200..200 + sent.len().min(100);
    let mut number = 0;
    expected.retain(|_| {
        number += 1;
        !deleted.contains(&(number - 1))
    });
    let changes = 2 * sent.len().min(100) as u64;
    let told = 450 + sent.len() as u64 + changes;
    expected.extend(sent);
    people.forget_home(GuildId(1));
    let found: Vec<_> =
        all(&people).await.into_iter().map(|message| (message.id.0, message.content)).collect();
    assert_eq!(found, expected);
    let slowest = slowest.load(Ordering::Relaxed);
    println!("the slowest round took {slowest} ms");
    assert!(slowest < 20_000, "{slowest} ms");
    assert_eq!(people.shard_number(GuildId(1)).await.expect("read"), Some(other));
    assert_eq!(rows(&people, home).await, 0, "nothing is left");
    let events = people.events_after(GuildId(1), 0, 100_000).await.expect("read");
    let numbers = events.iter().filter_map(|event| event.position).map(|place| place.sequence);
    assert!(numbers.eq(1..=told), "each event once, in order");
    let terms = search::terms(search::words("edited 7"), None, &[ChannelId(10)]);
    let hits = people.search(GuildId(1), &terms, None, None, 9).await.expect("read");
    assert_eq!(hits.len(), 1, "{hits:?}");
}

/// A move that dies after any step is finished by the same command, and loses nothing.
async fn moves_go_on_after_each_step(fleet: Fleet) {
    let store = fleet.open().await;
    with_users(&store, [1]).await;
    assert!(store.create_guild(&guild(1, 1), 9, 1000).await.expect("created"));
    let ids = Snowflakes::new(1, 0);
    let mut expected = Vec::new();
    for number in 0..30 {
        expected.push(say(&store, &ids, &format!("text {number}")).await.expect("sent"));
    }
    let mark = ReadMark { channel_id: ChannelId(10), message_id: MessageId(expected[3]) };
    assert!(store.mark_read(GuildId(1), UserId(1), mark).await.expect("noted"));
    for last in [
        Step::Announced,
        Step::Copied(30),
        Step::CaughtUp,
        Step::Moved,
        Step::Directed,
        Step::Cleared,
    ] {
        let (home, other) = home_and_other(&store).await;
        stop_at(&store, other, last).await;
        // Life goes on between the two tries.
        expected.push(say(&store, &ids, &format!("after {last:?}")).await.expect("sent"));
        assert!(store.guild(GuildId(1)).await.expect("read").is_some(), "{last:?}");
        finish(&store, other).await;
        let found: Vec<u64> = all(&store).await.iter().map(|message| message.id.0).collect();
        assert_eq!(found, expected, "{last:?}");
        assert_eq!(store.shard_number(GuildId(1)).await.expect("read"), Some(other), "{last:?}");
        assert_eq!(rows(&store, home).await, 0, "{last:?}");
        let marks = store.read_marks(UserId(1)).await.expect("read");
        assert_eq!(marks, [(GuildId(1), mark)], "{last:?}");
    }
    for (guild, target) in [(1, 2), (77, 0)] {
        let refused =
            store.move_guild(GuildId(guild), target, search::words_of, &mut |_| true).await;
        assert!(matches!(refused, Err(MoveError::NoShard(..) | MoveError::NoGuild(_))));
    }
}

async fn stop_at(store: &Store, target: usize, last: Step) {
    let mut watch =
        |step: Step| step != last && !matches!((step, last), (Step::Copied(_), Step::Copied(_)));
    let stopped = store.move_guild(GuildId(1), target, search::words_of, &mut watch).await;
    assert!(matches!(stopped, Err(MoveError::Stopped)), "{last:?}: {stopped:?}");
}

async fn finish(store: &Store, target: usize) {
    let moved = store.move_guild(GuildId(1), target, search::words_of, &mut |_| true).await;
    moved.expect("moved");
}

/// A guild whose row in the old shard sends everybody on, while the directory names the old shard:
/// another process reads and writes in the new one, and nobody can move it "back" by clearing that.
async fn a_move_that_died_right_after_it_is_followed(fleet: Fleet) {
    let store = fleet.open().await;
    with_guild(&store).await;
    let ids = Snowflakes::new(1, 0);
    let mut expected = vec![say(&store, &ids, "before").await.expect("sent")];
    let (home, other) = home_and_other(&store).await;
    stop_at(&store, other, Step::Moved).await;
    expected.push(say(&store, &ids, "after").await.expect("sent"));
    let replica = fleet.open().await;
    let found: Vec<u64> = all(&replica).await.iter().map(|message| message.id.0).collect();
    assert_eq!(found, expected, "what another process wrote");
    assert_eq!(replica.shard_number(GuildId(1)).await.expect("read"), Some(other));
    let back = store.move_guild(GuildId(1), home, search::words_of, &mut |_| true).await;
    assert!(matches!(back, Err(MoveError::OnItsWay(shard)) if shard == other), "{back:?}");
    finish(&store, other).await;
    let found: Vec<u64> = all(&store).await.iter().map(|message| message.id.0).collect();
    assert_eq!(found, expected, "nothing was lost");
    assert_eq!(rows(&store, home).await, 0);
}

/// The same command twice at once, or one that was thought dead: the later one moves the guild.
async fn of_two_moves_the_later_goes_on(fleet: Fleet) {
    let store = fleet.open().await;
    with_guild(&store).await;
    let ids = Snowflakes::new(1, 0);
    let mut expected = Vec::new();
    for number in 0..500 {
        expected.push(say(&store, &ids, &format!("text {number}")).await.expect("sent"));
    }
    let (home, other) = home_and_other(&store).await;
    // Frozen within its copy while the other one goes to the same place, and at its end while the
    // other one goes back to the shard that it would clear.
    for (target, last, later) in [(other, Step::Copied(0), other), (home, Step::Directed, other)] {
        let earlier = fleet.open().await;
        let (reached, mut is_reached) = tokio::sync::mpsc::unbounded_channel();
        let (go_on, goes_on) = std::sync::mpsc::channel::<()>();
        let frozen = tokio::spawn(async move {
            let mut frozen = false;
            let mut watch = move |step: Step| {
                let here =
                    step == last || matches!((step, last), (Step::Copied(_), Step::Copied(_)));
                if here && !std::mem::replace(&mut frozen, true) {
                    tokio::task::block_in_place(|| {
                        reached.send(()).expect("the test waits");
                        goes_on.recv().expect("the test goes on");
                    });
                }
                true
            };
            earlier.move_guild(GuildId(1), target, search::words_of, &mut watch).await
        });
        is_reached.recv().await.expect("it gets there");
        finish(&store, later).await;
        expected.push(say(&store, &ids, "meanwhile").await.expect("sent"));
        go_on.send(()).expect("it waits");
        let overtaken = frozen.await.expect("no panic");
        assert!(matches!(overtaken, Err(MoveError::Overtaken)), "{last:?}: {overtaken:?}");
        store.forget_home(GuildId(1));
        assert_eq!(store.shard_number(GuildId(1)).await.expect("read"), Some(later));
        let found: Vec<u64> = all(&store).await.iter().map(|message| message.id.0).collect();
        assert_eq!(found, expected, "{last:?}");
    }
}

async fn delete_channel(store: &Store) {
    let mut write = store.write_guild(GuildId(1)).await.expect("answered").expect("there");
    write.delete_channel(ChannelId(10)).await.expect("deleted");
    let (guild_id, channel_id) = (GuildId(1), ChannelId(10));
    let event = Event::ChannelDeleted { guild_id, channel_id };
    write.tell(&Audience::Guild(guild_id), &event).await.expect("told");
    write.commit().await.expect("committed");
}

/// What is deleted while a guild moves, or while a move of it lies dead, is left in no shard.
async fn deletions_reach_every_copy(fleet: Fleet) {
    let store = fleet.open().await;
    with_guild(&store).await;
    let ids = Snowflakes::new(1, 0);
    for number in 0..30 {
        say(&store, &ids, &format!("text {number}")).await.expect("sent");
    }
    let (home, other) = home_and_other(&store).await;
    // The channel goes, with its row in the directory, after it was copied and the mover died.
    stop_at(&store, other, Step::Copied(0)).await;
    assert_eq!(count(&store, other, "messages").await, 30);
    delete_channel(&store).await;
    // Twice: what is done must not come back.
    assert_eq!(store.remove_doomed().await.expect("removed"), 1);
    assert_eq!(store.remove_doomed().await.expect("nothing to do"), 0);
    stop_at(&store, other, Step::Moved).await;
    for shard in [home, other] {
        assert_eq!(count(&store, shard, "messages").await, 0);
    }
    finish(&store, other).await;
    assert_eq!(rows(&store, home).await, 0);
}

/// A channel that was deleted before a move, and whose messages are not removed yet.
async fn what_is_doomed_is_removed_on_both_sides(fleet: Fleet) {
    let store = fleet.open().await;
    with_guild(&store).await;
    let ids = Snowflakes::new(1, 0);
    for number in 0..30 {
        say(&store, &ids, &format!("text {number}")).await.expect("sent");
    }
    let (home, other) = home_and_other(&store).await;
    delete_channel(&store).await;
    stop_at(&store, other, Step::Moved).await;
    assert_eq!(store.remove_doomed().await.expect("removed"), 1, "the new home's");
    finish(&store, other).await;
    assert_eq!(rows(&store, home).await, 0);
    assert_eq!(count(&store, other, "messages").await, 0);
    // The guild itself, with a dead move's copy of it.
    stop_at(&store, home, Step::CaughtUp).await;
    let mut write = store.write_guild(GuildId(1)).await.expect("answered").expect("there");
    write.delete_guild().await.expect("deleted");
    write.commit().await.expect("committed");
    assert_eq!(store.remove_doomed().await.expect("removed"), 1);
    let gone = store.move_guild(GuildId(1), home, search::words_of, &mut |_| true).await;
    assert!(matches!(gone, Err(MoveError::NoGuild(_))), "{gone:?}");
    // Those are forgotten by their age, as in the shard where it lived.
    let events = count(&store, home, "events").await;
    assert_eq!(rows(&store, home).await, events);
}

/// At once, since each waits most of the time.
async fn moves_that_meet_something(fleets: [Fleet; 4]) {
    let [one, two, three, four] = fleets;
    tokio::join!(
        a_move_that_died_right_after_it_is_followed(one),
        of_two_moves_the_later_goes_on(two),
        deletions_reach_every_copy(three),
        what_is_doomed_is_removed_on_both_sides(four),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn meeting_something_between_files() {
    let fleet = || Fleet { places: [Place::sqlite(), Place::sqlite()] };
    moves_that_meet_something([fleet(), fleet(), fleet(), fleet()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn meeting_something_between_postgres_databases() {
    let fleet = async || Fleet { places: [Place::postgres().await, Place::postgres().await] };
    let fleets = [fleet().await, fleet().await, fleet().await, fleet().await];
    moves_that_meet_something(fleets).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_two_postgres_databases() {
    let places = [Place::postgres().await, Place::postgres().await];
    moves_while_people_write(Fleet { places }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_two_files() {
    let places = [Place::sqlite(), Place::sqlite()];
    moves_while_people_write(Fleet { places }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_a_file_and_postgres() {
    let places = [Place::sqlite(), Place::postgres().await];
    moves_while_people_write(Fleet { places }).await;
}

#[tokio::test]
async fn interrupted_between_postgres_databases() {
    let places = [Place::postgres().await, Place::postgres().await];
    moves_go_on_after_each_step(Fleet { places }).await;
}

#[tokio::test]
async fn interrupted_between_files() {
    moves_go_on_after_each_step(Fleet { places: [Place::sqlite(), Place::sqlite()] }).await;
}

/// A table that is added and not copied would be lost with the first guild that moves.
#[tokio::test]
async fn every_table_of_guilds_is_copied() {
    let store = Place::postgres().await.open().await;
    let mut tables: Vec<String> = sqlx::query_scalar(
        "SELECT CAST(table_name AS TEXT) FROM information_schema.columns \
         WHERE table_schema = 'public' AND column_name = 'guild_id'",
    )
    .fetch_all(store.accounts().readers())
    .await
    .expect("read");
    let beside = ["guild_directory", "channel_directory", "invite_directory", "memberships"];
    tables.retain(|table| !beside.contains(&table.as_str()));
    let mut copied = shard_copy::tables();
    tables.sort();
    copied.sort_unstable();
    assert_eq!(tables, copied);
}
