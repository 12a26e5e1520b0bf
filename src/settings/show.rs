//! The settings as TOML: the documented example, and the values in force with where each came from.

use std::fmt::Write as _;

use super::table::SECTIONS;
use super::{Loaded, Setting, Settings, settings};

/// Columns of the example.
const WIDTH: usize = 96;

const HEAD: &str = "Settings of Hype. Each is shown with its default, so an empty file is a good one; a \
    line that begins with # and has no space after it is a setting without a default. Over the \
    file go variables and over those flags: `limits.message.burst` is also \
    HYPE_LIMITS_MESSAGE_BURST and --limits-message-burst; shorter names are told with the \
    setting. `hype config check` tells what is wrong, `hype config print` what is in force.";

/// Words as comment lines.
fn comment(text: &str) -> String {
    let mut lines = String::new();
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push_str(&line);
            lines.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    lines + &line + "\n"
}

/// Groups settings under the headings of their sections.
fn sections<'a>(
    shown: impl Iterator<Item = &'a Setting>,
    documented: bool,
    mut line: impl FnMut(&Setting) -> String,
) -> String {
    let mut text = String::new();
    let mut current = "";
    for setting in shown {
        let (section, _) = setting.place();
        if section != current {
            text.push('\n');
            let doc = SECTIONS.iter().find(|(name, _)| *name == section);
            if let Some((_, doc)) = doc.filter(|_| documented) {
                text.push_str(&comment(doc));
            }
            let _ = writeln!(text, "[{section}]");
            current = section;
        }
        text.push_str(&line(setting));
    }
    text
}

/// The whole documented file, with the defaults.
pub fn example() -> String {
    let defaults = Settings::default();
    comment(HEAD)
        + "\n"
        + &sections(settings().iter(), true, |setting| {
            let (_, leaf) = setting.place();
            let mut doc = setting.doc.to_owned();
            if setting.has_own_name {
                let _ = write!(doc, " (--{}, {})", setting.name, setting.variable);
            }
            let value = match setting.show(&defaults) {
                Some(value) => format!("{leaf} = {value}\n"),
                None => format!("#{leaf} = {}\n", setting.example),
            };
            comment(&doc) + &value
        })
}

/// The values in force, with where each came from; secrets are masked.
pub fn print(loaded: &Loaded) -> String {
    let ours = settings().iter().filter(|setting| loaded.process.has(setting.part));
    sections(ours, false, |setting| {
        let (_, leaf) = setting.place();
        let index = settings().iter().position(|other| other.key == setting.key);
        let origin = loaded.origins[index.expect("it is of the table")];
        let line = match setting.show(&loaded.settings) {
            Some(value) => format!("{leaf} = {value}"),
            None => format!("# {leaf} is not set"),
        };
        format!("{line:<40} # {origin}\n")
    })
}
