//! Carries out what a client asks for on the gateway and makes the answer. Each voice session
//! named in a request must be the caller's own; another's is answered like one that is not there.

use hype_protocol::gateway::{ClientView, Request, ToClient};
use hype_protocol::id::{SessionId, UserId};
use hype_protocol::media::{MAX_VIDEO_SLOTS, SourceKind};
use hype_protocol::observation::{CloseReason, FlagsChange, SessionStatus, View, VoiceFlags};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::app::{App, Shared};
use crate::error::Error;
use crate::voice::join;

/// Carries out one request and sends its answer. A voice session whose client is gone before it
/// heard of it is closed again.
pub(super) async fn answer(
    app: Shared,
    user: UserId,
    nonce: String,
    request: Request,
    answer: oneshot::Sender<ToClient>,
) {
    let mut joined = None;
    let frame = match carry_out(&app, user, request, &mut joined).await {
        Ok(result) => ToClient::Reply { nonce, result },
        Err(error) => ToClient::Error { nonce, error: error.body() },
    };
    if answer.send(frame).is_err()
        && let Some(session) = joined
    {
        // If its node is not connected now, it ends there by its silence.
        let _ = app.voice.close(session, CloseReason::Left);
    }
}

async fn carry_out(
    app: &App,
    user: UserId,
    request: Request,
    joined: &mut Option<SessionId>,
) -> Result<Value, Error> {
    match request {
        Request::VoiceJoin(offer) => {
            let outcome = join::join(app, user, offer).await?;
            *joined = Some(outcome.session_id);
            encode(&outcome)
        }
        Request::VoiceJoinNative { channel_id, self_mute, self_deaf, profile, ufrag } => {
            let flags = VoiceFlags { self_mute, self_deaf, ..VoiceFlags::default() };
            let outcome = join::join_native(app, user, channel_id, flags, profile, ufrag).await?;
            *joined = Some(outcome.session_id);
            encode(&outcome)
        }
        Request::VoiceLeave { session_id } => {
            own(app, user, session_id)?;
            app.voice.close(session_id, CloseReason::Left)?;
            Ok(json!({}))
        }
        Request::VoiceFlags { session_id, self_mute, self_deaf } => {
            own(app, user, session_id)?;
            // What a moderator decided is not the person's to change.
            let change = FlagsChange {
                self_mute: Some(self_mute),
                self_deaf: Some(self_deaf),
                ..FlagsChange::default()
            };
            app.voice.flags(session_id, change)?;
            Ok(json!({}))
        }
        Request::VoiceView { session_id, slot, view } => {
            own(app, user, session_id)?;
            let view = view.map(checked_view).transpose()?;
            if usize::from(slot) >= MAX_VIDEO_SLOTS {
                return Err(Error::invalid("there is no video slot of this number"));
            }
            app.voice.view(session_id, slot, view)?;
            Ok(json!({}))
        }
    }
}

fn encode(result: &impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(result).map_err(Error::internal)
}

fn own(app: &App, user: UserId, session: SessionId) -> Result<SessionStatus, Error> {
    app.voice.session(session).filter(|status| status.user == user).ok_or(Error::NoSession)
}

fn checked_view(view: ClientView) -> Result<View, Error> {
    match view.kind {
        SourceKind::Camera | SourceKind::Screen => {
            Ok(View { source: view.session_id.source(), kind: view.kind, height: view.height })
        }
        SourceKind::Microphone | SourceKind::ScreenAudio => {
            Err(Error::invalid("a video slot shows a camera or a screen"))
        }
    }
}
