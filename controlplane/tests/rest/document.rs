//! The OpenAPI document and its readable page.

use std::collections::HashSet;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::server::{Folder, Server, config};

async fn document(server: &Server) -> Value {
    let (status, document) = server.call(Method::GET, "/api/v1/openapi.json", None, None).await;
    assert_eq!(status, StatusCode::OK);
    document
}

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let all = paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().expect("operations by method");
        item.iter().map(|(method, one)| (path.clone(), method.clone(), one.clone()))
    });
    all.collect()
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| references(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

/// The codes that an operation may answer with a status.
fn codes<'a>(operation: &'a Value, status: &str) -> Vec<&'a str> {
    let codes = operation["responses"][status]["x-error-codes"].as_array();
    codes.into_iter().flatten().filter_map(Value::as_str).collect()
}

#[tokio::test]
async fn the_document_is_whole() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let document = document(&server).await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 50, "{found:?}");
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("within the document");
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let operations = operations(&document);
    assert!(operations.len() >= 19, "{}", operations.len());
    let mut ids = HashSet::new();
    for (path, method, operation) in &operations {
        let name = format!("{method} {path}");
        assert!(operation["summary"].as_str().is_some_and(|it| it.len() > 4), "{name}");
        assert!(ids.insert(operation["operationId"].as_str().expect("an id")), "{name}");
        let responses = operation["responses"].as_object().expect("answers");
        assert!(responses.keys().any(|status| status.starts_with('2')), "{name}");
        for (status, response) in responses {
            assert!(response["description"].as_str().is_some_and(|it| !it.is_empty()), "{name}");
            assert!(response["headers"].get("x-request-id").is_some(), "{name} {status}");
        }
        if path.starts_with("/api/") {
            assert_eq!(codes(operation, "429"), ["rate_limited"], "{name}");
            let open = operation.get("security").is_some();
            assert_eq!(codes(operation, "401").contains(&"unauthenticated"), !open, "{name}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn an_operation_tells_what_it_takes_and_answers() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let document = document(&server).await;
    let paths = &document["paths"];
    let send = &paths["/api/v1/channels/{channel}/messages"]["post"];
    assert_eq!(codes(send, "400"), ["invalid_request", "not_a_text_channel"]);
    assert_eq!(codes(send, "404"), ["not_found"]);
    assert_eq!(codes(send, "409"), ["idempotency_conflict"]);
    assert_eq!(codes(send, "422"), ["idempotency_key_reused"]);
    let pointer = "/requestBody/content/application~1json/schema/$ref";
    assert_eq!(send.pointer(pointer).expect("a body"), "#/components/schemas/NewMessage");
    let made = &send["responses"]["201"];
    assert_eq!(
        made["content"]["application/json"]["schema"]["$ref"],
        "#/components/schemas/Message"
    );
    for header in ["x-ratelimit-limit", "x-ratelimit-bucket", "idempotency-replayed"] {
        assert!(made["headers"].get(header).is_some(), "{header}");
    }
    let page = &paths["/api/v1/channels/{channel}/messages"]["get"];
    let parameters = page["parameters"].as_array().expect("parameters");
    let limit = parameters.iter().find(|one| one["name"] == "limit").expect("it is there");
    assert_eq!(
        (&limit["schema"]["minimum"], &limit["schema"]["maximum"]),
        (&1.into(), &100.into())
    );
    assert_eq!(page["responses"].get("422"), None, "nothing is made");
    let id = &document["components"]["schemas"]["ChannelId"];
    assert_eq!((&id["type"], &id["pattern"]), (&"string".into(), &"^[0-9]{1,20}$".into()));
    let body = &document["components"]["schemas"]["NewGuild"];
    assert_eq!(body["additionalProperties"], false);
    server.stop().await;
}

#[tokio::test]
async fn the_page_shows_every_operation() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let document = document(&server).await;
    let response = server.request(Method::GET, "/api/v1/docs").send().await.expect("an answer");
    assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
    let policy = response.headers()["content-security-policy"].to_str().expect("text").to_owned();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    let page = response.text().await.expect("text");
    for (path, method, operation) in operations(&document) {
        let summary = operation["summary"].as_str().expect("a summary");
        assert!(page.contains(&format!("<code>{path}</code>")), "{method} {path}");
        assert!(page.contains(summary), "{method} {path}");
    }
    for (name, _) in document["components"]["schemas"].as_object().expect("schemas") {
        assert!(page.contains(&format!("id=\"schema-{name}\"")), "{name}");
    }
    for link in page.split("href=\"#").skip(1) {
        let target = link.split('"').next().expect("it ends");
        assert!(page.contains(&format!("id=\"{target}\"")), "#{target} leads nowhere");
    }
    assert!(!page.contains("http://") && !page.contains("https://"), "it asks nobody else");
    server.stop().await;
}
