//! The configuration file: TOML, where every key is one of the table's. A key that is not is told
//! together with the nearest one that is.

use std::path::Path;

use toml::{Table, Value};

use super::value::Kind;
use super::{Origin, Problem, settings};

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The values in a file, by their place in the table, and what is wrong with it.
pub fn read(path: &Path) -> Read {
    let failed = |reason: String| {
        let key = path.display().to_string();
        let problems = vec![Problem { key, origin: Origin::File, reason }];
        Read { values: Vec::new(), problems }
    };
    let text = match std::fs::metadata(path) {
        Ok(file) if file.len() > MAX_FILE => return failed("is larger than 1 MiB".to_owned()),
        _ => std::fs::read_to_string(path),
    };
    match text {
        Ok(text) => match parse(&text) {
            Ok(found) => found,
            Err(reason) => failed(reason),
        },
        Err(error) => failed(format!("cannot be read: {error}")),
    }
}

/// As [`read`], from the text.
///
/// # Errors
/// When the text is no TOML: where, and why.
pub fn parse(text: &str) -> Result<Read, String> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| told(text, &error))?;
    let mut read = Read::default();
    read.table("", &table);
    Ok(read)
}

/// Without the line itself, which may hold a secret.
fn told(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map_or(1, |span| {
        1 + text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count()
    });
    format!("line {line}: {}", error.message())
}

/// What a file says.
#[derive(Debug, Default)]
pub struct Read {
    /// Values by their place in the table, as a flag would give them.
    pub values: Vec<(usize, String)>,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

impl Read {
    fn refuse(&mut self, key: &str, reason: impl Into<String>) {
        let (key, reason) = (key.to_owned(), reason.into());
        self.problems.push(Problem { key, origin: Origin::File, reason });
    }

    fn table(&mut self, prefix: &str, table: &Table) {
        for (name, value) in table {
            let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            if let Some(index) = settings().iter().position(|setting| setting.key == key) {
                match text_of(settings()[index].kind, value) {
                    Ok(text) => self.values.push((index, text)),
                    Err(reason) => self.refuse(&key, reason),
                }
            } else if !sections().any(|section| section == key) {
                let nearest = nearest(&key);
                self.refuse(&key, format!("is no setting; did you mean {nearest}?"));
            } else if let Value::Table(inner) = value {
                self.table(&key, inner);
            } else {
                self.refuse(&key, format!("is a section: write [{key}]"));
            }
        }
    }
}

/// Every part of a key that other keys begin with.
fn sections() -> impl Iterator<Item = &'static str> {
    settings()
        .iter()
        .flat_map(|setting| setting.key.match_indices('.').map(|(dot, _)| &setting.key[..dot]))
}

/// The key or section that is most like this one.
fn nearest(key: &str) -> &'static str {
    let known = settings().iter().map(|setting| setting.key).chain(sections());
    let leaf = |key: &str| key.rsplit('.').next().map_or(0, str::len);
    known
        // Of two that are as near, the one whose last word is as long.
        .min_by_key(|known| (strsim::osa_distance(known, key), leaf(known).abs_diff(leaf(key))))
        .expect("the table is not empty")
}

/// A value as a flag would give it.
fn text_of(kind: Kind, value: &Value) -> Result<String, String> {
    let expected = match (kind, value) {
        (Kind::Text, Value::String(text)) => return Ok(text.clone()),
        (Kind::Number, Value::Integer(number)) => return Ok(number.to_string()),
        (Kind::Truth, Value::Boolean(truth)) => return Ok(truth.to_string()),
        (Kind::List, Value::Array(items)) => return list(items),
        (Kind::Text, _) => "a string in quotes",
        (Kind::Number, _) => "a whole number, without quotes",
        (Kind::Truth, _) => "true or false, without quotes",
        (Kind::List, _) => "an array of strings, such as [\"a\", \"b\"]",
    };
    Err(format!("must be {expected}"))
}

fn list(items: &[Value]) -> Result<String, String> {
    let mut texts = Vec::new();
    for item in items {
        match item {
            Value::String(text) if text.is_empty() => {
                return Err("holds an empty string".to_owned());
            }
            Value::String(text) if !text.contains(',') => texts.push(text.as_str()),
            Value::String(_) => {
                return Err("holds a string with a comma: give each item a string".to_owned());
            }
            _ => return Err("must hold strings only".to_owned()),
        }
    }
    Ok(texts.join(","))
}
