//! What a member may do: how roles and overwrites add up, in Discord's order. Pure: whoever asks
//! brings what is stored of the member ([`Access`]) and of the channel.
//!
//! | who | in the guild | in a channel |
//! |---|---|---|
//! | the owner | everything | everything |
//! | has ADMINISTRATOR by a role | everything | everything, past all overwrites |
//! | any other member | the roles' permissions together, that of everybody among them | those, then each step below |
//!
//! | step in a channel | what it does |
//! |---|---|
//! | 1. the overwrite of everybody | takes its denies, then adds its allows |
//! | 2. the overwrites of the member's roles | take all their denies, then add all their allows |
//! | 3. the overwrite of the member | takes its denies, then adds its allows |
//! | 4. no VIEW_CHANNEL is left | nothing is |
//! | 5. no CONNECT is left | neither are SPEAK and STREAM |
//!
//! Overwrites change only what is about a channel ([`overwritable`]).

use hype_protocol::gateway::{Guild, Member, Overwrite, OverwriteKind, Role};
use hype_protocol::id::{GuildId, RoleId, TargetId, UserId};
use hype_protocol::permission::Permissions;

use crate::store::access::Access;

/// What an overwrite may allow or deny, as bits: what a channel is about.
const OVERWRITABLE_BITS: [Permissions; 13] = [
    Permissions::CREATE_INVITE,
    Permissions::MANAGE_CHANNELS,
    Permissions::STREAM,
    Permissions::VIEW_CHANNEL,
    Permissions::SEND_MESSAGES,
    Permissions::MANAGE_MESSAGES,
    Permissions::READ_MESSAGE_HISTORY,
    Permissions::CONNECT,
    Permissions::SPEAK,
    Permissions::MUTE_MEMBERS,
    Permissions::DEAFEN_MEMBERS,
    Permissions::MOVE_MEMBERS,
    Permissions::MANAGE_ROLES,
];

/// What an overwrite may allow or deny.
pub fn overwritable() -> Permissions {
    OVERWRITABLE_BITS.into_iter().fold(Permissions::NONE, |all, one| all | one)
}

/// All that is asked of a member.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// In which guild.
    pub guild: GuildId,
    /// Who.
    pub user: UserId,
    /// Owns the guild.
    pub is_owner: bool,
    /// The member's roles; whether that of everybody is among them makes no difference.
    pub roles: &'a [RoleId],
    /// What the roles allow together, that of everybody among them.
    pub base: Permissions,
}

impl Standing<'_> {
    /// What the member may do in the guild, beside its channels.
    pub fn in_guild(&self) -> Permissions {
        if self.is_owner || self.base.contains(Permissions::ADMINISTRATOR) {
            Permissions::all()
        } else {
            self.base
        }
    }

    /// What the member may do in a channel with these overwrites.
    pub fn in_channel(&self, overwrites: &[Overwrite]) -> Permissions {
        if self.is_owner || self.base.contains(Permissions::ADMINISTRATOR) {
            return Permissions::all();
        }
        let everybody = TargetId(self.guild.0);
        let mut held = self.base;
        let mut step = |concerns: &dyn Fn(&Overwrite) -> bool| {
            let (mut allow, mut deny) = (Permissions::NONE, Permissions::NONE);
            for overwrite in overwrites.iter().filter(|overwrite| concerns(overwrite)) {
                allow = allow | overwrite.allow;
                deny = deny | overwrite.deny;
            }
            held = (held & !(deny & overwritable())) | (allow & overwritable());
        };
        step(&|one| one.kind == OverwriteKind::Role && one.target_id == everybody);
        step(&|one| {
            one.kind == OverwriteKind::Role
                && one.target_id != everybody
                && self.roles.contains(&RoleId(one.target_id.0))
        });
        step(&|one| one.kind == OverwriteKind::Member && one.target_id.0 == self.user.0);
        if !held.contains(Permissions::VIEW_CHANNEL) {
            return Permissions::NONE;
        }
        if !held.contains(Permissions::CONNECT) {
            held = held & !(Permissions::SPEAK | Permissions::STREAM);
        }
        held
    }
}

impl Access {
    fn standing(&self) -> Standing<'_> {
        Standing {
            guild: self.guild,
            user: self.user,
            is_owner: self.user == self.owner,
            roles: &self.roles,
            base: self.base,
        }
    }
}

/// What a member may do in the guild, beside its channels.
pub fn in_guild(access: &Access) -> Permissions {
    access.standing().in_guild()
}

/// What a member may do in a channel with these overwrites.
pub fn in_channel(access: &Access, overwrites: &[Overwrite]) -> Permissions {
    access.standing().in_channel(overwrites)
}

