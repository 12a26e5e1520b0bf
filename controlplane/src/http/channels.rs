//! `/api/v1/channels/*`: messages, and who is in a voice channel.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hype_protocol::gateway::{Message, VoiceState};
use hype_protocol::id::{ChannelId, MessageId};
use serde::Deserialize;

use super::extract::{Body, Caller, Id, Search};
use crate::app::Shared;
use crate::domain::{guild, member, message};
use crate::error::Error;
use crate::store::message::Page;

/// Messages on a page when the client names no limit, and the most that it can name.
const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    before: Option<MessageId>,
    after: Option<MessageId>,
    limit: Option<u32>,
}

pub(super) async fn messages(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<ChannelId>,
    Search(query): Search<PageQuery>,
) -> Result<Json<Vec<Message>>, Error> {
    let page = match (query.before, query.after) {
        (None, None) => Page::Newest,
        (Some(id), None) => Page::Before(id),
        (None, Some(id)) => Page::After(id),
        (Some(_), Some(_)) => {
            return Err(Error::invalid("give `before` or `after`, not both"));
        }
    };
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Error::invalid(format!("limit must be 1 to {MAX_LIMIT}")));
    }
    Ok(Json(message::page(&app, caller.0, id, page, limit).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMessage {
    content: String,
}

pub(super) async fn send(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<ChannelId>,
    Body(body): Body<NewMessage>,
) -> Result<(StatusCode, Json<Message>), Error> {
    app.limits.message(caller.0)?;
    let message = message::send(&app, caller.0, id, &body.content).await?;
    Ok((StatusCode::CREATED, Json(message)))
}

pub(super) async fn voice(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<ChannelId>,
) -> Result<Json<Vec<VoiceState>>, Error> {
    let channel = member::voice_channel(&app, id, caller.0).await?;
    Ok(Json(guild::voice_states(&app, channel.guild_id, channel.id)))
}
