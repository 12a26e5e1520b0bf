//! Guilds, channels, members and invites.

use hype_control::store::Error;
use hype_control::store::invite::Invite;
use hype_control::store::member::{Added, VoiceDecision};
use hype_protocol::gateway::{Channel, ChannelKind};
use hype_protocol::id::{ChannelId, GuildId, UserId};

use crate::place::{Place, channel, contract, guild, join, with_users, write};

contract! {
    guilds_and_channels
    members
    decisions_about_voice_are_kept
    two_who_join_at_once_never_exceed_the_quota
    invites
}

async fn guilds_and_channels(place: Place) {
    let store = place.open().await;
    with_users(&store, [1, 2]).await;
    assert!(store.create_guild(&guild(1, 1), 2, 1000).await.expect("created"));
    assert!(store.create_guild(&guild(2, 1), 2, 1001).await.expect("created"));
    assert!(!store.create_guild(&guild(3, 1), 2, 1002).await.expect("refused"), "two are enough");
    assert_eq!(store.guild(GuildId(3)).await.expect("read"), None);
    let orphan = store.create_guild(&guild(4, 99), 2, 1000).await;
    assert!(matches!(orphan, Err(Error::Conflict)), "{orphan:?}");
    let again = store.create_guild(&guild(1, 2), 2, 1000).await;
    assert!(matches!(again, Err(Error::Conflict)), "{again:?}");

    let mut expected = guild(1, 1);
    assert_eq!(store.guild(GuildId(1)).await.expect("read"), Some(expected.clone()));
    let access = store.access(GuildId(1), UserId(1)).await.expect("read").expect("a member");
    assert_eq!(access.owner, UserId(1));

    let new = channel(500, 1, "Big hall", ChannelKind::Voice, 1000);
    let add = async |new: &Channel, quota: u32| {
        let mut write = write(&store, 1).await;
        let added = write.add_channel(new, quota, 2000).await?;
        write.commit().await?;
        Ok::<_, Error>(added)
    };
    store.announce_channel(GuildId(1), ChannelId(500)).await.expect("announced");
    assert_eq!(store.channel(ChannelId(500)).await.expect("read"), None, "announced, not there");
    assert!(add(&new, 3).await.expect("created"));
    let surplus = channel(501, 1, "one more", ChannelKind::Text, 0);
    assert!(!add(&surplus, 3).await.expect("refused"));
    assert_eq!(store.channel(ChannelId(501)).await.expect("read"), None);
    let twice = add(&new, 9).await;
    assert!(matches!(twice, Err(Error::Conflict)), "{twice:?}");
    let twice = store.announce_channel(GuildId(1), ChannelId(500)).await;
    assert!(matches!(twice, Err(Error::Conflict)), "{twice:?}");
    assert_eq!(store.channel(ChannelId(500)).await.expect("read"), Some(new.clone()));
    assert_eq!(store.channel(ChannelId(u64::MAX)).await.expect("read"), None);
    expected.channels.push(new);
    assert_eq!(store.guild(GuildId(1)).await.expect("read"), Some(expected));
}

async fn members(place: Place) {
    let store = place.open().await;
    with_users(&store, 1..=4).await;
    store.create_guild(&guild(1, 1), 9, 1000).await.expect("created");
    store.create_guild(&guild(2, 1), 9, 1000).await.expect("created");
    let add = async |guild: u64, user: u64, guild_quota: u32, user_quota: u32| {
        if !store.announce_member(UserId(user), GuildId(guild), user_quota).await.expect("answered")
        {
            return None;
        }
        Some(join(&store, guild, user, guild_quota).await.expect("answered"))
    };
    assert_eq!(add(1, 2, 3, 9).await, Some(Added::New));
    assert_eq!(add(1, 2, 3, 9).await, Some(Added::Already));
    assert_eq!(add(1, 3, 3, 9).await, Some(Added::New));
    assert_eq!(add(1, 4, 3, 9).await, Some(Added::GuildFull));
    store.forget_membership(UserId(4), GuildId(1)).await.expect("forgotten");
    assert_eq!(add(2, 2, 3, 1).await, None, "he is in one already");
    assert_eq!(add(2, 2, 3, 2).await, Some(Added::New));
    assert!(store.write_guild(GuildId(77)).await.expect("answered").is_none());
    let nobody = store.announce_member(UserId(99), GuildId(1), 9).await;
    assert!(matches!(nobody, Err(Error::Conflict)), "{nobody:?}");
    for (guild, user, expected) in [(1, 1, true), (1, 2, true), (1, 4, false), (9, 1, false)] {
        let access = store.access(GuildId(guild), UserId(user)).await.expect("read");
        assert_eq!(access.is_some(), expected, "{guild} {user}");
    }
    assert_eq!(store.guilds_of(UserId(2)).await.expect("read"), [GuildId(1), GuildId(2)]);
    assert_eq!(store.guilds_of(UserId(4)).await.expect("read"), []);
    assert_eq!(store.member_count(GuildId(1)).await.expect("read"), 3);
    let names = store.guild(GuildId(1)).await.expect("read").expect("there").members;
    let ids: Vec<u64> = names.iter().map(|member| member.user.id.0).collect();
    assert_eq!(ids, [1, 2, 3], "first come first");
}

