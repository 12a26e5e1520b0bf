//! What one session still has to be told: because its room is not here yet, or because its worker's
//! mailbox was full. Later wishes take the place of earlier ones, so that this needs no queue:
//! there is at most one for each session.

use hype_protocol::id::SessionId;
use hype_protocol::media::MAX_VIDEO_SLOTS;
use hype_protocol::observation::{CloseReason, FlagsChange, View};
use hype_sfu::Command;

/// Wishes for one session.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    flags: FlagsChange,
    /// By slot; the inner option is the view, of which none frees the slot.
    views: [Option<Option<View>>; MAX_VIDEO_SLOTS],
    close: Option<CloseReason>,
}

impl Held {
    /// Flags that are to change.
    pub(super) fn change(&mut self, later: FlagsChange) {
        let earlier = self.flags;
        self.flags = FlagsChange {
            self_mute: later.self_mute.or(earlier.self_mute),
            self_deaf: later.self_deaf.or(earlier.self_deaf),
            server_mute: later.server_mute.or(earlier.server_mute),
            server_deaf: later.server_deaf.or(earlier.server_deaf),
            suppressed: later.suppressed.or(earlier.suppressed),
            no_stream: later.no_stream.or(earlier.no_stream),
        };
    }

    /// What a slot is to show. No session has slots beyond the limit.
    pub(super) fn view(&mut self, slot: u8, view: Option<View>) {
        if let Some(wanted) = self.views.get_mut(usize::from(slot)) {
            *wanted = Some(view);
        }
    }

    /// The session is to end.
    pub(super) fn close(&mut self, reason: CloseReason) {
        self.close.get_or_insert(reason);
    }

    /// Posts everything; what `post` refuses stays. True when nothing is left.
    pub(super) fn post(
        &mut self,
        session: SessionId,
        mut post: impl FnMut(Command) -> bool,
    ) -> bool {
        let change = self.flags;
        if change != FlagsChange::default() {
            if !post(Command::Flags { session, change }) {
                return false;
            }
            self.flags = FlagsChange::default();
        }
        for (slot, wanted) in (0..).zip(&mut self.views) {
            if let Some(view) = *wanted {
                if !post(Command::View { session, slot, view }) {
                    return false;
                }
                *wanted = None;
            }
        }
        if let Some(reason) = self.close {
            if !post(Command::Close { session, reason }) {
                return false;
            }
            self.close = None;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use hype_protocol::id::SourceId;
    use hype_protocol::media::SourceKind;

    use super::*;

    #[test]
    fn nothing_is_lost_and_the_last_word_counts() {
        let session = SessionId(9);
        let mute = |muted| FlagsChange { self_mute: Some(muted), ..FlagsChange::default() };
        let view = View { source: SourceId(3), kind: SourceKind::Camera, height: None };
        let mut held = Held::default();
        held.change(mute(true));
        held.change(FlagsChange { server_deaf: Some(true), ..FlagsChange::default() });
        held.change(mute(false));
        held.view(1, Some(view));
        held.view(0, Some(view));
        held.view(0, None);
        held.view(200, Some(view));
        held.close(CloseReason::Removed);
        // A mailbox with room for one command at each try.
        let mut posted = Vec::new();
        for round in 0..4 {
            let mut room = 1;
            let all = held.post(session, |command| {
                let fits = room > 0;
                if fits {
                    room -= 1;
                    posted.push(command);
                }
                fits
            });
            assert_eq!(all, round == 3);
        }
        assert_eq!(held, Held::default());
        let change = FlagsChange { server_deaf: Some(true), ..mute(false) };
        let expected = [
            Command::Flags { session, change },
            Command::View { session, slot: 0, view: None },
            Command::View { session, slot: 1, view: Some(view) },
            Command::Close { session, reason: CloseReason::Removed },
        ];
        assert_eq!(format!("{posted:?}"), format!("{expected:?}"));
    }
}
