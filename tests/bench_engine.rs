//! `hype bench engine` by the real binary, for a moment: that its result is right and has its keys.
//! It never looks at how fast anything is.

use std::process::Command;

fn run(arguments: &[&str]) -> serde_json::Value {
    let output = Command::new(env!("CARGO_BIN_EXE_hype"))
        .args(["bench", "engine", "--json", "--seconds", "0.2"])
        .args(arguments)
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("standard output is one JSON object")
}

fn check(suite: &str, speakers: u64, listeners: u64) {
    let text = [speakers, listeners].map(|number| number.to_string());
    let report = run(&["--suite", suite, "--speakers", &text[0], "--listeners", &text[1]]);
    assert_eq!(report["suite"], suite);
    assert_eq!(report["speakers"], speakers);
    assert_eq!(report["listeners"], listeners);
    assert_eq!(report["payload"], 160);
    // Each is forwarded to all but its speaker.
    let packets = report["packets"].as_u64().expect("a count");
    assert!(packets > 0 && packets.is_multiple_of(listeners + speakers - 1), "{packets}");
    assert_eq!(report["allocations_per_packet"], 0.0, "the packet path allocates nothing");
    for key in ["ns_per_packet", "seal_ns_per_packet", "ratio_to_seal"] {
        assert!(report[key].as_f64().is_some_and(|value| value > 0.0), "{key}: {report}");
    }
    for key in ["instructions_per_packet", "kernel_ns_per_packet", "ratio_to_kernel"] {
        assert!(report.get(key).is_some(), "{key} is null where it is not known");
    }
    assert!(report["machine"]["cores"].as_u64().is_some_and(|cores| cores > 0));
}

#[test]
fn all_suites_and_shapes_give_a_whole_report_and_allocate_nothing() {
    for (suite, speakers, listeners) in
        [("gcm", 1, 50), ("gcm256", 2, 7), ("cm", 1, 1), ("gcm", 3, 60)]
    {
        check(suite, speakers, listeners);
    }
}

#[test]
fn what_cannot_be_is_refused() {
    for arguments in [["--listeners", "0"], ["--payload", "2000"], ["--suite", "none"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_hype"))
            .args(["bench", "engine"])
            .args(arguments)
            .output()
            .expect("the binary runs");
        assert!(!output.status.success() && !output.stderr.is_empty(), "{arguments:?}");
    }
}
