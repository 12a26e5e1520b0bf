//! Sign-ins that can be refreshed: one row each, with the hash of the newest refresh secret and of
//! the one before. The secrets themselves are never stored.

use hype_protocol::id::UserId;
use sqlx::Row;

use super::{Result, Store, key, loaded, stored};

/// A sign-in that is refreshed.
pub const LOCKED: &str = "UPDATE sign_ins SET secret_hash = secret_hash \
     WHERE family = $1 AND expires_at_ms > $2 \
     RETURNING user_id, secret_hash, previous_hash, rotated_at_ms";

/// A new sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    /// Names all tokens that come from one sign-in.
    pub family: String,
    /// Whose.
    pub user: UserId,
    /// Hash of the first secret.
    pub secret_hash: String,
}

/// A try to refresh: the presented secret's hash, and its successor's.
#[derive(Debug, Clone, Copy)]
pub struct Refresh<'a> {
    /// Which sign-in the token names.
    pub family: &'a str,
    /// Hash of the secret that was shown.
    pub shown_hash: &'a str,
    /// Hash of the secret that follows it.
    pub next_hash: &'a str,
    /// Now, in Unix milliseconds.
    pub now_ms: u64,
    /// Until when the successor is good.
    pub expires_at_ms: u64,
    /// For how long after a rotation the secret before it is answered again, in milliseconds.
    pub grace_ms: u64,
}

/// What became of a try to refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refreshed {
    /// The successor is good now.
    Rotated(UserId),
    /// The sign-in is unknown or has expired.
    Unknown,
    /// An old secret was shown: the sign-in is ended, since somebody has stolen a token.
    Reused(UserId),
}

impl Store {
    /// Adds a sign-in; when its person has `quota` already, the one that was idle longest ends.
    ///
    /// # Errors
    /// [`super::Error::Conflict`] when the family is there already.
    pub async fn create_sign_in(
        &self,
        sign_in: &SignIn,
        quota: u32,
        now_ms: u64,
        expires_at_ms: u64,
    ) -> Result<()> {
        let mut write = self.accounts().write().await?;
        sqlx::query(
            "DELETE FROM sign_ins WHERE family IN (\
               SELECT family FROM sign_ins WHERE user_id = $1 \
               ORDER BY rotated_at_ms DESC LIMIT 1000000 OFFSET $2)",
        )
        .bind(key(sign_in.user.0))
        .bind(i64::from(quota) - 1)
        .execute(write.connection())
        .await?;
        sqlx::query(
            "INSERT INTO sign_ins \
             (family, user_id, secret_hash, previous_hash, rotated_at_ms, expires_at_ms) \
             VALUES ($1, $2, $3, '', $4, $5)",
        )
        .bind(&sign_in.family)
        .bind(stored(sign_in.user.0)?)
        .bind(&sign_in.secret_hash)
        .bind(stored(now_ms)?)
        .bind(stored(expires_at_ms)?)
        .execute(write.connection())
        .await?;
        write.commit().await?;
        Ok(())
    }

    /// Rotates a sign-in's secret, or ends the sign-in when an old secret is shown.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn refresh_sign_in(&self, refresh: Refresh<'_>) -> Result<Refreshed> {
        let mut write = self.accounts().write().await?;
        // Nothing changes yet, but the row is locked: of two who refresh at once, one sees what the
        // other did.
        let row = sqlx::query(LOCKED)
            .bind(refresh.family)
            .bind(stored(refresh.now_ms)?)
            .fetch_optional(write.connection())
            .await?;
        let Some(row) = row else {
            return Ok(Refreshed::Unknown);
        };
        let user = UserId(loaded(row.try_get("user_id")?)?);
        if row.try_get::<&str, _>("secret_hash")? == refresh.shown_hash {
            sqlx::query(
                "UPDATE sign_ins SET secret_hash = $1, previous_hash = $2, rotated_at_ms = $3, \
                 expires_at_ms = $4 WHERE family = $5",
            )
            .bind(refresh.next_hash)
            .bind(refresh.shown_hash)
            .bind(stored(refresh.now_ms)?)
            .bind(stored(refresh.expires_at_ms)?)
            .bind(refresh.family)
            .execute(write.connection())
            .await?;
            write.commit().await?;
            return Ok(Refreshed::Rotated(user));
        }
        // An answer that was lost, or a second tab: the successor is the same one, so nothing is
        // written and nobody is signed out.
        let age_ms = refresh.now_ms.saturating_sub(loaded(row.try_get("rotated_at_ms")?)?);
        let previous = row.try_get::<&str, _>("previous_hash")? == refresh.shown_hash;
        if previous && age_ms < refresh.grace_ms {
            return Ok(Refreshed::Rotated(user));
        }
        sqlx::query("DELETE FROM sign_ins WHERE family = $1")
            .bind(refresh.family)
            .execute(write.connection())
            .await?;
        write.commit().await?;
        Ok(Refreshed::Reused(user))
    }

    /// Ends a sign-in; it is no error when there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_sign_in(&self, family: &str) -> Result<()> {
        let query = sqlx::query("DELETE FROM sign_ins WHERE family = $1");
        self.accounts().execute(query.bind(family)).await?;
        Ok(())
    }

    /// Ends all sign-ins of somebody but one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_sign_ins(&self, user: UserId, but: Option<&str>) -> Result<()> {
        let query = sqlx::query("DELETE FROM sign_ins WHERE user_id = $1 AND family <> $2");
        self.accounts().execute(query.bind(key(user.0)).bind(but.unwrap_or(""))).await?;
        Ok(())
    }

    /// Forgets sign-ins that have expired; returns how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_expired_sign_ins(&self, now_ms: u64) -> Result<u64> {
        let query = sqlx::query("DELETE FROM sign_ins WHERE expires_at_ms <= $1");
        self.accounts().execute(query.bind(stored(now_ms)?)).await
    }
}
