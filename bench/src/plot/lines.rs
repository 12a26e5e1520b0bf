//! Lines with a marker at each measured point.

use std::fmt::Write;

use super::scale::{Kind, Scale};
use super::{STYLES, WIDTH, compact, escape, figures_table, legend, marker};

/// A plot of lines.
#[derive(Debug, Clone)]
pub struct Lines {
    /// What runs to the right, with its unit.
    pub x: (String, Kind),
    /// What runs upwards, with its unit.
    pub y: (String, Kind),
    /// Lines; those without points are left out.
    pub series: Vec<Series>,
    /// Spans drawn behind, such as a budget: x, lowest, highest.
    pub spans: Vec<(f64, f64, f64)>,
    /// Labels instead of numbers along x.
    pub names: Vec<(f64, String)>,
}

/// One line.
#[derive(Debug, Clone)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its points, sorted by x.
    pub points: Vec<(f64, f64)>,
}

const HEIGHT: f64 = 262.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 44.0;

impl Lines {
    /// Whether there is anything to draw.
    pub fn is_empty(&self) -> bool {
        self.series.iter().all(|series| series.points.is_empty())
    }

    /// Legend, plot and table of figures.
    pub fn html(&self, label: &str) -> String {
        let names: Vec<&str> = self.series.iter().map(|series| series.name.as_str()).collect();
        let mut out = legend(&names);
        self.svg(&mut out, label);
        let head = ["", self.x.0.as_str(), self.y.0.as_str()];
        let mut rows = Vec::new();
        for series in &self.series {
            for (x, y) in &series.points {
                rows.push(vec![series.name.clone(), self.name(*x), compact(*y)]);
            }
        }
        out.push_str(&figures_table(&head, &rows));
        out
    }

    fn name(&self, x: f64) -> String {
        let named = self.names.iter().find(|(at, _)| (at - x).abs() < 1e-9);
        named.map_or_else(|| compact(x), |(_, name)| name.clone())
    }

    fn svg(&self, out: &mut String, label: &str) {
        let points = || self.series.iter().flat_map(|series| series.points.iter());
        let spans = self.spans.iter().flat_map(|(_, low, high)| [*low, *high]);
        let mut right = Scale::new(self.x.1, points().map(|(x, _)| *x), LEFT, WIDTH - RIGHT);
        if !self.names.is_empty() {
            let ends = self.names.iter().map(|(x, _)| *x);
            right = Scale::new(self.x.1, ends, LEFT, WIDTH - RIGHT - 24.0);
        }
        let heights = points().map(|(_, y)| *y).chain(spans);
        let up = Scale::new(self.y.1, heights, HEIGHT - BOTTOM, TOP);
        let _ = write!(
            out,
            r#"<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{}">"#,
            escape(label)
        );
        self.axes(out, &right, &up);
        for (x, low, high) in &self.spans {
            let (x, top, bottom) = (right.place(*x), up.place(*high), up.place(*low));
            let _ = write!(
                out,
                r#"<rect class="span" x="{:.1}" y="{top:.1}" width="16" height="{:.1}"/>"#,
                x - 8.0,
                (bottom - top).max(1.0)
            );
        }
        for (number, series) in self.series.iter().enumerate() {
            let places: Vec<String> = series
                .points
                .iter()
                .map(|(x, y)| format!("{:.1},{:.1}", right.place(*x), up.place(*y)))
                .collect();
            let style = number % STYLES;
            let _ = write!(out, r#"<polyline class="l s{style}" points="{}"/>"#, places.join(" "));
        }
        for (number, series) in self.series.iter().enumerate() {
            for (x, y) in &series.points {
                let title = format!("{}: {} at {}", series.name, compact(*y), self.name(*x));
                marker(out, number, right.place(*x), up.place(*y), &title);
            }
        }
        out.push_str("</svg>");
    }

    fn axes(&self, out: &mut String, right: &Scale, up: &Scale) {
        let floor = HEIGHT - BOTTOM;
        for value in up.ticks() {
            let y = up.place(value);
            let _ = write!(
                out,
                r#"<path class="grid" d="M{LEFT} {y:.1}H{:.1}"/><text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                compact(value)
            );
        }
        let ticks: Vec<f64> = if self.names.is_empty() {
            right.ticks()
        } else {
            self.names.iter().map(|(x, _)| *x).collect()
        };
        for value in ticks {
            let x = right.place(value);
            let _ = write!(
                out,
                r#"<path class="grid" d="M{x:.1} {TOP}V{:.1}"/><text class="tick" x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                floor + 4.0,
                floor + 17.0,
                escape(&self.name(value))
            );
        }
        let _ = write!(
            out,
            r#"<path class="axis" d="M{LEFT} {TOP}V{floor}H{:.1}"/><text class="unit" x="4" y="13">{}</text><text class="unit" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
            WIDTH - RIGHT,
            escape(&self.y.0),
            WIDTH - RIGHT,
            HEIGHT - 7.0,
            escape(&self.x.0)
        );
    }
}