async fn decisions_about_voice_are_kept(place: Place) {
    let store = place.open().await;
    with_users(&store, [1, 2]).await;
    store.create_guild(&guild(1, 1), 9, 1000).await.expect("created");
    let decided = |mute, deaf| Some(VoiceDecision { mute, deaf });
    let read = async |user: u64| {
        let access = store.access(GuildId(1), UserId(user)).await.expect("read");
        access.map(|access| VoiceDecision { mute: access.mute, deaf: access.deaf })
    };
    assert_eq!(read(1).await, decided(false, false));
    for (mute, deaf, expected) in [
        (Some(true), None, decided(true, false)),
        (None, Some(true), decided(true, true)),
        (None, None, decided(true, true)),
        (Some(false), None, decided(false, true)),
    ] {
        let mut write = write(&store, 1).await;
        let now = write.decide_voice(UserId(1), mute, deaf).await.expect("written");
        assert_eq!(now, expected);
        write.commit().await.expect("lasting");
        assert_eq!(read(1).await, expected);
    }
    let mut write = write(&store, 1).await;
    let stranger = write.decide_voice(UserId(2), Some(true), None).await;
    assert_eq!(stranger.expect("no error"), None);
    drop(write);
    assert_eq!(read(2).await, None);
}

async fn two_who_join_at_once_never_exceed_the_quota(place: Place) {
    let store = place.open().await;
    with_users(&store, 1..=21).await;
    store.create_guild(&guild(1, 1), 9, 1000).await.expect("created");
    let tries = (2..=21).map(|user| {
        let store = store.clone();
        tokio::spawn(async move { join(&store, 1, user, 5).await })
    });
    let mut added = 0;
    for attempt in tries.collect::<Vec<_>>() {
        added += u32::from(attempt.await.expect("no panic").expect("answered") == Added::New);
    }
    assert_eq!(added, 4);
    assert_eq!(store.member_count(GuildId(1)).await.expect("read"), 5);
}

async fn invites(place: Place) {
    let store = place.open().await;
    with_users(&store, [1]).await;
    store.create_guild(&guild(1, 1), 9, 1000).await.expect("created");
    let add = async |code: &str, quota: u32, now_ms: u64| {
        let invite = Invite {
            code: code.into(),
            guild: GuildId(1),
            creator: UserId(1),
            created_at_ms: now_ms,
            max_uses: 0,
            uses: 0,
            expires_at_ms: 0,
        };
        let mut write = write(&store, 1).await;
        let ended = write.add_invite(&invite, quota).await?;
        write.commit().await?;
        Ok::<_, Error>(ended)
    };
    for (number, code) in ["one", "two", "three"].into_iter().enumerate() {
        store.announce_invite(GuildId(1), code).await.expect("announced");
        let ended = add(code, 2, 1000 + number as u64).await.expect("created");
        assert_eq!(ended, if code == "three" { vec!["one"] } else { vec![] }, "{code}");
    }
    assert_eq!(store.invite("one").await.expect("read"), None, "the oldest made room");
    let (invite, name) = store.invite("three").await.expect("read").expect("there");
    assert_eq!((invite.guild, name.as_str()), (GuildId(1), "guild 1"));
    assert!(store.invite("THREE").await.expect("read").is_none(), "case matters");
    let twice = add("three", 9, 1).await;
    assert!(matches!(twice, Err(Error::Conflict)), "{twice:?}");
    let twice = store.announce_invite(GuildId(1), "three").await;
    assert!(matches!(twice, Err(Error::Conflict)), "{twice:?}");
}
