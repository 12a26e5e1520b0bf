//! Distributions by their percentiles: one row a run, from the median to the worst, on a
//! logarithmic axis.

use std::fmt::Write;

use super::scale::{Kind, Scale};
use super::{WIDTH, compact, escape, legend, marker, rows_table};

/// A plot of distributions.
#[derive(Debug, Clone)]
pub struct Spread {
    /// What is distributed, with its unit.
    pub unit: String,
    /// Names of the percentiles, lowest first.
    pub percentiles: Vec<String>,
    /// Label and one value a percentile; none where it is not known.
    pub rows: Vec<(String, Vec<Option<f64>>)>,
}

const LEFT: f64 = 12.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 8.0;
const ROW: f64 = 37.0;
const BOTTOM: f64 = 40.0;

impl Spread {
    /// Whether there is anything to draw.
    pub fn is_empty(&self) -> bool {
        self.rows.iter().all(|(_, values)| values.iter().all(Option::is_none))
    }

    /// Legend, plot and table of figures.
    pub fn html(&self, label: &str) -> String {
        let names: Vec<&str> = self.percentiles.iter().map(String::as_str).collect();
        let mut out = legend(&names);
        self.svg(&mut out, label);
        out.push_str(&rows_table(&names, &self.rows));
        out
    }

    fn svg(&self, out: &mut String, label: &str) {
        let known = self.rows.iter().flat_map(|(_, values)| values.iter().flatten().copied());
        let scale = Scale::new(Kind::Log, known, LEFT, WIDTH - RIGHT);
        let floor = TOP + ROW * self.rows.len() as f64;
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
        for (number, (name, values)) in self.rows.iter().enumerate() {
            let top = TOP + ROW * number as f64;
            let y = top + ROW - 10.0;
            let _ = write!(
                out,
                r#"<text class="row" x="{LEFT}" y="{:.1}">{}</text>"#,
                top + 15.0,
                escape(name)
            );
            let places: Vec<f64> =
                values.iter().flatten().map(|value| scale.place(*value)).collect();
            if let (Some(first), Some(last)) = (places.first(), places.last()) {
                let _ = write!(out, r#"<path class="whisker" d="M{first:.1} {y:.1}H{last:.1}"/>"#);
            }
            for (style, value) in values.iter().enumerate() {
                if let Some(value) = value {
                    let title = format!("{name}: {} {}", self.percentiles[style], compact(*value));
                    marker(out, style, scale.place(*value), y, &title);
                }
            }
        }
        let _ = write!(
            out,
            r#"<text class="unit" x="{:.1}" y="{:.1}" text-anchor="end">{}</text></svg>"#,
            WIDTH - RIGHT,
            height - 6.0,
            escape(&self.unit)
        );
    }
}
