//! The readable page of the API: plain HTML made from the OpenAPI document, in the look of the web
//! client. It has no script of its own and asks nobody else for anything.

use std::fmt::Write as _;

use serde_json::Value;

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Hype: the API</title>
<link rel="icon" href="/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/css/theme.css">
<link rel="stylesheet" href="/css/docs.css">
<script src="/js/theme.js"></script>
</head>
<body>
"#;

/// The page.
pub(super) fn page(document: &Value) -> String {
    let mut html = HEAD.to_owned();
    let info = &document["info"];
    let version = text(&info["version"]);
    html += "<nav>\n";
    contents(&mut html, document);
    html += "</nav>\n<main>\n";
    put(
        &mut html,
        format_args!(
            "<h1>The API of Hype <small>{}</small></h1>\n\
             <p>The same for programs: <a href=\"/api/v1/openapi.json\">openapi.json</a> (OpenAPI {}).</p>\n{}",
            escape(version),
            escape(text(&document["openapi"])),
            prose(text(&info["description"])),
        ),
    );
    for tag in list(&document["tags"]) {
        let name = text(&tag["name"]);
        let about = prose(text(&tag["description"]));
        put(&mut html, format_args!("<h2 id=\"{0}\">{0}</h2>\n{about}", escape(name)));
        for (path, method, operation) in operations(document, name) {
            section(&mut html, path, method, operation);
        }
    }
    html += "<h2 id=\"events\">events</h2>\n";
    for event in list(&document["components"]["schemas"]["Event"]["oneOf"]) {
        html += &event_section(event);
    }
    html += "<h2 id=\"schemas\">schemas</h2>\n";
    for (name, schema) in entries(&document["components"]["schemas"]) {
        put(&mut html, format_args!("<section id=\"schema-{0}\"><h3>{0}</h3>\n", escape(name)));
        html += &prose(text(&schema["description"]));
        html += &fields(schema);
        html += "</section>\n";
    }
    html += "</main>\n</body>\n</html>\n";
    html
}

fn put(html: &mut String, what: std::fmt::Arguments<'_>) {
    html.write_fmt(what).expect("a string takes all");
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The few marks that descriptions use: paragraphs, `code`, **strong**.
fn prose(text: &str) -> String {
    let mut html = String::new();
    for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
        put(&mut html, format_args!("<p>{}</p>\n", inline(paragraph)));
    }
    html
}

fn inline(text: &str) -> String {
    let mut html = String::new();
    // Every second piece stands between two marks.
    for (index, piece) in escape(text).split('`').enumerate() {
        if index % 2 == 1 {
            put(&mut html, format_args!("<code>{piece}</code>"));
            continue;
        }
        for (index, piece) in piece.split("**").enumerate() {
            let (open, close) = if index % 2 == 1 { ("<strong>", "</strong>") } else { ("", "") };
            put(&mut html, format_args!("{open}{}{close}", piece.replace('\n', "<br>")));
        }
    }
    html
}

fn operations<'a>(
    document: &'a Value,
    tag: &'a str,
) -> impl Iterator<Item = (&'a str, &'a str, &'a Value)> {
    entries(&document["paths"])
        .flat_map(|(path, item)| {
            entries(item)
                .map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
        })
        .filter(move |(_, _, operation)| list(&operation["tags"]).iter().any(|one| one == tag))
}

fn contents(html: &mut String, document: &Value) {
    for tag in list(&document["tags"]) {
        let name = text(&tag["name"]);
        put(html, format_args!("<a href=\"#{0}\"><strong>{0}</strong></a>\n", escape(name)));
        for (_, _, operation) in operations(document, name) {
            let id = escape(text(&operation["operationId"]));
            let summary = escape(text(&operation["summary"]));
            put(html, format_args!("<a href=\"#{id}\">{summary}</a>\n"));
        }
    }
    *html += "<a href=\"#events\"><strong>events</strong></a>\n";
    *html += "<a href=\"#schemas\"><strong>schemas</strong></a>\n";
}

