//! Accounts: who they are and how they prove it.

use std::collections::HashMap;

use hype_protocol::gateway::User;
use hype_protocol::id::UserId;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::{Result, Store, key, loaded, stored};

/// The most accounts that [`Store::users`] looks up in one call.
pub const MAX_LOOKUP: usize = 500;

/// An account with its password's hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The person.
    pub user: User,
    /// PHC string.
    pub password_hash: String,
}

fn user(row: &AnyRow) -> Result<User> {
    Ok(User { id: UserId(loaded(row.try_get("id")?)?), name: row.try_get("name")? })
}

impl Store {
    /// Adds an account. `name_key` is the name as it is compared.
    ///
    /// # Errors
    /// [`super::Error::Conflict`] when the name is taken.
    pub async fn create_user(&self, account: &Account, name_key: &str, now_ms: u64) -> Result<()> {
        let query = sqlx::query(
            "INSERT INTO users (id, name, name_key, password_hash, created_at_ms) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(stored(account.user.id.0)?)
        .bind(&account.user.name)
        .bind(name_key)
        .bind(&account.password_hash)
        .bind(stored(now_ms)?);
        self.accounts().execute(query).await?;
        Ok(())
    }

    /// The person with this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn user(&self, id: UserId) -> Result<Option<User>> {
        let row = sqlx::query("SELECT id, name FROM users WHERE id = $1")
            .bind(key(id.0))
            .fetch_optional(self.accounts().readers())
            .await?;
        row.as_ref().map(user).transpose()
    }

    /// The people with these ids, those that exist, in no order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn users(&self, ids: &[UserId]) -> Result<Vec<User>> {
        let mut found = Vec::with_capacity(ids.len());
        for slice in ids.chunks(MAX_LOOKUP) {
            let places: Vec<String> = (1..=slice.len()).map(|place| format!("${place}")).collect();
            let sql = format!("SELECT id, name FROM users WHERE id IN ({})", places.join(", "));
            // Nothing in it but the numbers of its parameters.
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for id in slice {
                query = query.bind(key(id.0));
            }
            for row in query.fetch_all(self.accounts().readers()).await? {
                found.push(user(&row)?);
            }
        }
        Ok(found)
    }

    /// The names of these people, of those that exist.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn names(&self, ids: &[UserId]) -> Result<HashMap<UserId, String>> {
        Ok(self.users(ids).await?.into_iter().map(|user| (user.id, user.name)).collect())
    }

    /// The account whose name compares as `name_key`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn account(&self, name_key: &str) -> Result<Option<Account>> {
        let found = self.account_or_next(name_key).await?;
        Ok(found.and_then(|(account, exact)| exact.then_some(account)))
    }

    /// The account whose name compares as `name_key`, and true; without it, that of the next name,
    /// and false.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn account_or_next(&self, name_key: &str) -> Result<Option<(Account, bool)>> {
        let row = sqlx::query(
            "SELECT id, name, name_key, password_hash FROM users \
             WHERE name_key >= $1 ORDER BY name_key LIMIT 1",
        )
        .bind(name_key)
        .fetch_optional(self.accounts().readers())
        .await?;
        row.map(|row| {
            let account =
                Account { user: user(&row)?, password_hash: row.try_get("password_hash")? };
            Ok((account, row.try_get::<String, _>("name_key")? == name_key))
        })
        .transpose()
    }

    /// The hash of somebody's password; none when there is no such account.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn password_hash(&self, id: UserId) -> Result<Option<String>> {
        Ok(sqlx::query_scalar("SELECT password_hash FROM users WHERE id = $1")
            .bind(key(id.0))
            .fetch_optional(self.accounts().readers())
            .await?)
    }

    /// Replaces a password's hash; false when it has changed since it was read.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn replace_password_hash(&self, id: UserId, old: &str, new: &str) -> Result<bool> {
        let query =
            sqlx::query("UPDATE users SET password_hash = $1 WHERE id = $2 AND password_hash = $3");
        let replaced = self.accounts().execute(query.bind(new).bind(key(id.0)).bind(old)).await?;
        Ok(replaced > 0)
    }

    /// The newest id that any table holds, 0 in an empty store.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn newest_id(&self) -> Result<u64> {
        let mut newest = 0;
        for database in self.databases() {
            let row: i64 = sqlx::query_scalar(
                "SELECT COALESCE(MAX(newest), 0) FROM (\
                   SELECT MAX(id) AS newest FROM users UNION ALL \
                   SELECT MAX(last_id) FROM guilds UNION ALL \
                   SELECT MAX(id) FROM channels UNION ALL \
                   SELECT MAX(id) FROM messages) AS ids",
            )
            .fetch_one(database.readers())
            .await?;
            newest = newest.max(loaded(row)?);
        }
        Ok(newest)
    }
}
