//! Messages over REST: sending, paging, and bodies that are no good.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::server::{Folder, Person, Server, assert_error, config};

#[tokio::test]
async fn messages_are_paged_newest_first() {
    let folder = Folder::new();
    let mut config = config(&folder);
    config.limits.message = hype_control::config::Rate::new(1000, 1000);
    let server = Server::start(config).await;
    let ada = server.register("Ada").await;
    let (guild, text, _) = server.guild(&ada).await;
    let path = format!("/api/v1/channels/{text}/messages");
    let mut ids = Vec::new();
    for number in 0..60 {
        let body = json!({ "content": format!(" number {number}\n") });
        let (status, message) = server.post(&path, &ada, body).await;
        assert_eq!(status, StatusCode::CREATED, "{message}");
        assert_eq!(message["content"], format!("number {number}"));
        assert_eq!(message["guild_id"], guild);
        assert_eq!(message["author"], json!({ "id": ada.id, "name": "Ada" }));
        ids.push(message["id"].as_str().expect("an id is a string").to_owned());
    }
    let page = async |query: &str| {
        let (status, page) = server.get(&format!("{path}{query}"), &ada).await;
        assert_eq!(status, StatusCode::OK, "{query}: {page}");
        let page: Vec<Value> = page.as_array().expect("a list").clone();
        page.iter()
            .map(|message| ids.iter().position(|id| message["id"] == *id).expect("one of ours"))
            .collect::<Vec<_>>()
    };
    let down = |from: usize, to: usize| (to..=from).rev().collect::<Vec<_>>();
    assert_eq!(page("").await, down(59, 10));
    assert_eq!(page("?limit=100").await, down(59, 0));
    assert_eq!(page(&format!("?before={}&limit=4", ids[10])).await, down(9, 6));
    assert_eq!(page(&format!("?before={}", ids[0])).await, Vec::<usize>::new());
    assert_eq!(page(&format!("?after={}&limit=4", ids[10])).await, down(14, 11));
    assert_eq!(page(&format!("?after={}", ids[58])).await, [59]);
    assert_eq!(page(&format!("?around={}&limit=4", ids[10])).await, down(12, 9));
    for query in [
        "?limit=0",
        "?limit=101",
        "?limit=x",
        "?before=x",
        "?before=1&after=2",
        "?around=1&after=2",
    ] {
        assert_error(&server.get(&format!("{path}{query}"), &ada).await, 400, "invalid_request");
    }
    server.stop().await;
}

#[tokio::test]
async fn bodies_that_are_no_good_are_refused_with_a_reason() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let ada = server.register("Ada").await;
    let (_, text, _) = server.guild(&ada).await;
    let path = format!("/api/v1/channels/{text}/messages");
    let json_type = "application/json";
    let large = format!("{{\"content\":\"{}\"}}", "x".repeat(70_000));
    let long = format!("{{\"content\":\"{}\"}}", "x".repeat(4001));
    let deep = format!("{{\"content\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    for (content_type, body, status, code) in [
        (json_type, "", 400, "invalid_request"),
        (json_type, "{", 400, "invalid_request"),
        (json_type, "null", 400, "invalid_request"),
        (json_type, "{\"content\":1}", 400, "invalid_request"),
        (json_type, "{\"content\":\"hi\",\"x\":1}", 400, "invalid_request"),
        (json_type, "{\"content\":\"hi\"} trailing", 400, "invalid_request"),
        (json_type, "{\"content\":\"a\",\"content\":\"b\"}", 400, "invalid_request"),
        (json_type, "{\"content\":\" \\n \"}", 400, "invalid_request"),
        (json_type, "{\"content\":\"\\u0007\"}", 400, "invalid_request"),
        (json_type, "{\"content\":\"\\ud800\"}", 400, "invalid_request"),
        (json_type, &long, 400, "invalid_request"),
        (json_type, &deep, 400, "invalid_request"),
        (json_type, &large, 413, "body_too_large"),
        (json_type, "[\"hi\"]", 400, "invalid_request"),
        ("text/plain", "{\"content\":\"hi\"}", 415, "unsupported_media_type"),
        ("application/json; charset=utf-8", "{\"content\":\"hi\"}", 201, ""),
    ] {
        let response = server
            .request(Method::POST, &path)
            .bearer_auth(&ada.token)
            .header("content-type", content_type)
            .body(body.to_owned())
            .send()
            .await
            .expect("an answer");
        let status_code = response.status();
        let value: Value = response.json().await.expect("JSON");
        if status == 201 {
            assert_eq!(status_code, StatusCode::CREATED, "{value}");
        } else {
            assert_error(&(status_code, value), status, code);
        }
    }
    let not_utf8 = server
        .request(Method::POST, &path)
        .bearer_auth(&ada.token)
        .header("content-type", json_type)
        .body(b"{\"content\":\"\xff\"}".to_vec())
        .send()
        .await
        .expect("an answer");
    assert_eq!(not_utf8.status(), StatusCode::BAD_REQUEST);
    server.stop().await;
}

