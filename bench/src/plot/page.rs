//! The page around plots: head, sections of figures, notes and tables, and the style sheet.

use std::fmt::Write;

use super::escape;

const STYLE: &str = include_str!("page.css");

/// A page in the making.
#[derive(Debug, Clone)]
pub struct Page {
    title: String,
    body: String,
    in_figures: bool,
}

impl Page {
    /// Begins a page.
    pub fn new(title: &str, lead: &str) -> Self {
        let body = format!("<header><h1>{}</h1><p>{}</p></header>", escape(title), escape(lead));
        Self { title: title.into(), body, in_figures: false }
    }

    fn close_figures(&mut self) {
        if self.in_figures {
            self.body.push_str("</div>");
            self.in_figures = false;
        }
    }

    /// Facts in two columns: name and text.
    pub fn facts(&mut self, facts: &[(&str, String)]) {
        self.close_figures();
        self.body.push_str(r#"<dl class="facts">"#);
        for (name, text) in facts {
            let _ =
                write!(self.body, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(text));
        }
        self.body.push_str("</dl>");
    }

    /// Something that the reader must know.
    pub fn note(&mut self, text: &str) {
        self.close_figures();
        let _ = write!(self.body, r#"<p class="note">{}</p>"#, escape(text));
    }

    /// Begins a section.
    pub fn section(&mut self, title: &str, text: &str) {
        self.close_figures();
        let _ = write!(self.body, "<h2>{}</h2>", escape(title));
        if !text.is_empty() {
            let _ = write!(self.body, "<p>{}</p>", escape(text));
        }
    }

    /// A figure: title, what it shows, the plot's HTML, and the commands that made it.
    pub fn figure(&mut self, title: &str, text: &str, plot: &str, commands: &[String]) {
        if !self.in_figures {
            self.body.push_str(r#"<div class="figures">"#);
            self.in_figures = true;
        }
        let _ = write!(
            self.body,
            "<figure><figcaption><h3>{}</h3><p>{}</p></figcaption>{plot}",
            escape(title),
            escape(text)
        );
        if let Some((first, more)) = commands.split_first() {
            let _ =
                write!(self.body, r#"<pre class="command"><code>{}</code></pre>"#, escape(first));
            if !more.is_empty() {
                let _ = write!(
                    self.body,
                    "<details><summary>and {} more</summary><pre><code>{}</code></pre></details>",
                    more.len(),
                    escape(&more.join("\n"))
                );
            }
        }
        self.body.push_str("</figure>");
    }

    /// A table; cells that begin with a digit or a minus stand to the right.
    pub fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        self.close_figures();
        self.body.push_str(r#"<div class="wide"><table><thead><tr>"#);
        for cell in head {
            let _ = write!(self.body, "<th>{}</th>", escape(cell));
        }
        self.body.push_str("</tr></thead><tbody>");
        for row in rows {
            self.body.push_str("<tr>");
            for cell in row {
                let number = cell.starts_with(|first: char| first.is_ascii_digit());
                let class = if number { r#" class="number""# } else { "" };
                let _ = write!(self.body, "<td{class}>{}</td>", escape(cell));
            }
            self.body.push_str("</tr>");
        }
        self.body.push_str("</tbody></table></div>");
    }

    /// A table folded away below a line.
    pub fn folded(&mut self, summary: &str, head: &[&str], rows: &[Vec<String>]) {
        self.close_figures();
        let _ = write!(self.body, "<details><summary>{}</summary>", escape(summary));
        self.table(head, rows);
        self.body.push_str("</details>");
    }

    /// The whole file.
    pub fn html(mut self) -> String {
        self.close_figures();
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <meta name=\"color-scheme\" content=\"light dark\"><title>{}</title>\
             <link rel=\"icon\" href=\"data:,\"><style>{STYLE}</style></head>\
             <body><main>{}</main></body></html>\n",
            escape(&self.title),
            self.body
        )
    }
}
