//! Messages: `/api/v1/channels/{channel}/messages`, marks of what was read, and the search of a guild.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use hype_protocol::gateway::Message;
use hype_protocol::id::{ChannelId, GuildId, MessageId, UserId};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::document::Refused;
use super::extract::{Body, Caller, Id, Ids, Search, page_limit};
use super::idempotency::IdempotencyKey;
use crate::app::Shared;
use crate::domain::message;
use crate::error::{Error, code};
use crate::store::idempotency::Once;
use crate::store::message::Page;

/// Messages of one page of a search.
const MAX_FOUND: u32 = 25;

/// Which messages.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    /// Only messages older than this one. Not together with `after`.
    before: Option<MessageId>,
    /// Only messages newer than this one.
    after: Option<MessageId>,
    /// This message with those right before and after it. Not together with the other two.
    around: Option<MessageId>,
    /// How many at most.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
}

/// Read messages
///
/// Newest first. Without `before`, `after` and `around`, the newest of the channel.
#[utoipa::path(
    get, path = "/api/v1/channels/{channel}/messages", tag = "messages",
    params(("channel" = ChannelId, Path), PageQuery),
    responses((status = 200, body = Vec<Message>), Refused::<code::MissingPermission>)
)]
pub(super) async fn messages(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<ChannelId>,
    Search(query): Search<PageQuery>,
) -> Result<Json<Vec<Message>>, Error> {
    let page = match (query.before, query.after, query.around) {
        (None, None, None) => Page::Newest,
        (Some(id), None, None) => Page::Before(id),
        (None, Some(id), None) => Page::After(id),
        (None, None, Some(id)) => Page::Around(id),
        _ => return Err(Error::invalid("give one of `before`, `after` and `around`")),
    };
    let limit = page_limit(query.limit)?;
    Ok(Json(message::page(&app, caller.0, id, page, limit).await?))
}

/// A message to send.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMessage {
    /// 1–4,000 characters without control characters but line breaks and tabs; white space at
    /// both ends is taken away.
    #[schema(min_length = 1, max_length = 4000)]
    content: String,
}

/// Send a message
#[utoipa::path(
    post, path = "/api/v1/channels/{channel}/messages", tag = "messages",
    params(("channel" = ChannelId, Path), IdempotencyKey),
    request_body = NewMessage,
    responses(
        (status = 201, body = Message),
        Refused::<(code::NotATextChannel, code::MissingPermission)>
    )
)]
pub(super) async fn send(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<ChannelId>,
    once: Option<Extension<Once>>,
    Body(body): Body<NewMessage>,
) -> Result<(StatusCode, Json<Message>), Error> {
    app.limits.message(caller.0)?;
    let once = once.map(|Extension(once)| once).unwrap_or_default();
    let message = message::send(&app, caller.0, id, &body.content, &once).await?;
    Ok((StatusCode::CREATED, Json(message)))
}

/// Edit one's own message
#[utoipa::path(
    patch, path = "/api/v1/channels/{channel}/messages/{message}", tag = "messages",
    params(("channel" = ChannelId, Path), ("message" = MessageId, Path)),
    request_body = NewMessage,
    responses(
        (status = 200, body = Message),
        Refused::<(code::Forbidden, code::MissingPermission)>
    )
)]
pub(super) async fn edit(
    State(app): State<Shared>,
    caller: Caller,
    Ids(channel, id): Ids<ChannelId, MessageId>,
    Body(body): Body<NewMessage>,
) -> Result<Json<Message>, Error> {
    app.limits.message(caller.0)?;
    Ok(Json(message::edit(&app, caller.0, channel, id, &body.content).await?))
}

/// Delete a message
///
/// One's own, or any with the right to manage messages.
#[utoipa::path(
    delete, path = "/api/v1/channels/{channel}/messages/{message}", tag = "messages",
    params(("channel" = ChannelId, Path), ("message" = MessageId, Path)),
    responses((status = 204), Refused::<code::MissingPermission>)
)]
pub(super) async fn delete(
    State(app): State<Shared>,
    caller: Caller,
    Ids(channel, id): Ids<ChannelId, MessageId>,
) -> Result<StatusCode, Error> {
    message::delete(&app, caller.0, channel, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How far one has read.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Read {
    /// The newest message that was read; the newest of the channel when it is beyond that.
    message_id: MessageId,
}

/// Note how far one has read a channel
///
/// A mark only goes forward; one's other clients hear of it.
#[utoipa::path(
    post, path = "/api/v1/channels/{channel}/read", tag = "messages",
    params(("channel" = ChannelId, Path)),
    request_body = Read,
    responses((status = 204), Refused::<code::NotATextChannel>)
)]
pub(super) async fn mark_read(
    State(app): State<Shared>,
    caller: Caller,
    Id(channel): Id<ChannelId>,
    Body(body): Body<Read>,
) -> Result<StatusCode, Error> {
    message::mark_read(&app, caller.0, channel, body.message_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What to search for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchQuery {
    /// Words that a message must have, all of them, in any order; without case and accents. At
    /// most 20; there must be one, unless `from` is given.
    q: Option<String>,
    /// Only messages of this person.
    from: Option<UserId>,
    /// Only messages in this channel.
    r#in: Option<ChannelId>,
    /// Only messages older than this one.
    before: Option<MessageId>,
    /// Only messages newer than this one.
    after: Option<MessageId>,
    /// How many at most.
    #[param(minimum = 1, maximum = 25, default = 25)]
    limit: Option<u32>,
}

/// Search a guild's messages
///
/// Newest first, in the channels that one sees. The next page comes by `before`.
#[utoipa::path(
    get, path = "/api/v1/guilds/{guild}/messages/search", tag = "messages",
    params(("guild" = GuildId, Path), SearchQuery),
    responses((status = 200, body = Vec<Message>), Refused::<code::MissingPermission>)
)]
pub(super) async fn search(
    State(app): State<Shared>,
    caller: Caller,
    Id(guild): Id<GuildId>,
    Search(query): Search<SearchQuery>,
) -> Result<Json<Vec<Message>>, Error> {
    let limit = query.limit.unwrap_or(MAX_FOUND);
    if !(1..=MAX_FOUND).contains(&limit) {
        return Err(Error::invalid(format!("limit must be 1 to {MAX_FOUND}")));
    }
    let wanted = message::Wanted {
        text: query.q.unwrap_or_default(),
        author: query.from,
        channel: query.r#in,
        before: query.before,
        after: query.after,
        limit,
    };
    Ok(Json(message::find(&app, caller.0, guild, wanted).await?))
}
