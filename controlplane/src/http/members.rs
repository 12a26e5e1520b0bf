//! `/api/v1/guilds/{guild}/members` and `/bans`: who is in a guild, and who may not come back.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hype_protocol::gateway::{Member, User};
use hype_protocol::id::{ChannelId, GuildId, RoleId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::document::Refused;
use super::extract::{Body, Caller, Id, Ids, OptionalBody, Search, page_limit};
use crate::app::Shared;
use crate::domain::{ban, member, moderation, role};
use crate::error::{Error, code};
use crate::store::ban::Ban as Stored;

/// Which people.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct PeopleQuery {
    /// Only people whose id is above this one.
    after: Option<UserId>,
    /// How many at most.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
}

impl PeopleQuery {
    /// After whom, and how many.
    pub(super) fn page(&self) -> Result<(UserId, u32), Error> {
        Ok((self.after.unwrap_or_default(), page_limit(self.limit)?))
    }
}

/// A guild's members
///
/// By their ids.
#[utoipa::path(
    get, path = "/api/v1/guilds/{guild}/members", tag = "members",
    params(("guild" = GuildId, Path), PeopleQuery),
    responses((status = 200, body = Vec<Member>))
)]
pub(super) async fn list(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<GuildId>,
    Search(query): Search<PeopleQuery>,
) -> Result<Json<Vec<Member>>, Error> {
    let (after, limit) = query.page()?;
    Ok(Json(member::list(&app, caller.0, id, after, limit).await?))
}

/// What a member shall be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MemberChange {
    /// All roles that the member has from now on, without that of everybody.
    #[schema(max_items = 1000)]
    roles: Vec<RoleId>,
}

/// Give a member roles
///
/// Needs MANAGE_ROLES, and stands above the member and the roles that come or go.
#[utoipa::path(
    patch, path = "/api/v1/guilds/{guild}/members/{user}", tag = "members",
    params(("guild" = GuildId, Path), ("user" = UserId, Path)),
    request_body = MemberChange,
    responses((status = 200, body = Member), Refused::<(code::MissingPermission, code::Outranked)>)
)]
pub(super) async fn change(
    State(app): State<Shared>,
    caller: Caller,
    Ids(guild, user): Ids<GuildId, UserId>,
    Body(body): Body<MemberChange>,
) -> Result<Json<Member>, Error> {
    Ok(Json(role::give(&app, caller.0, guild, user, body.roles).await?))
}

