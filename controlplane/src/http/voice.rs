//! `/api/v1/voice/*`: joining and leaving a voice channel without the gateway. What happens in the
//! call is told on the gateway all the same.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hype_protocol::gateway::{Joined, JoinedNative, OfferLines, VoiceJoin};
use hype_protocol::id::{ChannelId, NodeId};
use hype_protocol::observation::{CloseReason, VoiceFlags};
use hype_protocol::permission::Permissions;
use hype_protocol::secret::SrtpProfile;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::document::Refused;
use super::extract::{Body, Caller, Id};
use crate::app::Shared;
use crate::domain::member;
use crate::error::{Error, code};
use crate::voice::join;

/// Either `sdp` and `lines`, as browsers join, or `profile` and `ufrag`, as native clients do.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Join {
    /// The client's one SDP offer.
    sdp: Option<String>,
    /// What each m-line of the offer is for; unnamed ones are refused in the answer.
    #[serde(default)]
    lines: OfferLines,
    /// The SRTP profile to derive keys for.
    profile: Option<SrtpProfile>,
    /// The client's ICE ufrag, 4–32 letters, digits, `+` and `/`.
    ufrag: Option<String>,
    /// The microphone is muted at first.
    #[serde(default)]
    self_mute: bool,
    /// No sound is wanted at first.
    #[serde(default)]
    self_deaf: bool,
}

/// What the client goes on with.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum JoinAnswer {
    /// For an offer.
    Browser(Joined),
    /// For a native client.
    Native(Box<JoinedNative>),
}

/// Join a voice channel
///
/// As `voice.join` and `voice.join_native` on the gateway. Leaves any other one. Needs CONNECT.
#[utoipa::path(
    post, path = "/api/v1/voice/join/{channel}", tag = "voice",
    params(("channel" = ChannelId, Path)),
    request_body = Join,
    responses(
        (status = 200, body = JoinAnswer),
        Refused::<(code::MissingPermission, code::NotAVoiceChannel, code::ChannelFull)>,
        Refused::<(code::SdpInvalid, code::SdpUnsupported, code::NoNode)>,
        Refused::<(code::CoordinationUnavailable, code::Overloaded)>
    )
)]
pub(super) async fn join(
    State(app): State<Shared>,
    caller: Caller,
    Id(channel_id): Id<ChannelId>,
    Body(body): Body<Join>,
) -> Result<Json<JoinAnswer>, Error> {
    let Join { sdp, lines, profile, ufrag, self_mute, self_deaf } = body;
    match (sdp, profile, ufrag) {
        (Some(sdp), None, None) => {
            let offer = VoiceJoin { channel_id, sdp, lines, self_mute, self_deaf };
            Ok(Json(JoinAnswer::Browser(join::join(&app, caller.0, offer).await?)))
        }
        (None, Some(profile), Some(ufrag)) => {
            let flags = VoiceFlags { self_mute, self_deaf, ..VoiceFlags::default() };
            let joined =
                join::join_native(&app, caller.0, channel_id, flags, profile, ufrag).await?;
            Ok(Json(JoinAnswer::Native(Box::new(joined))))
        }
        _ => Err(Error::invalid("give either `sdp` with `lines`, or `profile` with `ufrag`")),
    }
}

/// Leave a voice channel
#[utoipa::path(
    post, path = "/api/v1/voice/leave/{channel}", tag = "voice",
    params(("channel" = ChannelId, Path)),
    responses((status = 204), Refused::<(code::NoSession, code::NoNode)>)
)]
pub(super) async fn leave(
    State(app): State<Shared>,
    caller: Caller,
    Id(channel): Id<ChannelId>,
) -> Result<StatusCode, Error> {
    let mut outcome = Err(Error::NoSession);
    for session in app.voice.sessions_of(caller.0) {
        if ChannelId::from(session.room) == channel {
            app.voice.close(session.session, CloseReason::Left)?;
            outcome = Ok(StatusCode::NO_CONTENT);
        }
    }
    outcome
}

/// The media server of a voice channel.
#[derive(Serialize, ToSchema)]
pub(super) struct SfuNode {
    /// Its name.
    #[schema(value_type = String)]
    node: NodeId,
    /// Where it stands.
    region: String,
    /// Where it takes media, in order of preference.
    #[schema(value_type = Vec<String>)]
    addresses: Vec<SocketAddr>,
}

/// Which media server serves a voice channel
///
/// 204 while none does: the first to join gets one. Needs CONNECT.
#[utoipa::path(
    get, path = "/api/v1/voice/sfu-node/{channel}", tag = "voice",
    params(("channel" = ChannelId, Path)),
    responses(
        (status = 200, body = SfuNode),
        (status = 204, description = "No media server serves it now."),
        Refused::<(code::MissingPermission, code::NotAVoiceChannel)>
    )
)]
pub(super) async fn sfu_node(
    State(app): State<Shared>,
    caller: Caller,
    Id(channel): Id<ChannelId>,
) -> Result<Response, Error> {
    let channel = member::voice_channel(&app, channel, caller.0, Permissions::CONNECT).await?;
    Ok(match app.voice.seat_of(channel.id.into()) {
        None => StatusCode::NO_CONTENT.into_response(),
        Some((seat, region)) => {
            let found = SfuNode { node: seat.node, region, addresses: seat.addresses };
            Json(found).into_response()
        }
    })
}
