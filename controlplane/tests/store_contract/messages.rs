//! Messages: pages, edits, searches, and how far somebody has read.

use hype_control::domain::search;
use hype_control::store::message::Page;
use hype_control::store::snowflake::Snowflakes;
use hype_control::store::{Error, Store};
use hype_protocol::gateway::{ChannelKind, Message, ReadMark};
use hype_protocol::id::{ChannelId, GuildId, MessageId, UserId};

use crate::place::{Place, contract, guild, message, send, with_guild, with_users, write};

contract! {
    messages_come_in_pages
    what_was_written_is_there_after_opening_again
    pages_around_a_message
    messages_are_edited_and_deleted
    searches
    read_marks_only_go_forward
}

async fn messages_come_in_pages(place: Place) {
    let store = place.open().await;
    with_users(&store, [1, 2]).await;
    assert!(store.create_guild(&guild(1, 1), 9, 1000).await.expect("created"));
    for id in 1..=9 {
        assert!(send(&store, &message(100 + id, 10, 1 + id % 2)).await.expect("sent"));
    }
    assert!(send(&store, &message(200, 11, 1)).await.expect("sent"));
    let check = async |page: Page, limit: u32, expected: &[u64]| {
        let found = store.messages(ChannelId(10), page, limit).await.expect("read");
        let ids: Vec<u64> = found.iter().map(|message| message.id.0).collect();
        assert_eq!(ids, expected, "{page:?} {limit}");
        for found in found {
            assert_eq!(found, message(found.id.0, 10, 1 + found.id.0 % 100 % 2));
        }
    };
    check(Page::Newest, 3, &[109, 108, 107]).await;
    check(Page::Before(MessageId(107)), 3, &[106, 105, 104]).await;
    check(Page::Before(MessageId(102)), 3, &[101]).await;
    check(Page::Before(MessageId(101)), 3, &[]).await;
    check(Page::Before(MessageId(u64::MAX)), 1, &[109]).await;
    check(Page::After(MessageId(101)), 3, &[104, 103, 102]).await;
    check(Page::After(MessageId(107)), 100, &[109, 108]).await;
    check(Page::After(MessageId(109)), 3, &[]).await;
    check(Page::After(MessageId(u64::MAX)), 3, &[]).await;
    assert!(!send(&store, &message(300, 19, 1)).await.expect("answered"), "no such channel");
    let twice = send(&store, &message(101, 10, 1)).await;
    assert!(matches!(twice, Err(Error::Conflict)), "{twice:?}");
    let found = store.channel(ChannelId(10)).await.expect("read").expect("there");
    assert_eq!(found.last_message_id, Some(MessageId(109)));
}

async fn what_was_written_is_there_after_opening_again(place: Place) {
    let store = place.open().await;
    assert_eq!(store.newest_id().await.expect("read"), 0);
    with_users(&store, [1]).await;
    assert!(store.create_guild(&guild(1, 1), 9, 1000).await.expect("created"));
    let mut write = write(&store, 1).await;
    let ids = Snowflakes::new(1, 0);
    let newest = write.id(&ids).await.expect("an id");
    write.commit().await.expect("lasting");
    store.close().await;
    assert!(matches!(store.ping().await, Err(Error::Unavailable(_))), "closed");
    let again = place.open().await;
    again.ping().await.expect("answers");
    assert_eq!(again.newest_id().await.expect("read"), newest);
    assert_eq!(again.guilds_of(UserId(1)).await.expect("read"), [GuildId(1)]);
}

async fn pages_around_a_message(place: Place) {
    let store = place.open().await;
    with_guild(&store).await;
    for id in 101..=109 {
        assert!(send(&store, &message(id, 10, 1)).await.expect("sent"));
    }
    for (id, limit, expected) in [
        (105, 4, vec![107, 106, 105, 104]),
        (105, 5, vec![107, 106, 105, 104, 103]),
        (105, 1, vec![105]),
        (109, 4, vec![109, 108]),
        (101, 4, vec![103, 102, 101]),
        (1, 4, vec![102, 101]),
        (999, 4, vec![109, 108]),
        (105, 100, (101..=109).rev().collect()),
    ] {
        let page = Page::Around(MessageId(id));
        let found = store.messages(ChannelId(10), page, limit).await.expect("read");
        let ids: Vec<u64> = found.iter().map(|message| message.id.0).collect();
        assert_eq!(ids, expected, "{id} {limit}");
    }
}

