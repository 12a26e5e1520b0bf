//! Each hot query is answered from its index, by both databases: as their planners say of the very
//! statements that the store runs.

use hype_control::store::database::Dialect;
use hype_control::store::{
    access, audit, ban, channel, directory, event, invite, member, message, search, sign_in, stay,
};
use sqlx::{AssertSqlSafe, Row};

use crate::place::{Place, contract, with_guild};

contract! {
    hot_queries_use_their_indexes
}

enum Value {
    Number(i64),
    Text(&'static str),
}
use Value::{Number, Text};

/// A statement, its parameters, and what must stand in the plans of SQLite and PostgreSQL.
type Case = (&'static str, Vec<Value>, &'static [&'static str], &'static [&'static str]);

fn cases() -> Vec<Case> {
    vec![
        (
            message::UP_TO,
            vec![Number(1), Number(9), Number(5)],
            &["USING INDEX messages_by_channel (channel_id=? AND id<?)"],
            &["messages_by_channel", "Index Cond: ((channel_id = '1'::bigint) AND (id <= "],
        ),
        (
            message::ABOVE,
            vec![Number(1), Number(9), Number(5)],
            &["USING INDEX messages_by_channel (channel_id=? AND id>?)"],
            &["messages_by_channel", "Index Cond: ((channel_id = '1'::bigint) AND (id > "],
        ),
        (
            message::SENT_UNDER,
            vec![Number(1), Number(9), Number(5), Text("key")],
            &["USING INDEX messages_by_channel (channel_id=? AND id>?)"],
            &["messages_by_channel", "Index Cond: ((channel_id = '1'::bigint) AND (id >= "],
        ),
        (
            channel::OF_GUILD,
            vec![Number(1)],
            &["USING INDEX channels_by_guild"],
            &["channels_by_guild"],
        ),
        (
            access::ACCESS,
            vec![Number(1), Number(2)],
            &["guilds USING INDEX", "members USING INDEX", "member_roles USING COVERING INDEX"],
            &["guilds_pkey", "members_pkey", "roles_by_guild", "member_roles_pkey"],
        ),
        (
            member::MEMBER_PAGE,
            vec![Number(1), Number(2), Number(5)],
            &["USING INDEX sqlite_autoindex_members_1 (guild_id=? AND user_id>?)"],
            &["members_pkey"],
        ),
        (
            ban::BAN_PAGE,
            vec![Number(1), Number(2), Number(5)],
            &["USING INDEX sqlite_autoindex_bans_1 (guild_id=? AND user_id>?)"],
            &["bans_pkey"],
        ),
        (
            audit::AUDIT_PAGE,
            vec![Number(1), Number(2), Number(5)],
            &["USING INDEX audit_log_by_guild (guild_id=? AND id<?)"],
            &["audit_log_by_guild"],
        ),
        (stay::OPEN, vec![Number(5)], &["INDEX voice_stays_open"], &["voice_stays_open"]),
        (event::UNSENT, vec![Number(5)], &["INDEX events_unsent"], &["events_unsent"]),
        (
            event::AFTER,
            vec![Number(1), Number(2), Number(5)],
            &["USING INDEX sqlite_autoindex_events_1 (guild_id=? AND sequence>?)"],
            &["events_pkey"],
        ),
        (
            directory::HOME,
            vec![Number(1)],
            &["sqlite_autoindex_guild_directory_1 (guild_id=?)"],
            &["guild_directory_pkey"],
        ),
        (
            directory::GUILD_OF_CHANNEL,
            vec![Number(1)],
            &["sqlite_autoindex_channel_directory_1 (channel_id=?)"],
            &["channel_directory_pkey"],
        ),
        (
            directory::GUILDS_OF,
            vec![Number(1)],
            &["sqlite_autoindex_memberships_1 (user_id=?)"],
            &["memberships_pkey"],
        ),
        (
            invite::GUILD_OF_INVITE,
            vec![Text("code")],
            &["sqlite_autoindex_invite_directory_1 (code=?)"],
            &["invite_directory_pkey"],
        ),
        (
            sign_in::LOCKED,
            vec![Text("family"), Number(1)],
            &["sqlite_autoindex_sign_ins_1 (family=?)"],
            &["sign_ins_pkey"],
        ),
    ]
}

fn searches(dialect: Dialect) -> Case {
    let bounds = [Number(0), Number(i64::MAX), Number(25)];
    let with = |text| std::iter::once(Text(text)).chain(bounds).collect();
    match dialect {
        // The virtual table answers words and order by itself, and messages come by their keys.
        Dialect::Sqlite => (
            search::SQLITE,
            with("\"a\" AND \"w7\""),
            &["SCAN message_words VIRTUAL TABLE INDEX", "SEARCH messages USING INDEX"],
            &[],
        ),
        Dialect::Postgres => (search::POSTGRES, with("'a' & 'w7'"), &[], &["messages_by_words"]),
    }
}

async fn hot_queries_use_their_indexes(place: Place) {
    let store = place.open().await;
    with_guild(&store).await;
    let shard = &store.shards()[0];
    let dialect = shard.dialect();
    let mut connection = shard.readers().acquire().await.expect("a connection");
    let explain = match dialect {
        Dialect::Sqlite => "EXPLAIN QUERY PLAN",
        Dialect::Postgres => {
            // Tables of a test are so small that reading them whole costs less than any index.
            let sql = "SET enable_seqscan = off";
            sqlx::query(sql).execute(&mut *connection).await.expect("set");
            // But a search is chosen by how rare its words are.
            for sql in [
                "INSERT INTO messages (id, channel_id, guild_id, author_id, content, created_at_ms, words) \
                 SELECT n, 10, 1, 1, 'text', n, array_to_tsvector(ARRAY['a', 'w' || n]) \
                 FROM generate_series(1, 5000) AS n",
                "ANALYZE messages",
            ] {
                sqlx::query(sql).execute(&mut *connection).await.expect("filled");
            }
            "EXPLAIN"
        }
    };
    for (sql, values, sqlite, postgres) in cases().into_iter().chain([searches(dialect)]) {
        let text = format!("{explain} {sql}");
        let mut query = sqlx::query(AssertSqlSafe(text));
        for value in values {
            query = match value {
                Number(number) => query.bind(number),
                Text(text) => query.bind(text),
            };
        }
        let rows = query.fetch_all(&mut *connection).await.expect(sql);
        let (column, expected) = match dialect {
            Dialect::Sqlite => (3, sqlite),
            Dialect::Postgres => (0, postgres),
        };
        let lines: Vec<String> = rows.iter().map(|row| row.get(column)).collect();
        let plan = lines.join("\n");
        for part in expected {
            assert!(plan.contains(part), "{sql}\nhas no `{part}` in its plan:\n{plan}");
        }
        // The roles of one guild are few and come sorted by position.
        let whole = plan.contains("Seq Scan")
            || lines.iter().any(|line| line.starts_with("SCAN") && !line.contains("INDEX"));
        assert!(!whole, "{sql}\nreads a table whole:\n{plan}");
    }
}
