//! The file `report.json`: what was run, with what outcome. Results are kept as the benches print
//! them and read by key, so a value that is missing or null is none and never an error.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A whole report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of this form: 1.
    pub v: u32,
    /// Version of the program that made it; none in files older than this field.
    #[serde(default)]
    pub version: Option<String>,
    /// Seconds since 1970 when it was begun; none where that does not matter.
    #[serde(default)]
    pub made_at: Option<u64>,
    /// Something to know about it, shown wherever its figures are used.
    #[serde(default)]
    pub note: Option<String>,
    /// The command that made it.
    #[serde(default)]
    pub command: Option<String>,
    /// The machine, before the first run.
    #[serde(default)]
    pub machine: Measured,
    /// Every run, in the order of the set.
    pub runs: Vec<Run>,
}

/// One run of a bench.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Stable name of the run within the set.
    pub id: String,
    /// What it measures.
    pub group: Group,
    /// The command that repeats it.
    pub command: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why there is no result, or what is wrong with it.
    #[serde(default)]
    pub reason: Option<String>,
    /// What the bench printed.
    #[serde(default)]
    pub result: Measured,
}

/// What a run measures; the plots go by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// The engine without sends.
    Engine,
    /// Voice at several rates.
    Rate,
    /// Voice in rooms of several sizes.
    RoomSize,
    /// Voice on several workers.
    Workers,
    /// Voice with payloads of varying size.
    Vbr,
    /// The highest rate without loss.
    Sweep,
    /// Bursts of video.
    Video,
    /// Memory of connected people.
    Idle,
    /// Joins through the public API.
    Join,
}

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// There is a result.
    Measured,
    /// It began and did not end as it should.
    Failed,
    /// This machine cannot run it.
    Impossible,
    /// The set was stopped before it.
    Stopped,
}

/// What a bench printed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Measured(pub Value);

impl Measured {
    /// The number at a path such as `latency_us.p50`; none when missing, null or not a number.
    pub fn number(&self, path: &str) -> Option<f64> {
        match self.at(path)? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        }
        .filter(|value| value.is_finite())
    }

    /// The text at a path; a number is written out.
    pub fn text(&self, path: &str) -> Option<String> {
        match self.at(path)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// The objects of a list.
    pub fn list(&self, path: &str) -> Vec<Self> {
        let list = self.at(path).and_then(Value::as_array);
        list.map(|list| list.iter().cloned().map(Self).collect()).unwrap_or_default()
    }

    /// A number of a list.
    pub fn element(&self, path: &str, at: usize) -> Option<f64> {
        self.at(path)?.get(at)?.as_f64()
    }

    /// The object at a path; none when it is missing or null.
    pub fn object(&self, path: &str) -> Option<Self> {
        self.at(path).filter(|value| value.is_object()).cloned().map(Self)
    }

    fn at(&self, path: &str) -> Option<&Value> {
        path.split('.')
            .try_fold(&self.0, |value, key| value.get(key))
            .filter(|value| !value.is_null())
    }
}

impl Run {
    /// The result, and beside it what `--against` measured: that half states only what differs,
    /// so the shape is taken from the first.
    pub fn halves(&self) -> Vec<Measured> {
        let mut halves = Vec::new();
        if self.outcome == Outcome::Measured {
            halves.push(self.result.clone());
            halves.extend(self.other_half());
        }
        halves
    }

    fn other_half(&self) -> Option<Measured> {
        let against = self.result.object("against")?;
        let mut half = serde_json::Map::new();
        for shape in ["sink", "speakers", "listeners", "rooms", "payload", "workers", "suite"] {
            half.extend(self.result.0.get(shape).map(|value| (shape.to_owned(), value.clone())));
        }
        half.extend(against.0.as_object().cloned().unwrap_or_default());
        if !half.contains_key("io") {
            half.insert("io".into(), self.other_io(&against)?.into());
        }
        Some(Measured(Value::Object(half)))
    }

    /// What the run was compared with: the word after `--against`, else its `subject`, of which
    /// the first part names it (`floor_uring`).
    fn other_io(&self, against: &Measured) -> Option<String> {
        let mut words = self.command.split_whitespace();
        if words.by_ref().any(|word| word == "--against") {
            return words.next().map(str::to_owned);
        }
        let subject = against.text("subject")?;
        subject.split('_').next().map(str::to_owned)
    }
}

impl Report {
    /// Parses a report.
    ///
    /// # Errors
    /// When it is not JSON of this form, or of a newer version.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let report: Self = serde_json::from_str(text)
            .map_err(|error| anyhow::anyhow!("not a report of `hype bench report`: {error}"))?;
        anyhow::ensure!(report.v == 1, "a report of version {}; this build reads 1", report.v);
        Ok(report)
    }
}