async fn messages_are_edited_and_deleted(place: Place) {
    let store = place.open().await;
    with_guild(&store).await;
    for id in [101, 102] {
        assert!(send(&store, &message(id, 10, 1)).await.expect("sent"));
    }
    let mut change = write(&store, 1).await;
    assert_eq!(change.message(ChannelId(11), MessageId(101)).await.expect("read"), None);
    assert_eq!(change.message(ChannelId(10), MessageId(u64::MAX)).await.expect("read"), None);
    let old = change.message(ChannelId(10), MessageId(101)).await.expect("read").expect("there");
    let new = Message { content: "other text".into(), edited_at_ms: Some(77), ..old };
    change.edit_message(&new, &search::words_of(&new)).await.expect("written");
    change.delete_message(MessageId(102)).await.expect("deleted");
    change.commit().await.expect("lasting");
    let page = store.messages(ChannelId(10), Page::Newest, 9).await.expect("read");
    assert_eq!(page.len(), 1);
    assert_eq!((page[0].content.as_str(), page[0].edited_at_ms), ("other text", Some(77)));
    let channel = store.channel(ChannelId(10)).await.expect("read").expect("there");
    assert_eq!(channel.last_message_id, Some(MessageId(101)), "the one before");
    assert_eq!(found(&store, "number", None, None).await, [] as [u64; 0]);
    assert_eq!(found(&store, "other", None, None).await, [101]);
}

/// The ids of what a search in guild 1 finds.
async fn found(
    store: &Store,
    text: &str,
    author: Option<u64>,
    channels: Option<&[ChannelId]>,
) -> Vec<u64> {
    let all = [ChannelId(10), ChannelId(12)];
    let terms = search::terms(search::words(text), author.map(UserId), channels.unwrap_or(&all));
    let found = store.search(GuildId(1), &terms, None, None, 100).await.expect("read");
    found.iter().map(|message| message.id.0).collect()
}

