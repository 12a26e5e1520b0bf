//! `hype plan` and `hype bench report --from` as people call them: the real binary, its files and
//! what it says about wrong ones. Nothing is measured here.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder that goes with the test, also when it fails.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("hype-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary folder can be written");
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn hype(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hype")).args(words).output().expect("hype starts")
}

#[track_caller]
fn fails(words: &[&str], expected: &str) {
    let output = hype(words);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{words:?} succeeded");
    assert!(said.contains(expected), "{words:?}: {expected:?} is not in {said:?}");
}

fn sample() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("bench/tests/sample-report.json").display().to_string()
}

#[test]
fn all_phases_are_planned_from_a_report() {
    let folder = Folder::new("plan");
    let page = folder.file("plan.html");
    let output = hype(&["plan", "--report", &sample(), "--json", "--html", &page]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let plans: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let people: Vec<f64> = plans["plans"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|plan| plan["total"]["people"].as_f64())
        .map(f64::round)
        .collect();
    assert_eq!(people, [10.0, 100.0, 1000.0, 10_000.0, 100_000.0]);
    let step = &plans["plans"][0]["regions"][0]["steps"][0];
    assert!(step["formula"].is_string() && step["inputs"].is_object(), "{step}");
    let steps = plans["plans"][0]["total"]["steps"].as_array().expect("a list");
    assert!(steps.iter().any(|step| step["name"] == "month_usd"), "{steps:?}");
    let page = std::fs::read_to_string(page).expect("the page was written");
    assert!(page.contains("Phase 5") && page.ends_with("</html>\n"));
    assert!(page.contains("Formulas, all regions"));
}

#[test]
fn the_example_is_a_demand_and_wrong_files_are_told_why() {
    let folder = Folder::new("demand");
    let demand = folder.file("demand.toml");
    let example = hype(&["plan", "--example"]);
    std::fs::write(&demand, &example.stdout).expect("written");
    let output = hype(&["plan", "--demand", &demand, "--explain"]);
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && table.contains("out_pps ="), "{table}");
    for number in ["sound_pps =", "others =", "cores_needed =", "month_usd =", "pps_per_person ="] {
        assert!(table.contains(number), "{number} is not in {table}");
    }
    std::fs::write(&demand, "people = 5\n").expect("written");
    fails(&["plan", "--demand", &demand], "unknown field `people`");
    fails(&["plan", "--demand", &folder.file("none.toml")], "cannot read the demand file");
    fails(&["plan", "--report", &demand], "not a report of `hype bench report`");
    fails(&["plan", "--phase", "6"], "expected 1, 2, 3, 4, 5 or all");
}

#[test]
fn a_page_is_drawn_anew_from_a_report() {
    let folder = Folder::new("report");
    let output = hype(&["bench", "report", "--from", &sample(), "--out", &folder.file("out")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = std::fs::read_to_string(folder.file("out/report.html")).expect("the page");
    assert!(page.contains("<svg") && page.ends_with("</html>\n"));
    fails(&["bench", "report", "--only", "nonsense", "--out", &folder.file("none")], "no run");
}
