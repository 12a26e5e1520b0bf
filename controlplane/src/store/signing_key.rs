//! Keys that sign access tokens: the public half as it is, the private half sealed by a key that no
//! database has.

use sqlx::Row;

use super::{Result, Store, loaded, stored};

/// A key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Its name in tokens.
    pub kid: String,
    /// The public half, base64url.
    pub public_key: String,
    /// The private half, sealed, base64url.
    pub sealed_key: String,
    /// When it was made, in Unix milliseconds.
    pub created_at_ms: u64,
}

impl Store {
    /// All keys, the oldest first; there are few.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn signing_keys(&self) -> Result<Vec<StoredKey>> {
        let rows = sqlx::query(
            "SELECT kid, public_key, sealed_key, created_at_ms FROM signing_keys \
             ORDER BY created_at_ms, kid",
        )
        .fetch_all(self.accounts().readers())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(StoredKey {
                    kid: row.try_get("kid")?,
                    public_key: row.try_get("public_key")?,
                    sealed_key: row.try_get("sealed_key")?,
                    created_at_ms: loaded(row.try_get("created_at_ms")?)?,
                })
            })
            .collect()
    }

    /// Adds a key, unless another replica has added one since `since_ms`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_signing_key(&self, key: &StoredKey, since_ms: u64) -> Result<()> {
        let query = sqlx::query(
            "INSERT INTO signing_keys (kid, public_key, sealed_key, created_at_ms) \
             SELECT $1, $2, $3, $4 FROM (SELECT COUNT(*) AS newer FROM signing_keys \
               WHERE created_at_ms > $5) AS found WHERE newer = 0",
        )
        .bind(&key.kid)
        .bind(&key.public_key)
        .bind(&key.sealed_key)
        .bind(stored(key.created_at_ms)?)
        .bind(stored(since_ms)?);
        self.accounts().execute(query).await?;
        Ok(())
    }

    /// Forgets a key; nothing that it signed is good any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_signing_key(&self, kid: &str) -> Result<()> {
        let query = sqlx::query("DELETE FROM signing_keys WHERE kid = $1");
        self.accounts().execute(query.bind(kid)).await?;
        Ok(())
    }
}
