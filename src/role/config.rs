//! `hype config`: the configuration checked, printed and documented, without starting anything.

use clap::{Args, Subcommand};

use crate::settings::{self, Flags, Loaded, Mode, Process, flags};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tells everything that is wrong with the file, the environment and the flags.
    Check(Options),
    /// Prints the values in force and where each came from; secrets are masked.
    Print(Options),
    /// Prints the whole documented file, with the defaults.
    Example,
}

/// What to look at.
#[derive(Debug, Args)]
pub struct Options {
    /// For which process; by default `control` in production, else `up`.
    #[arg(long = "for", value_name = "PROCESS")]
    process: Option<Process>,
    #[command(flatten)]
    flags: Flags<flags::Any>,
}

impl Options {
    /// The settings of the process that is meant, with all that is wrong with them.
    pub fn load(&self) -> Loaded {
        let process =
            self.process.unwrap_or_else(|| match self.flags.load(Process::Up).settings.mode {
                Mode::Production => Process::Control,
                Mode::Development => Process::Up,
            });
        self.flags.load(process)
    }
}

pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Check(options) => {
            let loaded = options.load();
            let process = loaded.process;
            let mode = loaded.accepted()?.mode;
            let file = options.flags.file().map(|path| format!("{} is", path.display()));
            let what = file.unwrap_or_else(|| "without a file, all is".to_owned());
            println!("{what} good for {} in {mode}", process.command());
        }
        Command::Print(options) => {
            let loaded = options.load();
            print!("{}", settings::print(&loaded));
            // After what is in force, so that both can be read side by side.
            loaded.accepted()?;
        }
        Command::Example => print!("{}", settings::example()),
    }
    Ok(())
}
