//! Full-text search. A message is found by its words as `domain/search.rs` makes them, guild, channel
//! and author among them; so both databases answer alike and each from one index.

use hype_protocol::gateway::Message;
use hype_protocol::id::{GuildId, MessageId};
use sqlx::Row;

use super::database::{Database, Dialect};
use super::message::{from_row, put_words, select_messages};
use super::{Result, Store};

/// Messages that are given their words in one go.
const STEP: i64 = 500;

/// The search on PostgreSQL.
pub const POSTGRES: &str = select_messages!(
    "WHERE words @@ $1::tsquery AND messages.id > $2 AND messages.id < $3 \
     ORDER BY messages.id DESC LIMIT $4"
);
/// The search on SQLite.
pub const SQLITE: &str = "SELECT messages.id, channel_id, guild_id, author_id, content, created_at_ms, edited_at_ms \
     FROM message_words JOIN messages ON messages.id = message_words.rowid \
     WHERE message_words MATCH $1 AND message_words.rowid > $2 AND message_words.rowid < $3 \
     ORDER BY message_words.rowid DESC LIMIT $4";

/// What a message must have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// All of these words.
    pub all: Vec<String>,
    /// And one of these, unless there are none.
    pub any: Vec<String>,
}

impl Terms {
    /// As a query of the database. Words are quoted, so that none of them is taken for an operator.
    fn text(&self, dialect: Dialect) -> String {
        let quoted = |words: &[String], operator: &str| {
            let quoted = words.iter().map(|word| match dialect {
                Dialect::Postgres => {
                    format!("'{}'", word.replace('\\', "\\\\").replace('\'', "''"))
                }
                Dialect::Sqlite => format!("\"{}\"", word.replace('"', "\"\"")),
            });
            quoted.collect::<Vec<_>>().join(operator)
        };
        let (and, or) = match dialect {
            Dialect::Postgres => (" & ", " | "),
            Dialect::Sqlite => (" AND ", " OR "),
        };
        let all = quoted(&self.all, and);
        match self.any.len() {
            0 => all,
            _ if all.is_empty() => quoted(&self.any, or),
            _ => format!("{all}{and}({})", quoted(&self.any, or)),
        }
    }
}

impl Store {
    /// At most `limit` messages of a guild with these words, newest first, between two ids. The
    /// terms must name the guild or channels of it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn search(
        &self,
        guild: GuildId,
        terms: &Terms,
        after: Option<MessageId>,
        before: Option<MessageId>,
        limit: u32,
    ) -> Result<Vec<Message>> {
        let number = |id: Option<MessageId>, none: i64| {
            id.map_or(none, |id| i64::try_from(id.0).unwrap_or(i64::MAX))
        };
        let Some(home) = self.home(guild).await? else { return Ok(Vec::new()) };
        let sql = match home.dialect() {
            Dialect::Postgres => POSTGRES,
            Dialect::Sqlite => SQLITE,
        };
        let rows = sqlx::query(sql)
            .bind(terms.text(home.dialect()))
            .bind(number(after, 0))
            .bind(number(before, i64::MAX))
            .bind(i64::from(limit))
            // Planned anew each time: what is best for a rare word takes long for a frequent one.
            .persistent(false)
            .fetch_all(home.readers())
            .await?;
        let mut found = rows.iter().map(from_row).collect::<Result<Vec<_>>>()?;
        self.name_authors(&mut found).await?;
        Ok(found)
    }

    /// Gives their words to the messages of a release before there was a search. Returns how many
    /// got some; it is quick when there is nothing to do.
    ///
    /// # Errors
    /// When a database fails: nothing was done in that one.
    pub async fn index_messages(&self, words_of: fn(&Message) -> String) -> Result<u64> {
        let mut indexed = 0;
        for database in self.databases() {
            if database.dialect() == Dialect::Sqlite {
                indexed += index(database, words_of).await?;
            }
        }
        Ok(indexed)
    }
}

async fn index(database: &Database, words_of: fn(&Message) -> String) -> Result<u64> {
    let done: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM (SELECT rowid FROM message_words LIMIT 1)")
            .fetch_one(database.readers())
            .await?;
    if done > 0 {
        return Ok(0);
    }
    let (mut indexed, mut last) = (0, 0);
    let mut write = database.write().await?;
    loop {
        let rows = sqlx::query(select_messages!("WHERE id > $1 ORDER BY id LIMIT $2"))
            .bind(last)
            .bind(STEP)
            .fetch_all(write.connection())
            .await?;
        for row in &rows {
            let message = from_row(row)?;
            let words = words_of(&message);
            put_words(write.connection(), Dialect::Sqlite, message.id, &words).await?;
            last = row.try_get("id")?;
            indexed += 1;
        }
        if rows.is_empty() {
            write.commit().await?;
            return Ok(indexed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_never_operators() {
        let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        for (all, any, postgres, sqlite) in [
            (vec!["a"], vec![], "'a'", "\"a\""),
            (vec!["or", "b"], vec!["c"], "'or' & 'b' & ('c')", "\"or\" AND \"b\" AND (\"c\")"),
            (vec![], vec!["c", "d"], "'c' | 'd'", "\"c\" OR \"d\""),
            (vec!["x' | \\"], vec![], "'x'' | \\\\'", "\"x' | \\\""),
            (vec!["\""], vec![], "'\"'", "\"\"\"\""),
        ] {
            let terms = Terms { all: strings(&all), any: strings(&any) };
            assert_eq!(terms.text(Dialect::Postgres), postgres);
            assert_eq!(terms.text(Dialect::Sqlite), sqlite);
        }
    }
}
