//! `hype shard` and `hype migrate`: where guilds are, moving one, and the schemas brought up to date.
//! They work on the databases beside the replicas, which go on serving people.

use std::io::IsTerminal;

use clap::{Args, Subcommand};
use hype_control::domain::search;
use hype_control::store::Store;
use hype_control::store::database::Connections;
use hype_control::store::shard_move::Step;
use hype_protocol::id::GuildId;

use super::config;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows each shard with how many guilds it has.
    List(config::Options),
    /// Moves a guild to another shard while people write in it. Interrupted, the same command again
    /// goes on with it.
    Move(Move),
}

/// Which guild goes where.
#[derive(Debug, Args)]
pub struct Move {
    /// The guild's id.
    guild: GuildId,
    /// The number of the shard, as `hype shard list` shows it.
    shard: usize,
    #[command(flatten)]
    options: config::Options,
}

async fn open(options: &config::Options) -> anyhow::Result<(Store, hype_control::Config)> {
    let config = options.load().accepted()?.control;
    let store = Store::open(
        &config.store.accounts(&config.data_dir),
        &config.store.shards(&config.data_dir),
        Connections {
            sqlite_readers: config.store.readers,
            postgres: config.store.connections,
            ..Connections::default()
        },
    )
    .await?;
    Ok((store, config))
}

/// Applies what the schemas lack, and ends.
pub async fn migrate(options: config::Options) -> anyhow::Result<()> {
    let (store, config) = open(&options).await?;
    store.index_messages(search::words_of).await?;
    store.close().await;
    let shards = config.store.shards(&config.data_dir).len();
    println!("the accounts and {shards} shard(s) have the schema of {}", env!("CARGO_PKG_VERSION"));
    Ok(())
}

pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(options) => {
            let (store, config) = open(&options).await?;
            let counts = store.guilds_by_shard().await?;
            for (number, dsn) in config.store.shards(&config.data_dir).iter().enumerate() {
                println!("{number:>2}  {:>9} guilds  {dsn}", counts[number]);
            }
            store.close().await;
        }
        Command::Move(Move { guild, shard, options }) => {
            let (store, _) = open(&options).await?;
            let moved = store.move_guild(guild, shard, search::words_of, &mut tell).await;
            store.close().await;
            moved?;
            println!("guild {guild} is in shard {shard}");
        }
    }
    Ok(())
}

/// Prints a step; never ends the move.
fn tell(step: Step) -> bool {
    match step {
        Step::Copied(messages) if !std::io::stderr().is_terminal() => {
            if messages.is_multiple_of(100_000) {
                eprintln!("{messages} messages copied");
            }
        }
        Step::Copied(messages) => eprint!("\r{messages} messages copied"),
        Step::Announced => eprintln!("all replicas look into the directory now"),
        Step::CaughtUp => eprintln!("\nall is copied"),
        Step::Moved => eprintln!("the guild has moved"),
        Step::Directed => eprintln!("the directory says so"),
        Step::Cleared => eprintln!("the old shard is cleared"),
    }
    true
}
