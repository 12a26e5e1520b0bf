//! Idempotency keys: what was answered to a request that makes something, so that sending it
//! again answers the same and makes nothing twice. A row without a status is a request that runs, or
//! whose replica died: then a message may be there without its answer, and has the key itself.

use hype_protocol::id::UserId;
use sqlx::Row;

use super::{Error, Result, Store, key, loaded, stored};

/// For how long an answer is kept, in milliseconds.
pub const KEPT_MS: u64 = 24 * 3600 * 1000;
/// The status of a request that still runs.
const RUNNING: i64 = 0;

/// One try to do a request under a key.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// Whose key.
    pub user: UserId,
    /// Chosen by the client.
    pub key: &'a str,
    /// Hash of what is asked for.
    pub request_hash: &'a str,
    /// Now, in Unix milliseconds.
    pub now_ms: u64,
    /// What was answered before this moment is forgotten.
    pub expired_before_ms: u64,
    /// What was begun before this moment and has not been answered never will be.
    pub abandoned_before_ms: u64,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, empty for none.
    pub body: String,
}

/// The key that something is made under.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Once {
    /// Empty for none.
    pub key: String,
    /// A try before this one may have made it, and died before it could answer.
    pub again: bool,
}

/// What a key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Nothing yet: the request is to be done, then finished or abandoned.
    New,
    /// The same request, which was not answered and does not run any more. To be done as well, but
    /// what it made may be there.
    Again,
    /// The same request, which still runs.
    Running,
    /// The same request, which was answered.
    Answered(Answer),
    /// Another request.
    Other,
}

impl Store {
    /// Claims a key for a request, or tells what it stands for.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_idempotent(&self, attempt: Attempt<'_>) -> Result<Begun> {
        let query = sqlx::query(
            "INSERT INTO idempotency_keys \
             (user_id, key, request_hash, status, body, created_at_ms) \
             VALUES ($1, $2, $3, $4, '', $5) ON CONFLICT (user_id, key) DO NOTHING",
        )
        .bind(stored(attempt.user.0)?)
        .bind(attempt.key)
        .bind(attempt.request_hash)
        .bind(RUNNING)
        .bind(stored(attempt.now_ms)?);
        if self.accounts().execute(query).await? == 1 {
            return Ok(Begun::New);
        }
        let row = sqlx::query(
            "SELECT request_hash, status, body, created_at_ms FROM idempotency_keys \
             WHERE user_id = $1 AND key = $2",
        )
        .bind(key(attempt.user.0))
        .bind(attempt.key)
        .fetch_optional(self.accounts().readers())
        .await?;
        let Some(row) = row else {
            // Abandoned at this very moment: the next try finds it free.
            return Ok(Begun::Running);
        };
        let status: i64 = row.try_get("status")?;
        let created_at_ms: i64 = row.try_get("created_at_ms")?;
        let begun = loaded(created_at_ms)?;
        if begun < attempt.expired_before_ms {
            return self.take_over(attempt, created_at_ms, Begun::New).await;
        }
        if row.try_get::<String, _>("request_hash")? != attempt.request_hash {
            return Ok(Begun::Other);
        }
        if status == RUNNING {
            if begun < attempt.abandoned_before_ms {
                return self.take_over(attempt, created_at_ms, Begun::Again).await;
            }
            return Ok(Begun::Running);
        }
        let status = u16::try_from(status).map_err(|error| Error::Broken(error.into()))?;
        Ok(Begun::Answered(Answer { status, body: row.try_get("body")? }))
    }

    /// Claims the key of a request that is over. Of several who try at once, one succeeds, which is
    /// `won`.
    async fn take_over(
        &self,
        attempt: Attempt<'_>,
        created_at_ms: i64,
        won: Begun,
    ) -> Result<Begun> {
        let query = sqlx::query(
            "UPDATE idempotency_keys \
             SET request_hash = $1, status = $2, body = '', created_at_ms = $3 \
             WHERE user_id = $4 AND key = $5 AND created_at_ms = $6",
        )
        .bind(attempt.request_hash)
        .bind(RUNNING)
        .bind(stored(attempt.now_ms)?)
        .bind(key(attempt.user.0))
        .bind(attempt.key)
        .bind(created_at_ms);
        let taken = self.accounts().execute(query).await?;
        Ok(if taken == 1 { won } else { Begun::Running })
    }

    /// Keeps the answer to a request that was begun at `begun_at_ms`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn finish_idempotent(
        &self,
        user: UserId,
        name: &str,
        begun_at_ms: u64,
        answer: &Answer,
    ) -> Result<()> {
        let query = sqlx::query(
            "UPDATE idempotency_keys SET status = $1, body = $2 \
             WHERE user_id = $3 AND key = $4 AND created_at_ms = $5 AND status = $6",
        )
        .bind(i64::from(answer.status))
        .bind(&answer.body)
        .bind(key(user.0))
        .bind(name)
        .bind(stored(begun_at_ms)?)
        .bind(RUNNING);
        self.accounts().execute(query).await?;
        Ok(())
    }

    /// Frees the key of a request that was begun at `begun_at_ms` and made nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn abandon_idempotent(
        &self,
        user: UserId,
        name: &str,
        begun_at_ms: u64,
    ) -> Result<()> {
        let query = sqlx::query(
            "DELETE FROM idempotency_keys \
             WHERE user_id = $1 AND key = $2 AND created_at_ms = $3 AND status = $4",
        )
        .bind(key(user.0))
        .bind(name)
        .bind(stored(begun_at_ms)?)
        .bind(RUNNING);
        self.accounts().execute(query).await?;
        Ok(())
    }

    /// Forgets keys that were used before `before_ms`; returns how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_idempotency_keys(&self, before_ms: u64) -> Result<u64> {
        let query = sqlx::query("DELETE FROM idempotency_keys WHERE created_at_ms < $1");
        self.accounts().execute(query.bind(stored(before_ms)?)).await
    }
}
