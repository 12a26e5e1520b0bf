//! The report as one self-contained page: what was measured, on which machine, by which command;
//! and at its end every run, those without a result with the reason.

use super::plots::{self, Plot};
use super::result::{Group, Outcome, Report, Run};
use crate::plan::short;
use crate::plot::page::Page;

/// The whole page.
pub fn html(report: &Report) -> String {
    let mut page = Page::new(
        "Hype: packet benchmarks",
        "What a forwarded packet costs, how long it takes, and how far that is from the floor: the \
         same sends without an engine and without encryption.",
    );
    head(&mut page, report);
    page.section("Cost of a packet", "");
    figure(&mut page, plots::cost_by_rate(report));
    figure(&mut page, plots::ratio(report));
    figure(&mut page, plots::cost_by_room(report));
    figure(&mut page, plots::cost_by_workers(report));
    page.section("Latency, limits, memory", "");
    figure(&mut page, plots::latency(report));
    figure(&mut page, plots::sweep(report));
    figure(&mut page, plots::sweep_latency(report));
    figure(&mut page, plots::engine(report));
    figure(&mut page, plots::video(report));
    figure(&mut page, plots::video_ratio(report));
    figure(&mut page, plots::memory(report));
    figure(&mut page, plots::joins(report));
    runs(&mut page, report);
    page.html()
}

fn head(page: &mut Page, report: &Report) {
    let machine = &report.machine;
    let text = |path| machine.text(path).unwrap_or_else(|| "not known".into());
    let memory = machine
        .number("memory_bytes")
        .map_or("not known".into(), |bytes| format!("{} GiB", short(bytes / f64::from(1 << 30))));
    let load: Vec<String> =
        (0..3).filter_map(|at| machine.element("load_average", at)).map(short).collect();
    let load = if load.is_empty() { "not known".into() } else { load.join(" · ") };
    page.facts(&[
        ("processor", format!("{}, {} cores", text("cpu"), text("cores"))),
        ("kernel", text("kernel")),
        ("memory", memory),
        ("load before (1, 5, 15 minutes)", load),
        ("version of hype", report.version.clone().unwrap_or_else(|| "not known".into())),
        ("build", text("build")),
        ("begun", report.made_at.map_or("not known".into(), utc)),
        ("command", report.command.clone().unwrap_or_else(|| "not known".into())),
    ]);
    if let Some(note) = &report.note {
        page.note(note);
    }
    let missing: Vec<&Run> =
        report.runs.iter().filter(|run| run.outcome != Outcome::Measured).collect();
    if !missing.is_empty() {
        page.note(&format!(
            "{} of {} runs have no result; the last table says why.",
            missing.len(),
            report.runs.len()
        ));
    }
}

/// A figure, or a word on why it is missing: nothing is left out in silence.
fn figure(page: &mut Page, plot: Plot) {
    let html = plot.html.unwrap_or_else(|| {
        let empty = "<p class=\"empty\">No run of this kind has a result; the table at the end \
                     says why.</p>";
        empty.into()
    });
    page.figure(plot.title, plot.text, &html, &plot.commands);
}

fn runs(page: &mut Page, report: &Report) {
    page.section("All runs", "");
    let rows: Vec<Vec<String>> = report
        .runs
        .iter()
        .map(|run| {
            let outcome = match run.outcome {
                Outcome::Measured => "measured",
                Outcome::Failed => "failed",
                Outcome::Impossible => "impossible here",
                Outcome::Stopped => "stopped",
            };
            // A bench that printed its result and then failed a check of it has both.
            let said = run.reason.iter().cloned().chain([summary(run)]);
            let said = said.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ");
            vec![run.id.clone(), outcome.into(), said, run.command.clone()]
        })
        .collect();
    page.table(&["run", "outcome", "result or reason", "command"], &rows);
}

/// The few numbers that matter of a run.
fn summary(run: &Run) -> String {
    let of = |path: &str, unit: &str| {
        run.result.number(path).map(|value| format!("{} {unit}", short(value)))
    };
    let keys: &[(&str, &str)] = match run.group {
        Group::Engine => &[
            ("ns_per_packet", "ns a packet"),
            ("ratio_to_seal", "× the bare seals"),
            ("allocations_per_packet", "allocations a packet"),
        ],
        Group::Sweep => &[("highest_lossless_pps", "packets/s without loss")],
        Group::Idle => &[
            ("people", "people"),
            ("rss_bytes_per_peer", "bytes a person, all of the node"),
            ("added_bytes_per_peer", "added by each"),
        ],
        Group::Join => &[("joins_per_second", "joins/s"), ("failed", "failed")],
        Group::Rate | Group::RoomSize | Group::Workers | Group::Vbr | Group::Video => &[
            ("cpu_ns_per_forwarded_packet", "ns a packet"),
            ("ratio", "× the other"),
            ("ratio_to_plain", "× plain sendmmsg"),
            ("forwarded_pps", "packets/s"),
            ("loss_ratio", "lost"),
            ("bad_packets", "bad"),
        ],
    };
    let parts: Vec<String> = keys.iter().filter_map(|(path, unit)| of(path, unit)).collect();
    parts.join(", ")
}

/// Seconds since 1970 as a date and time (Gregorian calendar, days by Hinnant's algorithm).
fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", rest / 3600, rest % 3600 / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, date) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59 UTC"),
            (1_735_689_600, "2025-01-01 00:00 UTC"),
        ] {
            assert_eq!(utc(seconds), date);
        }
    }
}
