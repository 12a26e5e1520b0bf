//! Messages of text channels: stored first, then told to the guild. Who may see, search and read them.

use std::collections::HashSet;

use hype_protocol::gateway::{Channel, ChannelKind, Event, Guild, Message, ReadMark};
use hype_protocol::id::{ChannelId, GuildId, MessageId, UserId};
use hype_protocol::permission::Permissions;
use serde_json::{Value, json};

use crate::app::App;
use crate::domain::audit::{self, Act};
use crate::domain::{auth, member, permission, search, text};
use crate::error::Error;
use crate::event::Audience;
use crate::store::guild_write::GuildWrite;
use crate::store::idempotency::Once;
use crate::store::message::Page;
use crate::store::snowflake::{self, unix_ms};

/// The most words of a search.
pub const MAX_SEARCH_WORDS: usize = 20;

/// Sends a message, or finds it when it was sent under this key already.
///
/// # Errors
/// [`Error::NotFound`] for who may not see the channel, [`Error::MissingPermission`], [`Error::NotATextChannel`], [`Error::InvalidRequest`].
pub async fn send(
    app: &App,
    user: UserId,
    channel: ChannelId,
    content: &str,
    once: &Once,
) -> Result<Message, Error> {
    let channel = member::channel(app, channel, user, Permissions::SEND_MESSAGES).await?;
    if channel.kind != ChannelKind::Text {
        return Err(Error::NotATextChannel);
    }
    let content = text::message(content)?;
    let author = auth::me(app, user).await?;
    let mut write = app.store.write_guild(channel.guild_id).await?.ok_or(Error::NotFound)?;
    if once.again
        && let Some(sent) = write.message_sent_under(channel.id, user, &once.key).await?
    {
        return Ok(Message { author, ..sent });
    }
    let id = write.id(&app.ids).await?;
    let message = Message {
        id: MessageId(id),
        channel_id: channel.id,
        guild_id: channel.guild_id,
        author,
        content,
        created_at_ms: snowflake::made_at_ms(id),
        edited_at_ms: None,
    };
    if !write.add_message(&message, &search::words_of(&message), &once.key).await? {
        return Err(Error::NotFound);
    }
    let audience = Audience::Channel(channel.guild_id, channel.id);
    write.tell(&audience, &Event::MessageCreated(message.clone())).await?;
    write.commit().await?;
    Ok(message)
}

/// Some messages of a channel, newest first.
///
/// # Errors
/// [`Error::NotFound`] for who may not see the channel, [`Error::MissingPermission`].
pub async fn page(
    app: &App,
    user: UserId,
    channel: ChannelId,
    page: Page,
    limit: u32,
) -> Result<Vec<Message>, Error> {
    let channel = member::channel(app, channel, user, Permissions::READ_MESSAGE_HISTORY).await?;
    Ok(app.store.messages(channel.id, page, limit).await?)
}

/// A message of a channel that is being changed.
async fn found(
    app: &App,
    channel: &Channel,
    id: MessageId,
) -> Result<(GuildWrite, Message), Error> {
    let mut write = app.store.write_guild(channel.guild_id).await?.ok_or(Error::NotFound)?;
    let message = write.message(channel.id, id).await?.ok_or(Error::NotFound)?;
    Ok((write, message))
}

/// Changes the content of one's own message.
///
/// # Errors
/// [`Error::NotFound`] for strangers and unknown messages, [`Error::Forbidden`] for all but its
/// author, [`Error::InvalidRequest`].
pub async fn edit(
    app: &App,
    user: UserId,
    channel: ChannelId,
    id: MessageId,
    content: &str,
) -> Result<Message, Error> {
    let channel = member::channel(app, channel, user, Permissions::SEND_MESSAGES).await?;
    let content = text::message(content)?;
    let author = auth::me(app, user).await?;
    let (mut write, old) = found(app, &channel, id).await?;
    if old.author.id != user {
        return Err(Error::Forbidden);
    }
    let message = Message { author, content, edited_at_ms: Some(unix_ms()), ..old };
    write.edit_message(&message, &search::words_of(&message)).await?;
    let audience = Audience::Channel(channel.guild_id, channel.id);
    write.tell(&audience, &Event::MessageUpdated(message.clone())).await?;
    write.commit().await?;
    Ok(message)
}

