//! The audit log of a guild: who changed what, from and to. Each change writes its own entry.

use hype_protocol::id::{AuditId, GuildId, UserId};
use hype_protocol::permission::Permissions;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::domain::member;
use crate::error::Error;
use crate::store::audit::Entry;
use crate::store::guild_write::GuildWrite;
use crate::store::snowflake;

/// For how long entries are kept, in milliseconds: 90 days.
pub const KEPT_MS: u64 = 90 * 24 * 3600 * 1000;

/// Fields that name a thing and are no change of it.
const NAMES: [&str; 3] = ["id", "guild_id", "last_message_id"];

/// The field that says in which channel something is: told beside the changes.
const CHANNEL: &str = "channel_id";

/// What somebody does to something.
#[derive(Debug, Clone, Copy)]
pub struct Act<'a> {
    /// Who does it.
    pub actor: UserId,
    /// What, e.g. `channel.update`.
    pub action: &'a str,
    /// To what.
    pub target: u64,
    /// Why, in the actor's words; empty for none.
    pub reason: &'a str,
}

/// The fields that differ, each with `from` and `to`; what is not there is null.
fn changes(before: &Value, after: &Value) -> Map<String, Value> {
    let fields = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (before, after) = (fields(before), fields(after));
    let mut changes = Map::new();
    for name in before.keys().chain(after.keys()) {
        let of = |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
        let (from, to) = (of(&before), of(&after));
        if from != to && name != CHANNEL && !NAMES.contains(&name.as_str()) {
            changes.insert(name.clone(), json!({ "from": from, "to": to }));
        }
    }
    changes
}

/// Writes an entry into the change that it tells of. `before` and `after` are the thing as JSON
/// shows it, or null where it was or is not there.
///
/// # Errors
/// When the database fails.
pub async fn record(
    app: &App,
    write: &mut GuildWrite,
    act: Act<'_>,
    before: impl Serialize,
    after: impl Serialize,
) -> Result<(), Error> {
    let encoded = |value: serde_json::Result<Value>| value.map_err(Error::internal);
    let before = encoded(serde_json::to_value(before))?;
    let after = encoded(serde_json::to_value(after))?;
    let mut detail = json!({ "changes": changes(&before, &after) });
    if let Some(channel) = after.get(CHANNEL).or_else(|| before.get(CHANNEL)) {
        detail[CHANNEL] = channel.clone();
    }
    if !act.reason.is_empty() {
        detail["reason"] = act.reason.into();
    }
    let id = write.id(&app.ids).await?;
    let entry = Entry {
        id: AuditId(id),
        actor: act.actor,
        action: act.action.to_owned(),
        target: act.target,
        detail,
        created_at_ms: snowflake::made_at_ms(id),
    };
    Ok(write.add_audit(&entry).await?)
}

/// Entries of a guild before `before`, newest first; at most `limit`.
///
/// # Errors
/// [`Error::NotFound`] for strangers, [`Error::MissingPermission`].
pub async fn list(
    app: &App,
    user: UserId,
    guild: GuildId,
    before: AuditId,
    limit: u32,
) -> Result<Vec<Entry>, Error> {
    member::require(app, guild, user, Permissions::VIEW_AUDIT_LOG).await?;
    Ok(app.store.audit(guild, before, limit).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: Value, after: Value, expected: Value) {
        assert_eq!(Value::Object(changes(&before, &after)), expected, "{before} {after}");
    }

    #[test]
    fn what_differs_is_told_from_and_to() {
        check(json!({ "id": "1", "name": "a" }), json!({ "id": "2", "name": "a" }), json!({}));
        check(
            json!({ "name": "a", "topic": "t" }),
            json!({ "name": "b", "topic": "t" }),
            json!({ "name": { "from": "a", "to": "b" } }),
        );
        check(json!({ "channel_id": "1" }), Value::Null, json!({}));
        check(
            Value::Null,
            json!({ "id": "1", "name": "a" }),
            json!({ "name": { "from": null, "to": "a" } }),
        );
        check(
            json!({ "roles": ["1"] }),
            Value::Null,
            json!({ "roles": { "from": ["1"], "to": null } }),
        );
    }
}
