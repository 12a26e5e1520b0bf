//! Joining a voice channel in one round trip: check the right, place the room, answer the offer
//! from what is known of the node, and open the session there at the same moment.
//! Whoever joins leaves where he was before; he stays there if the join fails.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hype_protocol::gateway::{Channel, Joined, JoinedNative, VoiceJoin, VoiceState};
use hype_protocol::id::{ChannelId, RoomId, SessionId, UserId};
use hype_protocol::media::SessionMedia;
use hype_protocol::observation::{CloseReason, Keying, OpenSession, VoiceFlags};
use hype_protocol::permission::Permissions;
use hype_protocol::secret::SrtpProfile;

use super::sdp::{self, Endpoint, Offer};
use super::{Seat, enforce};
use crate::app::App;
use crate::domain::{guild, member};
use crate::error::Error;

/// Decisions about the person that may come while a session opens; the last one found is obeyed.
const MAX_DECISIONS: usize = 4;

impl From<sdp::Error> for Error {
    fn from(error: sdp::Error) -> Self {
        match error {
            sdp::Error::Malformed { .. } | sdp::Error::Inconsistent(_) => {
                Self::SdpInvalid(error.to_string())
            }
            sdp::Error::Unsupported(_) => Self::SdpUnsupported(error.to_string()),
        }
    }
}

/// Joins by an SDP offer.
///
/// # Errors
/// `not_found`, `missing_permission`, `not_a_voice_channel`, `sdp_invalid`, `sdp_unsupported`, `channel_full`, `no_node`,
/// `coordination_unavailable`; those that pass by themselves carry a time to try again after.
pub async fn join(app: &App, user: UserId, request: VoiceJoin) -> Result<Joined, Error> {
    let channel =
        member::voice_channel(app, request.channel_id, user, Permissions::CONNECT).await?;
    let offer = Offer::parse(&request.sdp)?;
    let agreement = sdp::negotiate(&offer, &request.lines)?;
    let room = RoomId::from(channel.id);
    let seat = app.voice.place(room).await?;
    let session = new_session(app, room);
    let endpoint = Endpoint {
        ufrag: seat.keys.ufrag(seat.worker, session),
        password: seat.keys.ice_password(session),
        fingerprint: seat.fingerprint.clone(),
        addresses: seat.addresses.clone(),
        origin: session.0 >> 1,
    };
    let sdp = sdp::answer(&offer, &agreement, &endpoint);
    let flags = VoiceFlags {
        self_mute: request.self_mute,
        self_deaf: request.self_deaf,
        ..VoiceFlags::default()
    };
    let client = Client {
        ufrag: offer.ufrag,
        keying: Keying::Dtls { fingerprint: offer.fingerprint },
        flags,
        media: agreement.media,
    };
    enter(app, user, &channel, &seat, session, client).await?;
    Ok(Joined { session_id: session, sdp, voice_states: states(app, &channel) })
}

/// Joins as a native client, whose keys derive from the node's boot secret.
///
/// # Errors
/// As [`join`], with `invalid_request` in place of those about SDP.
pub async fn join_native(
    app: &App,
    user: UserId,
    channel: ChannelId,
    flags: VoiceFlags,
    profile: SrtpProfile,
    ufrag: String,
) -> Result<JoinedNative, Error> {
    let channel = member::voice_channel(app, channel, user, Permissions::CONNECT).await?;
    let ice_chars = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    if !(4..=32).contains(&ufrag.len()) || !ufrag.bytes().all(ice_chars) {
        return Err(Error::invalid("an ICE ufrag has 4 to 32 letters, digits, + and /"));
    }
    let room = RoomId::from(channel.id);
    let seat = app.voice.place(room).await?;
    let session = new_session(app, room);
    let media = sdp::native_media();
    let client = Client { ufrag, keying: Keying::Native { profile }, flags, media: media.clone() };
    enter(app, user, &channel, &seat, session, client).await?;
    Ok(JoinedNative {
        session_id: session,
        addresses: seat.addresses.clone(),
        ufrag: seat.keys.ufrag(seat.worker, session),
        password: seat.keys.ice_password(session),
        profile,
        keying: BASE64.encode(seat.keys.native_keying(seat.worker, session, profile).material),
        media,
        voice_states: states(app, &channel),
    })
}

/// What the node must know of the client.
struct Client {
    ufrag: String,
    keying: Keying,
    flags: VoiceFlags,
    media: SessionMedia,
}

fn states(app: &App, channel: &Channel) -> Vec<VoiceState> {
    guild::voice_states(app, channel.guild_id, channel.id)
}

/// A session id whose source is nobody else's in the room; 64 random bits never come twice.
fn new_session(app: &App, room: RoomId) -> SessionId {
    let present = app.voice.sessions_in(room);
    loop {
        let session = SessionId(rand::random());
        let source = session.source();
        if source.0 != 0 && present.iter().all(|other| other.session.source() != source) {
            return session;
        }
    }
}

/// Opens the session if there is room for one more, with what is decided about the person there,
/// then ends the person's other ones.
async fn enter(
    app: &App,
    user: UserId,
    channel: &Channel,
    seat: &Seat,
    session: SessionId,
    client: Client,
) -> Result<(), Error> {
    let flags = enforce::decided(app, channel.id, user, client.flags).await?;
    let open = OpenSession {
        boot: seat.boot,
        room: RoomId::from(channel.id),
        generation: seat.generation,
        worker: seat.worker,
        session,
        user,
        remote_ufrag: client.ufrag,
        keying: client.keying,
        flags,
        media: client.media,
    };
    let others = app.voice.open_within(seat, open, channel.user_limit)?;
    if let Err(error) = follow_decision(app, channel.id, user, session, flags).await {
        // Nobody may be heard whose right to it is not known. The others stay as they were.
        let _ = app.voice.close(session, CloseReason::Left);
        return Err(error);
    }
    for other in others {
        // One whose node is not connected now ends there by its silence.
        let _ = app.voice.close(other, CloseReason::Replaced);
    }
    Ok(())
}

/// Brings a session that has just been opened with `flags` up to what is decided by now: whoever
/// decided between our look and the opening found no session to tell.
async fn follow_decision(
    app: &App,
    channel: ChannelId,
    user: UserId,
    session: SessionId,
    mut flags: VoiceFlags,
) -> Result<(), Error> {
    // Again after each change, as another decision may have overtaken ours on its way to the node.
    for _ in 0..MAX_DECISIONS {
        let decided = enforce::decided(app, channel, user, flags).await?;
        if decided == flags {
            return Ok(());
        }
        app.voice.flags(session, enforce::change(flags, decided))?;
        flags = decided;
    }
    Ok(())
}
