//! Plots as SVG written by hand, and the page that holds them: one file, no script, nothing
//! loaded from elsewhere, light and dark by the reader's preference. Colours and line styles are
//! classes (`s0`, `s1`, …) of the page's style sheet; markers differ too, so that colour is never
//! the only difference.

pub mod bars;
pub mod lines;
pub mod page;
pub mod scale;
pub mod spread;

use std::fmt::Write;

/// Width of every plot in its own units; the page scales it to the column.
pub const WIDTH: f64 = 380.0;
/// Styles of series; further ones begin anew.
pub const STYLES: usize = 7;

/// Text for HTML and SVG: nothing in it is markup.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(character),
        }
    }
    out
}

/// A number in as few characters as an axis has room for: `950`, `1.2k`, `30M`, `0.05`.
pub fn compact(value: f64) -> String {
    let (divisor, suffix) = match value.abs() {
        magnitude if magnitude >= 999_950_000.0 => (1e9, "G"),
        magnitude if magnitude >= 999_950.0 => (1e6, "M"),
        magnitude if magnitude >= 999.95 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let scaled = value / divisor;
    let decimals = match scaled.abs() {
        magnitude if magnitude >= 99.95 || magnitude == 0.0 => 0,
        magnitude if magnitude >= 9.995 => 1,
        magnitude if magnitude >= 0.0995 => 2,
        _ => 4,
    };
    let text = format!("{scaled:.decimals$}");
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{suffix}")
}

/// A marker of a series: each style has its own shape.
fn marker(out: &mut String, style: usize, x: f64, y: f64, title: &str) {
    let class = style % STYLES;
    let (r, d) = (3.6, 4.4);
    let _ = match class {
        0 => write!(out, r#"<circle class="m s{class}" cx="{x:.1}" cy="{y:.1}" r="{r}">"#),
        1 => write!(
            out,
            r#"<path class="m s{class}" d="M{:.1} {:.1}h{s}v{s}h-{s}z">"#,
            x - r,
            y - r,
            s = 2.0 * r
        ),
        2 => write!(
            out,
            r#"<path class="m s{class}" d="M{x:.1} {:.1}l{d} {h}h-{w}z">"#,
            y - d,
            h = 2.0 * d - 1.0,
            w = 2.0 * d
        ),
        3 => write!(
            out,
            r#"<path class="m s{class}" d="M{x:.1} {:.1}l{d} {d}l-{d} {d}l-{d} -{d}z">"#,
            y - d
        ),
        4 => write!(
            out,
            r#"<path class="m s{class}" d="M{x:.1} {:.1}l{d} -{h}h-{w}z">"#,
            y + d,
            h = 2.0 * d - 1.0,
            w = 2.0 * d
        ),
        5 => write!(
            out,
            r#"<path class="m hollow s{class}" d="M{:.1} {:.1}h{s}v{s}h-{s}z">"#,
            x - r,
            y - r,
            s = 2.0 * r
        ),
        _ => write!(out, r#"<circle class="m hollow s{class}" cx="{x:.1}" cy="{y:.1}" r="{r}">"#),
    };
    let _ = write!(out, "<title>{}</title>", escape(title));
    out.push_str(if matches!(class, 0 | 6) { "</circle>" } else { "</path>" });
}

/// The legend above a plot, as HTML so that it wraps on a narrow page. None without names.
fn legend(names: &[&str]) -> String {
    let mut out = String::new();
    if names.iter().all(|name| name.is_empty()) {
        return out;
    }
    out.push_str(r#"<ul class="legend">"#);
    for (style, name) in names.iter().enumerate() {
        out.push_str(r#"<li><svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">"#);
        marker(&mut out, style, 6.0, 6.0, name);
        let _ = write!(out, "</svg>{}</li>", escape(name));
    }
    out.push_str("</ul>");
    out
}

/// The table of named rows, a column for each of `names`.
fn rows_table(names: &[&str], rows: &[(String, Vec<Option<f64>>)]) -> String {
    let mut head = vec![""];
    head.extend(names);
    let cell = |value: &Option<f64>| value.map_or("not known".into(), compact);
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|(name, values)| {
            std::iter::once(name.clone()).chain(values.iter().map(cell)).collect()
        })
        .collect();
    figures_table(&head, &rows)
}

/// A table of the plotted numbers, folded away below the plot.
pub fn figures_table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut out =
        String::from(r#"<details><summary>Figures</summary><div class="wide"><table><thead><tr>"#);
    for cell in head {
        let _ = write!(out, "<th>{}</th>", escape(cell));
    }
    out.push_str("</tr></thead><tbody>");
    for row in rows {
        out.push_str("<tr>");
        for cell in row {
            let _ = write!(out, "<td>{}</td>", escape(cell));
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div></details>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_on_an_axis() {
        for (value, text) in [
            (0.0, "0"),
            (0.05, "0.05"),
            (1.0, "1"),
            (1.25, "1.25"),
            (12.34, "12.3"),
            (950.0, "950"),
            (999.99, "1k"),
            (1234.0, "1.23k"),
            (30_000_000.0, "30M"),
            (2.5e9, "2.5G"),
            (-1500.0, "-1.5k"),
        ] {
            assert_eq!(compact(value), text);
        }
    }

    #[test]
    fn text_is_never_markup() {
        assert_eq!(escape("<b a='1'>&\""), "&lt;b a=&#39;1&#39;&gt;&amp;&quot;");
        assert!(legend(&["<x>", "y"]).contains("&lt;x&gt;"));
    }
}