/// Leave a guild
///
/// Its owner gives it to somebody else first.
#[utoipa::path(
    delete, path = "/api/v1/guilds/{guild}/members/me", tag = "members",
    params(("guild" = GuildId, Path)),
    responses((status = 204), Refused::<code::OwnerStays>)
)]
pub(super) async fn leave(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<GuildId>,
) -> Result<StatusCode, Error> {
    ban::leave(&app, caller.0, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Why.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ReasonQuery {
    /// For the audit log, at most 512 characters on one line.
    #[param(max_length = 512)]
    reason: Option<String>,
}

/// Kick a member
///
/// The member may come back by an invite. Needs KICK_MEMBERS, and stands above the member.
#[utoipa::path(
    delete, path = "/api/v1/guilds/{guild}/members/{user}", tag = "members",
    params(("guild" = GuildId, Path), ("user" = UserId, Path), ReasonQuery),
    responses(
        (status = 204),
        Refused::<(code::MissingPermission, code::Outranked, code::OwnerStays)>
    )
)]
pub(super) async fn kick(
    State(app): State<Shared>,
    caller: Caller,
    Ids(guild, user): Ids<GuildId, UserId>,
    Search(query): Search<ReasonQuery>,
) -> Result<StatusCode, Error> {
    let reason = query.reason.unwrap_or_default();
    ban::kick(&app, caller.0, guild, user, &reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What shall change; a missing field leaves a thing as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VoiceChange {
    /// Nobody hears the person. Needs MUTE_MEMBERS.
    server_mute: Option<bool>,
    /// The person hears nobody. Needs DEAFEN_MEMBERS.
    server_deaf: Option<bool>,
    /// The person is put out of the voice channel, and may join again. Needs MOVE_MEMBERS.
    #[serde(default)]
    disconnect: bool,
    /// The voice channel that the person is moved to. Needs MOVE_MEMBERS in both channels.
    channel_id: Option<ChannelId>,
}

/// Mute, deafen, move or disconnect a member
///
/// Stands above the member. Muting and deafening hold now and at the member's next joins.
#[utoipa::path(
    patch, path = "/api/v1/guilds/{guild}/members/{user}/voice", tag = "members",
    params(("guild" = GuildId, Path), ("user" = UserId, Path)),
    request_body = VoiceChange,
    responses(
        (status = 204),
        Refused::<(code::MissingPermission, code::Outranked, code::NotAVoiceChannel)>,
        Refused::<(code::NoSession, code::NoNode)>
    )
)]
pub(super) async fn change_voice(
    State(app): State<Shared>,
    caller: Caller,
    Ids(guild, member): Ids<GuildId, UserId>,
    Body(body): Body<VoiceChange>,
) -> Result<StatusCode, Error> {
    let change = moderation::Change {
        server_mute: body.server_mute,
        server_deaf: body.server_deaf,
        disconnect: body.disconnect,
        move_to: body.channel_id,
    };
    moderation::change_voice(&app, caller.0, guild, member, change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A ban.
#[derive(Serialize, ToSchema)]
pub(super) struct Ban {
    /// Who is banned.
    user: User,
    /// By whom.
    moderator_id: UserId,
    /// Why; may be empty.
    reason: String,
    /// Since when, in Unix milliseconds.
    created_at_ms: u64,
}

/// A guild's bans
///
/// By the ids of the banned. Needs BAN_MEMBERS.
#[utoipa::path(
    get, path = "/api/v1/guilds/{guild}/bans", tag = "members",
    params(("guild" = GuildId, Path), PeopleQuery),
    responses((status = 200, body = Vec<Ban>), Refused::<code::MissingPermission>)
)]
pub(super) async fn bans(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<GuildId>,
    Search(query): Search<PeopleQuery>,
) -> Result<Json<Vec<Ban>>, Error> {
    let (after, limit) = query.page()?;
    let bans = ban::list(&app, caller.0, id, after, limit).await?;
    let shown = |Stored { user, moderator, reason, created_at_ms }| Ban {
        user,
        moderator_id: moderator,
        reason,
        created_at_ms,
    };
    Ok(Json(bans.into_iter().map(shown).collect()))
}

/// A ban to make.
#[derive(Deserialize, ToSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NewBan {
    /// For the list of bans and the audit log, at most 512 characters on one line.
    #[schema(max_length = 512)]
    reason: String,
}

/// Ban somebody
///
/// Also who is no member. Again it changes nothing. Needs BAN_MEMBERS, and stands above a member.
#[utoipa::path(
    put, path = "/api/v1/guilds/{guild}/bans/{user}", tag = "members",
    params(("guild" = GuildId, Path), ("user" = UserId, Path)),
    request_body = Option<NewBan>,
    responses(
        (status = 204),
        Refused::<(code::MissingPermission, code::Outranked, code::OwnerStays, code::LimitReached)>
    )
)]
pub(super) async fn ban(
    State(app): State<Shared>,
    caller: Caller,
    Ids(guild, user): Ids<GuildId, UserId>,
    OptionalBody(body): OptionalBody<NewBan>,
) -> Result<StatusCode, Error> {
    ban::ban(&app, caller.0, guild, user, &body.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// End a ban
///
/// Needs BAN_MEMBERS.
#[utoipa::path(
    delete, path = "/api/v1/guilds/{guild}/bans/{user}", tag = "members",
    params(("guild" = GuildId, Path), ("user" = UserId, Path)),
    responses((status = 204), Refused::<code::MissingPermission>)
)]
pub(super) async fn unban(
    State(app): State<Shared>,
    caller: Caller,
    Ids(guild, user): Ids<GuildId, UserId>,
) -> Result<StatusCode, Error> {
    ban::unban(&app, caller.0, guild, user).await?;
    Ok(StatusCode::NO_CONTENT)
}
