//! Who of a guild's members sees which of its channels: a copy of roles, overwrites and members that
//! follows the guild's events in their order, so that no event is shown to whom it is not for. Kept
//! only for guilds that somebody here is connected to.

use std::collections::HashMap;

use hype_protocol::gateway::{Channel, ChannelKind, Event, Guild};
use hype_protocol::id::{ChannelId, GuildId, RoleId, UserId};
use hype_protocol::permission::Permissions;

use crate::domain::permission::Standing;

/// Roles, channels and members of a guild, as of one of its events.
#[derive(Debug)]
pub(super) struct Access {
    guild: GuildId,
    owner: UserId,
    roles: HashMap<RoleId, Permissions>,
    channels: HashMap<ChannelId, Channel>,
    members: HashMap<UserId, Box<[RoleId]>>,
}

/// What an event may change in what people see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Nothing.
    Nobody,
    /// What these people see: a member, or the owners before and after.
    People([UserId; 2]),
    /// Who sees this channel.
    Channel(ChannelId),
    /// Everything for everybody.
    All,
}

impl Access {
    pub(super) fn of(guild: &Guild) -> Self {
        let members = guild.members.iter();
        Self {
            guild: guild.id,
            owner: guild.owner_id,
            roles: guild.roles.iter().map(|role| (role.id, role.permissions)).collect(),
            channels: guild.channels.iter().map(|it| (it.id, it.clone())).collect(),
            members: members.map(|it| (it.user.id, it.roles.as_slice().into())).collect(),
        }
    }

    /// What an event is about to change; asked before [`Self::apply`].
    pub(super) fn reach(&self, event: &Event) -> Reach {
        match event {
            Event::GuildUpdated { owner_id, .. } if *owner_id != self.owner => {
                Reach::People([self.owner, *owner_id])
            }
            Event::MemberUpdated { member, .. } => {
                let now = self.members.get(&member.user.id);
                let same = now.is_some_and(|roles| **roles == *member.roles);
                if same { Reach::Nobody } else { Reach::People([member.user.id; 2]) }
            }
            Event::RoleUpdated(role) => {
                let same = self.roles.get(&role.id) == Some(&role.permissions);
                if same { Reach::Nobody } else { Reach::All }
            }
            Event::RoleDeleted { .. } => Reach::All,
            Event::ChannelCreated(channel) | Event::ChannelUpdated(channel) => {
                Reach::Channel(channel.id)
            }
            Event::ChannelDeleted { channel_id, .. } => Reach::Channel(*channel_id),
            _ => Reach::Nobody,
        }
    }

    /// Follows an event.
    pub(super) fn apply(&mut self, event: &Event) {
        match event {
            Event::GuildUpdated { owner_id, .. } => self.owner = *owner_id,
            Event::MemberAdded { member, .. } | Event::MemberUpdated { member, .. } => {
                self.members.insert(member.user.id, member.roles.as_slice().into());
            }
            Event::MemberRemoved { user_id, .. } => {
                self.members.remove(user_id);
            }
            Event::RoleCreated(role) | Event::RoleUpdated(role) => {
                self.roles.insert(role.id, role.permissions);
            }
            Event::RoleDeleted { role_id, .. } => {
                self.roles.remove(role_id);
            }
            Event::ChannelCreated(channel) | Event::ChannelUpdated(channel) => {
                self.channels.insert(channel.id, channel.clone());
            }
            Event::ChannelDeleted { channel_id, .. } => {
                self.channels.remove(channel_id);
            }
            _ => {}
        }
    }

    /// What somebody may do in a channel; nothing when either is not of this guild.
    pub(super) fn permissions(&self, user: UserId, channel: ChannelId) -> Permissions {
        match self.channels.get(&channel) {
            Some(channel) => self.permissions_in(user, channel),
            None => Permissions::NONE,
        }
    }

    fn permissions_in(&self, user: UserId, channel: &Channel) -> Permissions {
        let Some(roles) = self.members.get(&user) else { return Permissions::NONE };
        let of_role = |role: &RoleId| self.roles.get(role).copied().unwrap_or_default();
        let everyone = RoleId(self.guild.0);
        let held = roles.iter().fold(of_role(&everyone), |held, role| held | of_role(role));
        let standing =
            Standing { guild: self.guild, user, is_owner: user == self.owner, roles, base: held };
        standing.in_channel(&channel.overwrites)
    }

    pub(super) fn sees(&self, user: UserId, channel: ChannelId) -> bool {
        self.permissions(user, channel).contains(Permissions::VIEW_CHANNEL)
    }

    /// The channels that somebody sees.
    pub(super) fn visible(&self, user: UserId) -> Vec<ChannelId> {
        let all = self.channels.values();
        let seen = all.filter(|channel| {
            self.permissions_in(user, channel).contains(Permissions::VIEW_CHANNEL)
        });
        seen.map(|channel| channel.id).collect()
    }

    pub(super) fn channel(&self, channel: ChannelId) -> Option<&Channel> {
        self.channels.get(&channel)
    }

