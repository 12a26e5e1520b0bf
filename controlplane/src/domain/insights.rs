//! What happened in a guild, day by day, for those who may see it.

use hype_protocol::id::{GuildId, UserId};
use hype_protocol::permission::Permissions;

use crate::app::App;
use crate::domain::member;
use crate::error::Error;
use crate::store::snowflake::unix_ms;
use crate::store::stay::{DAY_MS, Day};

/// The most days.
pub const MAX_DAYS: u32 = 90;

/// The last `days` days with today, the oldest first.
///
/// # Errors
/// [`Error::NotFound`] for strangers, [`Error::MissingPermission`], [`Error::InvalidRequest`].
pub async fn days(app: &App, user: UserId, guild: GuildId, days: u32) -> Result<Vec<Day>, Error> {
    member::require(app, guild, user, Permissions::VIEW_INSIGHTS).await?;
    if days == 0 || days > MAX_DAYS {
        return Err(Error::invalid(format!("days must be 1 to {MAX_DAYS}")));
    }
    let today = unix_ms() / DAY_MS;
    Ok(app.store.days(guild, today + 1 - u64::from(days), today).await?)
}
