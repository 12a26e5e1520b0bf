//! What every store must do, entity by entity: one suite, over SQLite and over a real PostgreSQL.

mod accounts;
mod away;
mod events;
mod group_commit;
mod guilds;
mod messages;
mod migration;
mod place;
mod plans;
#[path = "../postgres_process/mod.rs"]
mod postgres_process;
mod shard_move;
