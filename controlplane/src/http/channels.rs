//! `/api/v1/channels/*`: who is in a voice channel.

use axum::Json;
use axum::extract::State;
use hype_protocol::gateway::VoiceState;
use hype_protocol::id::ChannelId;
use hype_protocol::permission::Permissions;

use super::document::Refused;
use super::extract::{Caller, Id};
use crate::app::Shared;
use crate::domain::{guild, member};
use crate::error::{Error, code};

/// Who is in a voice channel
#[utoipa::path(
    get, path = "/api/v1/channels/{channel}/voice", tag = "channels",
    params(("channel" = ChannelId, Path)),
    responses((status = 200, body = Vec<VoiceState>), Refused::<code::NotAVoiceChannel>)
)]
pub(super) async fn voice(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<ChannelId>,
) -> Result<Json<Vec<VoiceState>>, Error> {
    let channel = member::voice_channel(&app, id, caller.0, Permissions::NONE).await?;
    Ok(Json(guild::voice_states(&app, channel.guild_id, channel.id)))
}
