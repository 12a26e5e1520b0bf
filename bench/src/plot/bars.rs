//! Horizontal bars, each below its label so that long labels have room on a narrow page. The
//! segments of a bar stand beside each other (`stacked`) or below each other.

use std::fmt::Write;

use super::scale::{Kind, Scale};
use super::{STYLES, WIDTH, compact, escape, legend, rows_table};

/// A plot of bars.
#[derive(Debug, Clone)]
pub struct Bars {
    /// What the length is, with its unit.
    pub unit: String,
    /// Names of the segments of every bar.
    pub segments: Vec<String>,
    /// Segments stand end to end in one bar; their sum is not written, as the label may.
    pub stacked: bool,
    /// Label and one value a segment; none where it is not known.
    pub rows: Vec<(String, Vec<Option<f64>>)>,
    /// A line across: its value and name.
    pub reference: Option<(f64, String)>,
}

const LEFT: f64 = 8.0;
const RIGHT: f64 = 50.0;
const TOP: f64 = 24.0;
const LABEL: f64 = 18.0;
const BAR: f64 = 12.0;
const GAP: f64 = 9.0;
const BOTTOM: f64 = 40.0;

impl Bars {
    /// Whether there is anything to draw.
    pub fn is_empty(&self) -> bool {
        self.rows.iter().all(|(_, values)| values.iter().all(Option::is_none))
    }

    /// Legend, plot and table of figures.
    pub fn html(&self, label: &str) -> String {
        let names: Vec<&str> = self.segments.iter().map(String::as_str).collect();
        let mut out = if names.len() > 1 { legend(&names) } else { String::new() };
        self.svg(&mut out, label);
        out.push_str(&rows_table(&names, &self.rows));
        out
    }

    fn svg(&self, out: &mut String, label: &str) {
        let sums = self.rows.iter().flat_map(|(_, values)| {
            let known = values.iter().copied().map(Option::unwrap_or_default);
            if self.stacked { vec![known.sum()] } else { known.collect() }
        });
        let reference = self.reference.iter().map(|(value, _)| *value);
        let scale = Scale::new(Kind::Linear, sums.chain(reference), LEFT, WIDTH - RIGHT);
        let bars = if self.stacked { 1 } else { self.segments.len().max(1) };
        let row_height = LABEL + BAR * bars as f64 + GAP;
        let floor = TOP + row_height * self.rows.len() as f64;
        let height = floor + BOTTOM;
        let _ = write!(
            out,
            r#"<svg class="plot" viewBox="0 0 {WIDTH} {height:.0}" role="img" aria-label="{}">"#,
            escape(label)
        );
        for value in scale.ticks() {
            let x = scale.place(value);
            let _ = write!(
                out,
                r#"<path class="grid" d="M{x:.1} {TOP}V{:.1}"/><text class="tick" x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                floor + 3.0,
                floor + 16.0,
                compact(value)
            );
        }
        if let Some((value, name)) = &self.reference {
            let x = scale.place(*value);
            let anchor = if x > WIDTH / 2.0 { "end" } else { "start" };
            let _ = write!(
                out,
                r#"<path class="reference" d="M{x:.1} {:.1}V{floor:.1}"/><text class="unit" x="{x:.1}" y="13" text-anchor="{anchor}">{}</text>"#,
                TOP - 6.0,
                escape(name)
            );
        }
        for (number, (name, values)) in self.rows.iter().enumerate() {
            let top = TOP + row_height * number as f64;
            let _ = write!(
                out,
                r#"<text class="row" x="{LEFT}" y="{:.1}">{}</text>"#,
                top + LABEL - 5.0,
                escape(name)
            );
            self.row(out, &scale, name, values, top + LABEL);
        }
        let _ = write!(
            out,
            r#"<text class="unit" x="{:.1}" y="{:.1}" text-anchor="end">{}</text></svg>"#,
            WIDTH - 6.0,
            height - 6.0,
            escape(&self.unit)
        );
    }

    fn row(&self, out: &mut String, scale: &Scale, name: &str, values: &[Option<f64>], top: f64) {
        let mut sum = 0.0;
        for (segment, value) in values.iter().enumerate() {
            let style = segment % STYLES;
            let from = if self.stacked { sum } else { 0.0 };
            let y = if self.stacked { top } else { top + BAR * segment as f64 };
            let Some(value) = value else {
                if !self.stacked {
                    text(out, scale.place(0.0), y, "not known");
                }
                continue;
            };
            sum = from + value;
            let (x, end) = (scale.place(from), scale.place(sum));
            let what = self.segments.get(segment).map_or("", String::as_str);
            let title = escape(&format!("{name}: {what} {}", compact(*value)));
            let _ = write!(
                out,
                r#"<rect class="b s{style}" x="{x:.1}" y="{y:.1}" width="{:.1}" height="{:.1}"><title>{title}</title></rect>"#,
                (end - x).max(0.5),
                BAR - 1.5
            );
            if !self.stacked {
                text(out, end, y, &compact(*value));
            }
        }
    }
}

fn text(out: &mut String, end: f64, top: f64, text: &str) {
    let _ = write!(
        out,
        r#"<text class="value" x="{:.1}" y="{:.1}">{text}</text>"#,
        end + 4.0,
        top + BAR - 2.5
    );
}
