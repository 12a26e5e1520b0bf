//! What the fleet's state machine wants told, and the words for it.

use hype_protocol::id::{RoomId, SessionId, SourceId, UserId};
use hype_protocol::media::Codec;
use hype_protocol::observation::{
    CloseReason, RefuseReason, SessionStats, SessionStatus, ViewState,
};

/// One thing to tell people.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// To the guild: a session is new, or its flags or streams changed.
    State(Box<SessionStatus>),
    /// To the guild: a session ended.
    Left {
        /// Where.
        room: RoomId,
        /// Whose.
        user: UserId,
        /// Which.
        session: SessionId,
    },
    /// To the room, or to one person who has just come: who speaks.
    Speakers {
        /// Where.
        room: RoomId,
        /// Loudest first.
        speakers: Vec<SourceId>,
        /// Only to this person.
        only: Option<UserId>,
    },
    /// To the room, or to one person who has just come: which video codecs all can decode.
    Codecs {
        /// Where.
        room: RoomId,
        /// Best first.
        codecs: Vec<Codec>,
        /// Only to this person.
        only: Option<UserId>,
    },
    /// To the viewer: how a video slot stands.
    View {
        /// Whose.
        user: UserId,
        /// By which session.
        session: SessionId,
        /// Which slot.
        slot: u8,
        /// How it stands.
        state: ViewState,
    },
    /// To the person: the quality of a session.
    Stats {
        /// Whose.
        user: UserId,
        /// The quality.
        stats: SessionStats,
    },
    /// To the person: a session ended not by the person's own wish.
    Ended {
        /// Whose.
        user: UserId,
        /// Where.
        room: RoomId,
        /// Which.
        session: SessionId,
        /// Why.
        ending: Ending,
    },
}

/// How to put the end of a session to a person, and whether the client shall join again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// Join again by itself.
    pub rejoin: bool,
    /// In that room instead.
    pub move_to: Option<RoomId>,
    /// For the person.
    pub message: &'static str,
}

impl Ending {
    const fn again(message: &'static str) -> Option<Self> {
        Some(Self { rejoin: true, move_to: None, message })
    }

    const fn over(message: &'static str) -> Option<Self> {
        Some(Self { rejoin: false, move_to: None, message })
    }

    /// The media server was started anew, or does not know the session any more.
    pub const RESTARTED: Self =
        Self { rejoin: true, move_to: None, message: "The media server was restarted." };
    /// The media server never reported the session.
    pub const UNANSWERED: Self =
        Self { rejoin: true, move_to: None, message: "The media server did not answer." };

    /// None when the person wished it, or is not there to be told.
    pub fn of_close(reason: CloseReason) -> Option<Self> {
        match reason {
            CloseReason::Left | CloseReason::ClosedByPeer => None,
            CloseReason::Removed => Self::over(
                "You were disconnected: by a moderator, or because you may not be there any more.",
            ),
            CloseReason::Moved { to } => Some(Self {
                rejoin: true,
                move_to: Some(to),
                message: "A moderator moved you to another channel.",
            }),
            CloseReason::Replaced => Self::over("You joined from another place."),
            CloseReason::Timeout => Self::again("The connection was lost."),
            CloseReason::Handshake => Self::over(
                "The secure connection could not be set up. Reload the page and join again.",
            ),
            CloseReason::RoomClosed => Self::again("The channel moved to another media server."),
            CloseReason::NodeStopping => Self::again("The media server stops."),
        }
    }

    /// How a refused session ends.
    pub fn of_refusal(reason: RefuseReason) -> Self {
        let (rejoin, message) = match reason {
            RefuseReason::StaleBoot => (true, Self::RESTARTED.message),
            RefuseReason::StaleGeneration | RefuseReason::UnknownRoom => {
                (true, "The channel moved to another media server.")
            }
            RefuseReason::Full => (false, "The media server is full. Try again in a while."),
            // A new session gets a new random id.
            RefuseReason::Duplicate => (true, "The session could not be opened."),
            RefuseReason::Invalid => {
                (false, "The media server does not accept what this client sends.")
            }
        };
        Self { rejoin, move_to: None, message }
    }
}