fn section(html: &mut String, path: &str, method: &str, operation: &Value) {
    let access = if operation.get("security").is_some() { "open to all" } else { "signed in" };
    put(
        html,
        format_args!(
            "<section id=\"{}\">\n<h3>{} <small>{access}</small></h3>\n\
             <p class=\"path\"><b class=\"method {method}\">{method}</b> <code>{}</code></p>\n{}",
            escape(text(&operation["operationId"])),
            escape(text(&operation["summary"])),
            escape(path),
            prose(text(&operation["description"])),
        ),
    );
    let parameters = list(&operation["parameters"]);
    if !parameters.is_empty() {
        *html += "<h4>Parameters</h4>\n<table>\n";
        for one in parameters {
            let name = text(&one["name"]);
            let place = escape(text(&one["in"]));
            row(html, name, one["required"] == true, &one["schema"], &place, &one["description"]);
        }
        *html += "</table>\n";
    }
    if let Some(schema) = operation.pointer("/requestBody/content/application~1json/schema") {
        put(html, format_args!("<h4>Body</h4>\n<p>{}</p>\n", kind(schema)));
    }
    *html += "<h4>Answers</h4>\n<table>\n";
    for (status, response) in entries(&operation["responses"]) {
        let schema = entries(&response["content"]).map(|(_, content)| &content["schema"]).next();
        let about = inline(text(&response["description"]));
        // Refusals have one shape, which the head of the page tells; their codes matter.
        let schema = schema.filter(|_| response.get("x-error-codes").is_none());
        let schema = schema.map(kind).unwrap_or_default();
        put(html, format_args!("<tr><th>{status}</th><td>{schema}</td><td>{about}</td></tr>\n"));
    }
    *html += "</table>\n</section>\n";
}

/// One event of the gateway: its name, what it tells, and its data.
fn event_section(event: &Value) -> String {
    let kinds = &event["properties"]["event"];
    let name = list(&kinds["enum"]).first().unwrap_or(&kinds["const"]);
    let name = escape(text(name));
    format!(
        "<section id=\"event-{name}\"><h3><code>{name}</code></h3>\n{}{}</section>\n",
        prose(text(&event["description"])),
        fields(&event["properties"]["data"]),
    )
}

fn row(html: &mut String, name: &str, required: bool, schema: &Value, place: &str, about: &Value) {
    let need = if required { "" } else { "optional" };
    let about = if about.is_null() { &schema["description"] } else { about };
    put(
        html,
        format_args!(
            "<tr><th><code>{}</code> <small>{place} {need}</small></th><td>{}</td><td>{}</td></tr>\n",
            escape(name),
            kind(schema),
            inline(text(about)),
        ),
    );
}

/// The fields of an object, or what else a schema is.
fn fields(schema: &Value) -> String {
    if schema.get("properties").is_none() {
        return format!("<p>{}</p>\n", kind(schema));
    }
    let mut html = "<table>\n".to_owned();
    for (name, field) in entries(&schema["properties"]) {
        let required = list(&schema["required"]).iter().any(|one| one == name);
        row(&mut html, name, required, field, "", &Value::Null);
    }
    html + "</table>\n"
}

/// A schema in a few words.
fn kind(schema: &Value) -> String {
    if let Some(name) = text(&schema["$ref"]).rsplit('/').next().filter(|name| !name.is_empty()) {
        return format!("<a href=\"#schema-{0}\">{0}</a>", escape(name));
    }
    for several in ["oneOf", "anyOf", "allOf"] {
        let kinds: Vec<String> = list(&schema[several]).iter().map(kind).collect();
        if !kinds.is_empty() {
            return kinds.join(if several == "allOf" { " and " } else { " or " });
        }
    }
    let values: Vec<String> = list(&schema["enum"])
        .iter()
        .map(|value| format!("<code>{}</code>", escape(text(value))))
        .collect();
    if !values.is_empty() {
        return values.join(", ");
    }
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().map(text).collect::<Vec<_>>().join(" or "),
        one => text(one).to_owned(),
    };
    if kinds == "array" {
        return format!("list of {}", kind(&schema["items"]));
    }
    let mut html = escape(&kinds);
    for (field, word) in [
        ("minLength", "at least"),
        ("maxLength", "at most"),
        ("minimum", "from"),
        ("maximum", "to"),
        ("default", "default"),
        ("pattern", "like"),
    ] {
        match &schema[field] {
            Value::Null => {}
            Value::String(value) => {
                put(&mut html, format_args!(", {word} <code>{}</code>", escape(value)));
            }
            value if field.ends_with("Length") => {
                put(&mut html, format_args!(", {word} {value} characters"));
            }
            value => put(&mut html, format_args!(", {word} {value}")),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_stay_texts() {
        assert_eq!(
            prose("a <b>\n\n`c & d` **e**"),
            "<p>a &lt;b&gt;</p>\n<p><code>c &amp; d</code> <strong>e</strong></p>\n"
        );
    }

    #[test]
    fn schemas_in_a_few_words() {
        for (schema, expected) in [
            (json!({ "$ref": "#/components/schemas/User" }), "<a href=\"#schema-User\">User</a>"),
            (json!({ "type": "array", "items": { "type": "string" } }), "list of string"),
            (json!({ "type": ["boolean", "null"] }), "boolean or null"),
            (
                json!({ "type": "string", "enum": ["text", "voice"] }),
                "<code>text</code>, <code>voice</code>",
            ),
            (json!({ "type": "integer", "minimum": 1, "maximum": 100 }), "integer, from 1, to 100"),
            (json!({ "type": "string", "maxLength": 64 }), "string, at most 64 characters"),
        ] {
            assert_eq!(kind(&schema), expected);
        }
    }
}
