//! Every setting as a flag and as a variable: `limits.message.burst` is `--limits-message-burst`
//! and `HYPE_LIMITS_MESSAGE_BURST`, unless the table gives it a shorter name. Help lists those with
//! a name of their own; the others are in `hype config example`.

use std::marker::PhantomData;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::value::Kind;
use super::{Given, Loaded, Origin, Process, Setting, Settings, load, settings};

const CONFIG: &str = "config";

/// For which processes flags are taken.
pub trait For {
    /// Whose settings are flags here.
    const PROCESSES: &'static [Process];
    /// Whether there is `--config`.
    const FILE: bool = true;
}

/// Of `hype up`.
#[derive(Debug, Clone, Copy)]
pub struct Up;
/// Of `hype control`.
#[derive(Debug, Clone, Copy)]
pub struct Control;
/// Of `hype node`.
#[derive(Debug, Clone, Copy)]
pub struct Node;
/// Of `hype bench-node`.
#[derive(Debug, Clone, Copy)]
pub struct BenchNode;
/// Of `hype config`.
#[derive(Debug, Clone, Copy)]
pub struct Any;

impl For for Up {
    const PROCESSES: &'static [Process] = &[Process::Up];
}
impl For for Control {
    const PROCESSES: &'static [Process] = &[Process::Control];
}
impl For for Node {
    const PROCESSES: &'static [Process] = &[Process::Node];
}
impl For for BenchNode {
    const PROCESSES: &'static [Process] = &[Process::BenchNode];
    const FILE: bool = false;
}
impl For for Any {
    const PROCESSES: &'static [Process] = &[Process::Up, Process::Control, Process::Node];
}

/// What flags and variables say, and where the file is.
#[derive(Debug, Clone)]
pub struct Flags<F> {
    file: Option<PathBuf>,
    given: Vec<Given>,
    of: PhantomData<F>,
}

impl<F: For> Flags<F> {
    /// The settings of a process, with all that is wrong with them.
    pub fn load(&self, process: Process) -> Loaded {
        load(process, self.file.as_deref(), &self.given)
    }

    /// The settings of the only process that takes these flags.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        self.load(F::PROCESSES[0]).accepted()
    }

    /// The file that was named.
    pub fn file(&self) -> Option<&std::path::Path> {
        self.file.as_deref()
    }
}

/// One for each name: two processes may call different settings by the same one.
fn taken<F: For>() -> Vec<&'static Setting> {
    let mut taken: Vec<&Setting> = Vec::new();
    for setting in settings() {
        let is_ours = F::PROCESSES.iter().any(|process| process.has(setting.part));
        if is_ours && !taken.iter().any(|other| other.name == setting.name) {
            taken.push(setting);
        }
    }
    taken
}

fn argument(setting: &'static Setting) -> Arg {
    let help = match setting.show(&Settings::default()) {
        Some(default) if default != "[]" => format!("{} [default: {default}]", setting.doc),
        _ => setting.doc.to_owned(),
    };
    let action = match setting.kind {
        Kind::List => ArgAction::Append,
        Kind::Text | Kind::Number | Kind::Truth => ArgAction::Set,
    };
    let argument = Arg::new(setting.name.as_str())
        .long(setting.name.as_str())
        .env(setting.variable.as_str())
        .hide_env_values(setting.is_secret)
        .hide(!setting.has_own_name)
        .value_name(setting.placeholder)
        .allow_hyphen_values(setting.is_secret)
        .action(action)
        .help(help);
    match setting.kind {
        Kind::Truth => argument.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Kind::Text | Kind::Number | Kind::List => argument,
    }
}

impl<F: For> Args for Flags<F> {
    fn augment_args(mut command: Command) -> Command {
        if F::FILE {
            let file =
                Arg::new(CONFIG).long(CONFIG).env("HYPE_CONFIG").value_name("FILE").help(
                    "The configuration file; `hype config example` shows all that it may hold",
                );
            command = command.arg(file);
        }
        taken::<F>().into_iter().fold(command, |command, setting| command.arg(argument(setting)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<F: For> FromArgMatches for Flags<F> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Vec::new();
        for setting in taken::<F>() {
            let Some(values) = matches.get_many::<String>(&setting.name) else { continue };
            let text = values.map(String::as_str).collect::<Vec<_>>().join(",");
            let origin = match matches.value_source(&setting.name) {
                Some(ValueSource::EnvVariable) => Origin::Environment(&setting.variable),
                _ => Origin::Flag(&setting.name),
            };
            // A variable that is there and empty is how many tools say that it is not set.
            if !(text.is_empty() && matches!(origin, Origin::Environment(_))) {
                given.push(Given { name: &setting.name, text, origin });
            }
        }
        let file = match F::FILE {
            true => matches.get_one::<String>(CONFIG).filter(|path| !path.is_empty()),
            false => None,
        };
        Ok(Self { file: file.map(PathBuf::from), given, of: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