/// Both databases find the same, by words without case and accents, in any language.
async fn searches(place: Place) {
    let store = place.open().await;
    with_users(&store, [1, 2]).await;
    let mut whole = guild(1, 1);
    whole.channels.push(crate::place::channel(12, 1, "more", ChannelKind::Text, 0));
    assert!(store.create_guild(&whole, 9, 1000).await.expect("created"));
    assert!(store.create_guild(&guild(2, 1), 9, 1000).await.expect("created"));
    let texts = [
        (101, 10, 1, "Crème brûlée, s'il vous plaît!"),
        (102, 10, 2, "ПРИВЕТ Ёлка, где ёж?"),
        (103, 12, 1, "日本語 テスト　全角ＡＢＣ"),
        (104, 10, 2, "it's AND or NOT \"quoted\" (near) * ^ : - \\ ' | & ! <-> 3.14"),
        (105, 12, 2, "Straße STRASSE ﬁne İstanbul ΟΔΟΣ"),
        (106, 10, 1, "creme without accents; foo_bar foo-bar foo@bar.example"),
        (107, 10, 1, "हिन्दी पाठ עִבְרִית العَرَبِيَّة ไทย 한국어 𞤀𞤣𞤤𞤢𞤥 👩‍👩‍👧 Ⓐ ² Ǆ"),
        (108, 12, 1, "Tiếng Việt có dấu"),
    ];
    for (id, channel, author, text) in texts {
        let message = Message { content: text.into(), ..message(id, channel, author) };
        let message = Message { guild_id: GuildId(1), ..message };
        assert!(send(&store, &message).await.expect("sent"));
    }
    assert!(
        send(&store, &Message { content: "creme".into(), ..message(200, 20, 1) })
            .await
            .expect("sent")
    );
    for (text, expected) in [
        ("creme", vec![106, 101]),
        ("CRÈME BRULEE", vec![101]),
        ("brulee creme", vec![101]),
        ("cre", vec![]),
        ("привет", vec![102]),
        ("елка ЁЖ", vec![102]),
        ("日本語", vec![103]),
        ("日本", vec![]),
        ("全角abc", vec![103]),
        ("and", vec![104]),
        ("NOT quoted", vec![104]),
        ("3 14", vec![104]),
        ("it's", vec![104]),
        ("strasse", vec![105]),
        ("straße", vec![105]),
        ("fine istanbul", vec![105]),
        ("οδος", vec![105]),
        ("foo bar", vec![106]),
        ("foo_bar example", vec![106]),
        ("हिन्दी", vec![107]),
        ("עברית", vec![107]),
        ("العربية", vec![107]),
        ("ไทย 한국어", vec![107]),
        ("𞤀𞤣𞤤𞤢𞤥", vec![107]),
        ("a 2 ǆ", vec![107]),
        ("tieng viet", vec![108]),
        ("nothing", vec![]),
        // What only looks like our own marks finds nothing.
        ("\u{e000}g1", vec![]),
        ("g1", vec![]),
    ] {
        assert_eq!(found(&store, text, None, None).await, expected, "{text}");
    }
    let (ten, twelve) = (ChannelId(10), ChannelId(12));
    for (text, author, channels, expected) in [
        ("", Some(2), None, vec![105, 104, 102]),
        ("creme", Some(2), None, vec![]),
        ("creme", Some(1), Some(vec![ten]), vec![106, 101]),
        ("creme", None, Some(vec![twelve]), vec![]),
        ("", Some(1), Some(vec![twelve]), vec![108, 103]),
        ("", Some(1), Some(vec![ten, twelve]), vec![108, 107, 106, 103, 101]),
    ] {
        let ids = found(&store, text, author, channels.as_deref()).await;
        assert_eq!(ids, expected, "{text} {author:?} {channels:?}");
    }
    let terms = search::terms(Vec::new(), Some(UserId(1)), &[ten, twelve]);
    for (after, before, limit, expected) in [
        (None, None, 2, vec![108, 107]),
        (None, Some(107), 2, vec![106, 103]),
        (Some(101), Some(107), 9, vec![106, 103]),
        (Some(108), None, 9, vec![]),
        (Some(u64::MAX), Some(u64::MAX), 9, vec![]),
    ] {
        let found = store
            .search(GuildId(1), &terms, after.map(MessageId), before.map(MessageId), limit)
            .await
            .expect("read");
        let ids: Vec<u64> = found.iter().map(|message| message.id.0).collect();
        assert_eq!(ids, expected, "{after:?} {before:?} {limit}");
        assert!(found.iter().all(|message| message.author.name == "user 1"));
    }
}

async fn read_marks_only_go_forward(place: Place) {
    let store = place.open().await;
    with_guild(&store).await;
    with_users(&store, [2]).await;
    let mark = |channel: u64, message: u64| ReadMark {
        channel_id: ChannelId(channel),
        message_id: MessageId(message),
    };
    let put = async |user: u64, channel: u64, message: u64| {
        let mark = mark(channel, message);
        store.mark_read(GuildId(1), UserId(user), mark).await.expect("answered")
    };
    assert!(put(1, 10, 5).await);
    assert!(!put(1, 10, 5).await);
    assert!(!put(1, 10, 4).await);
    assert!(put(1, 10, 9).await);
    assert!(put(1, 12, 3).await);
    assert!(put(2, 10, 1).await);
    let one = mark(10, 9);
    let nowhere = store.mark_read(GuildId(7), UserId(1), one).await.expect("answered");
    assert!(!nowhere, "no such guild");
    let marks = store.read_marks(UserId(1)).await.expect("read");
    assert_eq!(marks, [(GuildId(1), one), (GuildId(1), mark(12, 3))]);
    assert_eq!(store.read_marks(UserId(3)).await.expect("read"), []);
}