#[tokio::test]
async fn messages_are_changed_by_their_author_and_removed_by_the_owner_too() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let (ada, bob) = (server.register("Ada").await, server.register("Bob").await);
    let (guild, text, voice) = server.guild(&ada).await;
    server.invite(&ada, &guild, &bob).await;
    let path = format!("/api/v1/channels/{text}/messages");
    let mut ids = Vec::new();
    for (who, content) in [(&bob, "Crème one"), (&bob, "creme two"), (&ada, "CREME three")] {
        let (status, message) = server.post(&path, who, json!({ "content": content })).await;
        assert_eq!(status, StatusCode::CREATED, "{message}");
        ids.push(message["id"].as_str().expect("an id is a string").to_owned());
    }
    let change = async |method: Method, who: &Person, id: &str, body: Option<Value>| {
        server.call(method, &format!("{path}/{id}"), Some(&who.token), body).await
    };
    let body = Some(json!({ "content": " changed " }));
    let (status, edited) = change(Method::PATCH, &bob, &ids[0], body.clone()).await;
    assert_eq!(status, StatusCode::OK, "{edited}");
    assert_eq!(edited["content"], "changed");
    assert!(edited["edited_at_ms"].as_u64() >= edited["created_at_ms"].as_u64());
    let (_, page) = server.get(&path, &ada).await;
    assert_eq!(page[2], edited);
    assert_error(&change(Method::PATCH, &ada, &ids[0], body.clone()).await, 403, "forbidden");
    assert_error(&change(Method::PATCH, &bob, "12345", body).await, 404, "not_found");
    let empty = Some(json!({ "content": " " }));
    assert_error(&change(Method::PATCH, &bob, &ids[0], empty).await, 400, "invalid_request");

    let search = async |query: &str| {
        let path = format!("/api/v1/guilds/{guild}/messages/search?{query}");
        let (status, found) = server.get(&path, &bob).await;
        assert_eq!(status, StatusCode::OK, "{query}: {found}");
        let found = found.as_array().expect("a list").clone();
        let place = |one: &Value| ids.iter().position(|id| one["id"] == **id).expect("ours");
        found.iter().map(place).collect::<Vec<_>>()
    };
    assert_eq!(search("q=CR%C3%88ME").await, [2, 1]);
    assert_eq!(search(&format!("q=creme&from={}", bob.id)).await, [1]);
    assert_eq!(search(&format!("from={}&in={text}&limit=1", bob.id)).await, [1]);
    assert_eq!(search(&format!("from={}&before={}", bob.id, ids[1])).await, [0]);
    assert_eq!(search(&format!("q=creme&after={}", ids[1])).await, [2]);
    assert_eq!(search(&format!("q=creme&in={voice}")).await, [] as [usize; 0]);
    for query in ["", "q=", "q=%21", "q=a&limit=26", "q=a&limit=0", "q=a&x=1"] {
        let path = format!("/api/v1/guilds/{guild}/messages/search?{query}");
        assert_error(&server.get(&path, &bob).await, 400, "invalid_request");
    }
    let (_, foreign, _) = server.guild(&bob).await;
    let path_in = format!("/api/v1/guilds/{guild}/messages/search?q=a&in={foreign}");
    assert_error(&server.get(&path_in, &bob).await, 404, "not_found");

    assert_error(&change(Method::DELETE, &bob, &ids[2], None).await, 403, "missing_permission");
    assert_eq!(change(Method::DELETE, &bob, &ids[1], None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(change(Method::DELETE, &ada, &ids[0], None).await.0, StatusCode::NO_CONTENT);
    assert_error(&change(Method::DELETE, &ada, &ids[0], None).await, 404, "not_found");
    assert_eq!(search("q=creme").await, [2]);
    // What one does to others' messages is told; what one does to one's own is nobody's business.
    let (_, log) = server.get(&format!("/api/v1/guilds/{guild}/audit-log"), &ada).await;
    let log = log.as_array().expect("a list").iter();
    let deletions: Vec<_> = log.filter(|entry| entry["action"] == "message.delete").collect();
    assert_eq!(deletions.len(), 1, "{deletions:?}");
    assert_eq!(deletions[0]["target_id"], bob.id);
    assert_eq!(deletions[0]["changes"], json!({ "message_id": { "from": ids[0], "to": null } }));
    assert_eq!(deletions[0]["channel_id"], text);
    server.stop().await;
}