    pub(super) fn is_member(&self, user: UserId) -> bool {
        self.members.contains_key(&user)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = UserId> {
        self.members.keys().copied()
    }

    /// Its voice channels.
    pub(super) fn voice_channels(&self) -> Vec<ChannelId> {
        let all = self.channels.values().filter(|channel| channel.kind == ChannelKind::Voice);
        all.map(|channel| channel.id).collect()
    }
}

/// The channel that an event is about: who does not see it does not hear of it.
pub(super) fn channel_of(event: &Event) -> Option<ChannelId> {
    match event {
        Event::ChannelCreated(channel) | Event::ChannelUpdated(channel) => Some(channel.id),
        Event::MessageCreated(message) | Event::MessageUpdated(message) => Some(message.channel_id),
        Event::ChannelDeleted { channel_id, .. }
        | Event::MessageDeleted { channel_id, .. }
        | Event::Typing { channel_id, .. }
        | Event::UserJoinedVoice { channel_id, .. }
        | Event::UserLeftVoice { channel_id, .. }
        | Event::VoiceLeft { channel_id, .. } => Some(*channel_id),
        Event::VoiceState(state) => Some(state.channel_id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use hype_protocol::gateway::{Member, Overwrite, OverwriteKind, Role, User};
    use hype_protocol::id::TargetId;

    use super::*;

    const GUILD: GuildId = GuildId(1);
    const OWNER: UserId = UserId(10);
    const MEMBER: UserId = UserId(11);
    const ROLE: RoleId = RoleId(5);
    const CHANNEL: ChannelId = ChannelId(7);

    fn role(id: RoleId, permissions: Permissions) -> Role {
        Role { id, guild_id: GUILD, name: "r".into(), color: 0, position: 0, permissions }
    }

    fn member(id: UserId, roles: &[RoleId]) -> Member {
        Member {
            user: User { id, name: "m".into() },
            roles: roles.to_vec(),
            joined_at_ms: 0,
            server_mute: false,
            server_deaf: false,
        }
    }

    fn channel(overwrites: Vec<Overwrite>) -> Channel {
        let name = "c".to_owned();
        Channel {
            overwrites,
            ..crate::domain::guild::new_channel(CHANNEL, GUILD, name, ChannelKind::Text)
        }
    }

    fn guild(roles: &[RoleId], overwrites: Vec<Overwrite>) -> Guild {
        Guild {
            id: GUILD,
            name: "g".into(),
            owner_id: OWNER,
            sequence: 0,
            roles: vec![role(RoleId(GUILD.0), Permissions::DEFAULT), role(ROLE, Permissions::NONE)],
            channels: vec![channel(overwrites)],
            members: vec![member(OWNER, &[]), member(MEMBER, roles)],
            voice_states: Vec::new(),
            presences: Vec::new(),
        }
    }

    fn overwrite(target: u64, kind: OverwriteKind, allow: bool) -> Overwrite {
        let view = Permissions::VIEW_CHANNEL;
        let (allow, deny) =
            if allow { (view, Permissions::NONE) } else { (Permissions::NONE, view) };
        Overwrite { target_id: TargetId(target), kind, allow, deny }
    }

    #[test]
    fn overwrites_hide_and_show() {
        let everyone = |allow| overwrite(GUILD.0, OverwriteKind::Role, allow);
        let of_role = |allow| overwrite(ROLE.0, OverwriteKind::Role, allow);
        let own = |allow| overwrite(MEMBER.0, OverwriteKind::Member, allow);
        for (roles, overwrites, seen) in [
            (vec![], vec![], true),
            (vec![], vec![everyone(false)], false),
            (vec![], vec![everyone(false), of_role(true)], false),
            (vec![ROLE], vec![of_role(true), everyone(false)], true),
            (vec![ROLE], vec![own(false), of_role(true)], false),
            (vec![ROLE], vec![own(true), of_role(false), everyone(false)], true),
        ] {
            let access = Access::of(&guild(&roles, overwrites.clone()));
            assert_eq!(access.sees(MEMBER, CHANNEL), seen, "{overwrites:?}");
            assert_eq!(access.visible(MEMBER).len(), usize::from(seen));
            assert!(access.sees(OWNER, CHANNEL));
            assert!(!access.sees(UserId(99), CHANNEL), "a stranger");
        }
    }

    #[test]
    fn events_are_followed() {
        let hidden = overwrite(GUILD.0, OverwriteKind::Role, false);
        let mut access = Access::of(&guild(&[], vec![hidden]));
        let mut follow = |event: Event, reach, seen| {
            assert_eq!(access.reach(&event), reach);
            access.apply(&event);
            assert_eq!(access.sees(MEMBER, CHANNEL), seen, "{event:?}");
        };
        let guild_id = GUILD;
        let promoted = Event::MemberUpdated { guild_id, member: member(MEMBER, &[ROLE]) };
        follow(promoted.clone(), Reach::People([MEMBER; 2]), false);
        follow(promoted, Reach::Nobody, false);
        let strong = role(ROLE, Permissions::ADMINISTRATOR);
        follow(Event::RoleUpdated(strong), Reach::All, true);
        follow(Event::RoleDeleted { guild_id, role_id: ROLE }, Reach::All, false);
        let owner_id = MEMBER;
        let updated = Event::GuildUpdated { guild_id, name: "g".into(), owner_id };
        follow(updated, Reach::People([OWNER, MEMBER]), true);
        let open = channel(Vec::new());
        follow(Event::ChannelUpdated(open), Reach::Channel(CHANNEL), true);
        follow(Event::MemberRemoved { guild_id, user_id: MEMBER }, Reach::Nobody, false);
        let channel_id = CHANNEL;
        follow(Event::ChannelDeleted { guild_id, channel_id }, Reach::Channel(CHANNEL), false);
    }
}
