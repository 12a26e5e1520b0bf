//! Reading of reports, with a sample made by hand.

use super::result::{Group, Outcome, Report};

/// A report made by hand for tests: its figures were never measured.
pub const SAMPLE: &str = include_str!("../../tests/sample-report.json");

#[test]
fn missing_and_null_values_are_none() {
    let report = Report::parse(SAMPLE).expect("the sample parses");
    let run = report.runs.iter().find(|run| run.group == Group::Engine).expect("an engine run");
    assert_eq!(run.result.number("instructions_per_packet"), None, "null");
    assert_eq!(run.result.number("no.such.key"), None);
    assert!(run.result.number("ns_per_packet").is_some());
    let stopped = report.runs.iter().find(|run| run.outcome == Outcome::Impossible);
    let stopped = stopped.expect("one that this machine cannot run");
    assert!(stopped.reason.is_some() && stopped.halves().is_empty());
}

#[test]
fn a_file_that_is_no_report_is_refused_with_its_reason() {
    for (text, expected) in [
        ("", "not a report"),
        ("{}", "missing field"),
        ("{\"v\": 2, \"runs\": []}", "version 2"),
        ("{\"v\": 1, \"runs\": [{}]}", "missing field"),
    ] {
        let error = Report::parse(text).expect_err("no report").to_string();
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
    }
}
