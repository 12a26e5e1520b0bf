//! `hype`: one binary, a role as its first word. This file only picks the role.

mod role;
mod settings;
mod telemetry;

use std::alloc::System;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rustls::crypto::aws_lc_rs;

/// The system's allocator; that each thread counts its calls costs one addition each, and lets
/// `hype bench engine` prove that forwarding makes none.
#[global_allocator]
static ALLOCATOR: hype_allocations::Counting<System> = hype_allocations::Counting(System);

/// A Discord-like voice platform: guilds, text and voice channels, screen share.
#[derive(Debug, Parser)]
#[command(name = "hype", version, propagate_version = true)]
struct Arguments {
    /// Log lines to standard error: a filter such as `info`, `warn,hype_node=debug`.
    #[arg(long, global = true, env = "HYPE_LOG", default_value = "info")]
    log: String,
    /// `text`, or `json` with one object a line.
    #[arg(long, global = true, env = "HYPE_LOG_FORMAT", default_value = "text")]
    log_format: telemetry::Format,
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Everything in one process, with its own stores: needs nothing but itself.
    Up(role::up::Options),
    /// A replica of the control plane, with etcd.
    Control(role::control::Options),
    /// A media node, with etcd.
    Node(role::node::Options),
    /// The fleet's certificates and enrollment tokens.
    #[command(subcommand)]
    Cert(role::cert::Command),
    /// The configuration: check it, print what is in force, or see all that there is to set.
    #[command(subcommand)]
    Config(role::config::Command),
    /// Where guilds are among the databases; moving one.
    #[command(subcommand)]
    Shard(role::shard::Command),
    /// Brings the schemas of all databases up to date, and ends; replicas do it too at their start.
    Migrate(role::config::Options),
    /// Measures a running Hype, a node process of its own, or the engine, and checks what comes back.
    #[command(subcommand)]
    Bench(hype_bench::Bench),
    /// A node for `hype bench`, which talks with it over pipes.
    #[command(hide = true)]
    BenchNode(role::bench_node::Options),
    /// The floor of `hype bench relay`.
    #[command(hide = true)]
    BenchFloor(role::bench_floor::Options),
    /// Computes nodes, cores, traffic and monthly cost for the phases of growth or any demand.
    Plan(hype_bench::plan::Options),
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // For a person: the whole chain, and no backtrace, which would bury it.
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    telemetry::log(&arguments.log, arguments.log_format)?;
    aws_lc_rs::default_provider().install_default().expect("nothing installed one before");
    // A socket for each person who is online: the usual soft limit of 1,024 is no limit of ours.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        match arguments.role {
            Role::Up(options) => role::up::run(options).await,
            Role::Control(options) => role::control::run(options).await,
            Role::Node(options) => role::node::run(options).await,
            Role::Cert(command) => role::cert::run(&command),
            Role::Config(command) => role::config::run(command),
            Role::Shard(command) => role::shard::run(command).await,
            Role::Migrate(options) => role::shard::migrate(options).await,
            Role::Bench(bench) => hype_bench::run(bench).await,
            Role::BenchNode(options) => role::bench_node::run(options).await,
            Role::BenchFloor(options) => role::bench_floor::run(options).await,
            Role::Plan(options) => hype_bench::plan::run(&options),
        }
    });
    // Blocking work that is still under way (a password hash, say) must not hold up the end.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    outcome
}
