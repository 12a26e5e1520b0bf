//! Carries out what a client asks for on the gateway and makes the answer. Each voice session
//! named in a request must be the caller's own; another's is answered like one that is not there.

use std::sync::Arc;

use hype_protocol::gateway::{ChannelKind, ClientView, Event, PresenceStatus, Request, ToClient};
use hype_protocol::id::{ChannelId, SessionId, UserId};
use hype_protocol::media::{MAX_VIDEO_SLOTS, SourceKind};
use hype_protocol::observation::{CloseReason, FlagsChange, SessionStatus, View, VoiceFlags};
use hype_protocol::permission::Permissions;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::TYPING_PAUSE;
use super::session::Session;
use crate::app::{App, Shared};
use crate::domain::member;
use crate::error::Error;
use crate::event::Audience;
use crate::voice::join;

/// Carries out one request and sends its answer. A voice session whose client is gone before it
/// heard of it is closed again.
pub(super) async fn answer(
    app: Shared,
    session: Arc<Session>,
    nonce: String,
    request: Request,
    answer: oneshot::Sender<ToClient>,
) {
    let mut joined = None;
    let frame = match carry_out(&app, &session, request, &mut joined).await {
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
    session: &Session,
    request: Request,
    joined: &mut Option<SessionId>,
) -> Result<Value, Error> {
    let user = session.user;
    match request {
        Request::TypingStart { channel_id } => {
            start_typing(app, session, channel_id)?;
            Ok(json!({}))
        }
        Request::PresenceSet { status } => {
            if status == PresenceStatus::Offline {
                return Err(Error::invalid("whoever is connected is not offline"));
            }
            session.set_presence(status);
            Ok(json!({}))
        }
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

/// Shows that somebody is writing, to those who see the channel.
fn start_typing(app: &App, session: &Session, channel: ChannelId) -> Result<(), Error> {
    let mut found = None;
    for guild in session.guilds() {
        if let Some(followed) = app.gateway.registry().followed(guild)
            && let Some(channel) = followed.access.channel(channel)
        {
            found =
                Some((guild, channel.kind, followed.access.permissions(session.user, channel.id)));
        }
    }
    let (guild, kind, held) = found.ok_or(Error::NotFound)?;
    if !held.contains(Permissions::VIEW_CHANNEL) {
        return Err(Error::NotFound);
    }
    if kind != ChannelKind::Text {
        return Err(Error::NotATextChannel);
    }
    member::check(held, Permissions::SEND_MESSAGES)?;
    if !session.may_type(Instant::now()) {
        return Err(Error::RateLimited(TYPING_PAUSE));
    }
    let event = Event::Typing { guild_id: guild, channel_id: channel, user_id: session.user };
    app.bus.publish_everywhere(Audience::Channel(guild, channel), event);
    Ok(())
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
