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

/// The sample with what benches have added since.
fn sample() -> Report {
    let mut report = Report::parse(SAMPLE).expect("the sample parses");
    assert_eq!(report.version, None, "older than the field");
    report.version = Some("1.2.3-sample".into());
    for run in report.runs.iter_mut().filter(|run| run.group == Group::Video) {
        let result = run.result.0.as_object_mut().expect("a result");
        result.insert("plain_cpu_ns".into(), serde_json::json!(2340));
        result.insert("ratio_to_plain".into(), serde_json::json!(0.46));
    }
    report
}

fn sample_page() -> String {
    super::page::html(&sample())
}

#[test]
fn the_page_shows_every_run_with_its_command_and_why_there_is_no_result() {
    let report = Report::parse(SAMPLE).expect("the sample parses");
    let page = sample_page();
    for run in &report.runs {
        assert!(page.contains(&format!("<td>{}</td>", run.id)), "{} is missing", run.id);
        assert!(page.contains(&run.command), "{} is missing", run.command);
        if let Some(reason) = &run.reason {
            assert!(page.contains(reason.as_str()), "{reason} is missing");
        }
    }
    assert!(page.contains("Sample processor, 2 cores") && page.contains("6.0.0-sample"));
    assert!(page.contains("<dd>1.2.3-sample</dd>"), "the version of what made it");
    // All twelve plots have something to draw.
    assert_eq!(page.matches("<svg class=\"plot\"").count(), 12);
    assert!(!page.contains("NaN") && !page.contains("inf"), "a number that is none");
}

#[test]
fn video_stands_beside_plain_sends_and_its_bar() {
    let page = sample_page();
    for expected in [
        "plain sendmmsg: video for 50",
        "<td>2.34k</td>",
        "0.6: the bar",
        "<td>0.46</td>",
        "0.46 × plain sendmmsg",
    ] {
        assert!(page.contains(expected), "{expected} is missing");
    }
    // A report from before has the costs that it knows, and nothing to compare.
    let older = super::page::html(&Report::parse(SAMPLE).expect("the sample parses"));
    assert!(older.contains("uring: video for 50") && !older.contains("0.6: the bar"));
}

#[test]
fn pages_load_nothing() {
    for page in [sample_page(), super::page::html(&Report::default())] {
        for forbidden in ["<script", "src=", "url(", "@import", "http://", "https://"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }
}

#[test]
fn a_plot_without_values_says_so() {
    let report = Report { v: 1, ..Report::default() };
    let page = super::page::html(&report);
    assert_eq!(page.matches("<svg class=\"plot\"").count(), 0);
    assert_eq!(page.matches("No run of this kind has a result").count(), 12);
}

#[test]
fn names_from_a_report_are_never_markup() {
    let mut report = Report::parse(SAMPLE).expect("the sample parses");
    report.note = Some("<b>note</b>".into());
    for run in &mut report.runs {
        run.id.push_str("<i>");
        if let Some(io) = run.result.0.get_mut("io") {
            *io = "<u>uring".into();
        }
    }
    let page = super::page::html(&report);
    assert!(!page.contains("<b>") && !page.contains("<i>") && !page.contains("<u>"));
}

#[test]
fn the_set_is_named_apart_and_needs_root_only_for_devices() {
    for quick in [false, true] {
        let set = super::set::set(super::set::Extent { seconds: 3, pairs: 3, quick, cores: 4 });
        let ids: std::collections::HashSet<&str> =
            set.iter().map(|planned| planned.id.as_str()).collect();
        assert_eq!(ids.len(), set.len(), "two runs of one name");
        for planned in &set {
            let words = planned.arguments.join(" ");
            let devices = ["veth", "ifb", "xdp"].iter().any(|word| words.contains(word));
            assert_eq!(planned.needs_root, devices, "{words}");
            assert!(words.ends_with("--json"), "{words}");
            assert!(planned.patience_s >= 60);
        }
        for group in [Group::Engine, Group::Rate, Group::Video, Group::Idle, Group::Join] {
            assert!(set.iter().any(|planned| planned.group == group), "{group:?}");
        }
    }
}
