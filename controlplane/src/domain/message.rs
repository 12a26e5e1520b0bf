//! Messages of text channels: stored first, then told to the guild.

use hype_protocol::gateway::{ChannelKind, Event, Message};
use hype_protocol::id::{ChannelId, MessageId, UserId};
use hype_protocol::permission::Permissions;

use crate::app::App;
use crate::domain::{auth, member, search, text};
use crate::error::Error;
use crate::event::Audience;
use crate::store::message::Page;
use crate::store::snowflake;

/// Sends a message.
///
/// # Errors
/// [`Error::NotFound`] for who may not see the channel, [`Error::MissingPermission`], [`Error::NotATextChannel`], [`Error::InvalidRequest`].
pub async fn send(
    app: &App,
    user: UserId,
    channel: ChannelId,
    content: &str,
) -> Result<Message, Error> {
    let channel = member::channel(app, channel, user, Permissions::SEND_MESSAGES).await?;
    if channel.kind != ChannelKind::Text {
        return Err(Error::NotATextChannel);
    }
    let content = text::message(content)?;
    let author = auth::me(app, user).await?;
    let mut write = app.store.write_guild(channel.guild_id).await?.ok_or(Error::NotFound)?;
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
    if !write.add_message(&message, &search::words_of(&message)).await? {
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
