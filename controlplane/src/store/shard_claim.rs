//! Who moves a guild: the directory's row has a number in `moving` that each move draws anew. Whoever
//! begins one takes the guild from the one before, which may still run somewhere, or be frozen: it
//! looks before all that it writes, and stops. So two moves never write into one copy, and nobody
//! clears away what another one has moved there.

use hype_protocol::id::GuildId;

use super::shard_move::execute;
use super::{Error, Result, Store, key};

/// The right to move a guild, as long as nobody else takes it.
pub(super) struct Claim<'a> {
    store: &'a Store,
    guild: GuildId,
    number: i64,
}

/// Whose it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// Whoever asks.
    Own,
    /// Another move, or none: one that took it has ended.
    Another,
    /// The guild is in the directory no more.
    NoGuild,
}

impl<'a> Claim<'a> {
    /// Takes it. From now on no process remembers where the guild lives for longer than it may.
    pub(super) async fn take(store: &'a Store, guild: GuildId) -> Result<Self> {
        let number = i64::from(rand::random::<u32>()) + 1;
        let sql = "UPDATE guild_directory SET moving = $1 WHERE guild_id = $2";
        execute(store.accounts(), sql, &[number, key(guild.0)]).await?;
        Ok(Self { store, guild, number })
    }

    pub(super) async fn holder(&self) -> Result<Holder> {
        let moving: Option<i64> =
            sqlx::query_scalar("SELECT moving FROM guild_directory WHERE guild_id = $1")
                .bind(key(self.guild.0))
                .fetch_optional(self.store.accounts().readers())
                .await?;
        Ok(match moving {
            Some(number) if number == self.number => Holder::Own,
            Some(_) => Holder::Another,
            None => Holder::NoGuild,
        })
    }

    /// # Errors
    /// [`Error::Conflict`] when it is lost.
    pub(super) async fn check(&self) -> Result<()> {
        if self.holder().await? == Holder::Own { Ok(()) } else { Err(Error::Conflict) }
    }

    /// Has the directory name another shard.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub(super) async fn direct(&self, shard: usize) -> Result<()> {
        let shard = i64::try_from(shard).unwrap_or(i64::MAX);
        let sql = "UPDATE guild_directory SET shard = $1 WHERE guild_id = $2 AND moving = $3";
        let numbers = [shard, key(self.guild.0), self.number];
        let done = execute(self.store.accounts(), sql, &numbers).await?;
        if done == 1 { Ok(()) } else { Err(Error::Conflict) }
    }

    /// Lets it go: processes remember again.
    pub(super) async fn let_go(&self) -> Result<()> {
        let sql = "UPDATE guild_directory SET moving = 0 WHERE guild_id = $1 AND moving = $2";
        execute(self.store.accounts(), sql, &[key(self.guild.0), self.number]).await?;
        Ok(())
    }
}