/// A member's standing by the roles of the guild.
pub fn access_of(guild: GuildId, owner: UserId, roles: &[Role], member: &Member) -> Access {
    let everybody = RoleId(guild.0);
    let held = roles.iter().filter(|role| role.id == everybody || member.roles.contains(&role.id));
    let (base, top) = held.fold((Permissions::NONE, 0), |(base, top), role| {
        (base | role.permissions, top.max(role.position))
    });
    Access {
        guild,
        owner,
        user: member.user.id,
        roles: member.roles.clone(),
        base,
        top,
        mute: member.server_mute,
        deaf: member.server_deaf,
    }
}

/// What a copy of a guild tells of a member; none when the person is not among its members.
pub fn access_in(guild: &Guild, user: UserId) -> Option<Access> {
    let member = guild.members.iter().find(|member| member.user.id == user)?;
    Some(access_of(guild.id, guild.owner_id, &guild.roles, member))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMINISTRATOR: Permissions = Permissions::ADMINISTRATOR;
    const CONNECT: Permissions = Permissions::CONNECT;
    const KICK: Permissions = Permissions::KICK_MEMBERS;
    const NONE: Permissions = Permissions::NONE;
    const SEND: Permissions = Permissions::SEND_MESSAGES;
    const SPEAK: Permissions = Permissions::SPEAK;
    const STREAM: Permissions = Permissions::STREAM;
    const VIEW: Permissions = Permissions::VIEW_CHANNEL;

    /// Somebody with the roles 10 and 20 in guild 1.
    fn access(base: Permissions) -> Access {
        Access {
            guild: GuildId(1),
            owner: UserId(7),
            user: UserId(8),
            roles: vec![RoleId(10), RoleId(20)],
            base,
            top: 2,
            mute: false,
            deaf: false,
        }
    }

    fn role(id: u64, allow: Permissions, deny: Permissions) -> Overwrite {
        Overwrite { target_id: TargetId(id), kind: OverwriteKind::Role, allow, deny }
    }

    fn member(id: u64, allow: Permissions, deny: Permissions) -> Overwrite {
        Overwrite { target_id: TargetId(id), kind: OverwriteKind::Member, allow, deny }
    }

    #[test]
    fn the_owner_and_administrators_may_everything() {
        let denied = [role(1, NONE, VIEW | SEND), member(8, NONE, VIEW)];
        let owner = Access { user: UserId(7), ..access(NONE) };
        for access in [owner, access(ADMINISTRATOR)] {
            assert_eq!(in_guild(&access), Permissions::all());
            assert_eq!(in_channel(&access, &denied), Permissions::all());
        }
        assert_eq!(in_guild(&access(KICK | VIEW)), KICK | VIEW);
    }

    fn check(row: &str, base: Permissions, overwrites: &[Overwrite], expected: Permissions) {
        assert_eq!(in_channel(&access(base), overwrites), expected, "{row}");
    }

    #[test]
    fn overwrites_add_up_step_by_step() {
        let all = VIEW | SEND;
        check("no overwrites", all, &[], all);
        check("everybody is denied", all, &[role(1, NONE, SEND)], VIEW);
        check("everybody is allowed", VIEW, &[role(1, SEND, NONE)], all);
        check("a role against everybody", all, &[role(1, NONE, SEND), role(10, SEND, NONE)], all);
        check("a role against everybody", all, &[role(1, SEND, NONE), role(10, NONE, SEND)], VIEW);
        let apart = [role(10, NONE, SEND), role(20, SEND, NONE)];
        check("of two roles the allow wins", all, &apart, all);
        let apart = [role(20, SEND, NONE), role(10, NONE, SEND)];
        check("in whichever order", all, &apart, all);
        check("another's role is no matter", all, &[role(30, NONE, SEND)], all);
        let apart = [member(8, NONE, SEND), role(10, SEND, NONE)];
        check("the member comes last", all, &apart, VIEW);
        let apart = [member(8, SEND, NONE), role(10, NONE, SEND)];
        check("the member comes last", all, &apart, all);
        check("another member is no matter", all, &[member(9, NONE, SEND)], all);
        check("a member is no role", all, &[member(10, NONE, SEND), role(8, NONE, SEND)], all);
    }

    #[test]
    fn without_the_first_the_rest_does_not_hold() {
        let voice = VIEW | CONNECT | SPEAK | STREAM;
        check("without a view nothing holds", voice, &[role(1, SEND, VIEW)], NONE);
        check("without connecting no voice", voice, &[role(1, NONE, CONNECT)], VIEW);
        check("without speaking still a picture", voice, &[role(10, NONE, SPEAK)], voice & !SPEAK);
        check("nor by the roles", SPEAK | CONNECT, &[], NONE);
    }

    #[test]
    fn overwrites_are_about_channels_only() {
        check(
            "no administrator is made here",
            VIEW,
            &[member(8, ADMINISTRATOR | KICK, NONE)],
            VIEW,
        );
        check("nor anything of a guild taken", VIEW | KICK, &[role(1, NONE, KICK)], VIEW | KICK);
    }
}