/// Deletes a message: one's own, or any with MANAGE_MESSAGES.
///
/// # Errors
/// [`Error::NotFound`] for strangers and unknown messages, [`Error::MissingPermission`].
pub async fn delete(
    app: &App,
    user: UserId,
    channel: ChannelId,
    id: MessageId,
) -> Result<(), Error> {
    let found_in = member::in_channel(app, channel, user).await?;
    let channel = found_in.channel;
    let (mut write, message) = found(app, &channel, id).await?;
    if message.author.id != user {
        member::check(found_in.permissions, Permissions::MANAGE_MESSAGES)?;
        let act =
            Act { actor: user, action: "message.delete", target: message.author.id.0, reason: "" };
        let gone = json!({ "channel_id": channel.id, "message_id": id });
        audit::record(app, &mut write, act, gone, Value::Null).await?;
    }
    write.delete_message(id).await?;
    let (guild_id, channel_id) = (channel.guild_id, channel.id);
    let event = Event::MessageDeleted { guild_id, channel_id, message_id: id };
    write.tell(&Audience::Channel(guild_id, channel_id), &event).await?;
    write.commit().await?;
    Ok(())
}

/// What to search for. Nothing given matches everything, but words or an author there must be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// A text, each word of which is wanted.
    pub text: String,
    /// Who wrote it.
    pub author: Option<UserId>,
    /// Where.
    pub channel: Option<ChannelId>,
    /// Only older ones.
    pub before: Option<MessageId>,
    /// Only newer ones.
    pub after: Option<MessageId>,
    /// How many at most.
    pub limit: u32,
}

/// Finds messages of a guild in the channels that the person sees, newest first.
///
/// # Errors
/// [`Error::NotFound`] for strangers and unknown channels, [`Error::InvalidRequest`].
pub async fn find(
    app: &App,
    user: UserId,
    guild: GuildId,
    wanted: Wanted,
) -> Result<Vec<Message>, Error> {
    let channels = match wanted.channel {
        Some(id) => {
            let channel = member::channel(app, id, user, Permissions::READ_MESSAGE_HISTORY).await?;
            if channel.guild_id != guild {
                return Err(Error::NotFound);
            }
            vec![id]
        }
        None => readable(app, guild, user).await?,
    };
    let words = search::words(&wanted.text);
    if words.is_empty() && wanted.author.is_none() {
        return Err(Error::invalid("`q` must have a letter or digit, unless `from` is given"));
    }
    if words.len() > MAX_SEARCH_WORDS {
        return Err(Error::invalid(format!("`q` may have at most {MAX_SEARCH_WORDS} words")));
    }
    if channels.is_empty() {
        return Ok(Vec::new());
    }
    let terms = search::terms(words, wanted.author, &channels);
    let found = app.store.search(guild, &terms, wanted.after, wanted.before, wanted.limit).await?;
    Ok(found)
}

/// The text channels of a guild whose history somebody may read.
async fn readable(app: &App, guild: GuildId, user: UserId) -> Result<Vec<ChannelId>, Error> {
    let access = member::require(app, guild, user, Permissions::NONE).await?;
    let channels = app.store.channels(guild).await?;
    let readable = channels.iter().filter(|channel| {
        channel.kind == ChannelKind::Text
            && permission::in_channel(&access, &channel.overwrites)
                .contains(Permissions::READ_MESSAGE_HISTORY)
    });
    Ok(readable.map(|channel| channel.id).collect())
}

/// Notes that somebody has read a channel up to a message, and tells all clients of his.
///
/// # Errors
/// [`Error::NotFound`] for strangers, [`Error::NotATextChannel`].
pub async fn mark_read(
    app: &App,
    user: UserId,
    channel: ChannelId,
    message: MessageId,
) -> Result<(), Error> {
    let channel = member::channel(app, channel, user, Permissions::NONE).await?;
    if channel.kind != ChannelKind::Text {
        return Err(Error::NotATextChannel);
    }
    // Beyond the newest would hide what is yet to come.
    let Some(newest) = channel.last_message_id else { return Ok(()) };
    let mark = ReadMark { channel_id: channel.id, message_id: message.min(newest) };
    if app.store.mark_read(channel.guild_id, user, mark).await? {
        app.bus.publish(Audience::User(user), Event::ChannelRead(mark));
    }
    Ok(())
}

/// How far somebody has read the channels of these guilds.
///
/// # Errors
/// When the store fails.
pub async fn read_marks(app: &App, user: UserId, guilds: &[Guild]) -> Result<Vec<ReadMark>, Error> {
    let marks = app.store.read_marks(user).await?;
    let visible: HashSet<ChannelId> =
        guilds.iter().flat_map(|guild| &guild.channels).map(|channel| channel.id).collect();
    let marks = marks.into_iter().map(|(_, mark)| mark);
    Ok(marks.filter(|mark| visible.contains(&mark.channel_id)).collect())
}
