//! `Idempotency-Key`: what is sent again makes nothing twice.

use std::time::{Duration, Instant};

use hype_control::config::Rate;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::server::{Folder, Person, Server, assert_error, config};

async fn post(server: &Server, path: &str, who: &Person, key: &str, body: &Value) -> Response {
    let request = server.request(Method::POST, path).bearer_auth(&who.token);
    request.header("idempotency-key", key).json(body).send().await.expect("an answer")
}

/// Whether it was answered before, the status, and the body.
async fn read(response: Response) -> (bool, StatusCode, Value) {
    let replayed = response.headers().get("idempotency-replayed").is_some_and(|it| it == "true");
    let (kind, status) = (response.headers()["content-type"].clone(), response.status());
    assert_eq!(kind, "application/json");
    (replayed, status, response.json().await.expect("JSON"))
}

#[tokio::test]
async fn the_same_request_again_gets_the_same_answer_and_makes_nothing() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let (ada, bob) = (server.register("Ada").await, server.register("Bob").await);
    let (guild, text, _) = server.guild(&ada).await;
    server.invite(&ada, &guild, &bob).await;
    let messages = format!("/api/v1/channels/{text}/messages");
    let paths = [
        ("/api/v1/guilds".to_owned(), json!({ "name": "More" })),
        (format!("/api/v1/guilds/{guild}/channels"), json!({ "name": "more", "kind": "text" })),
        (format!("/api/v1/guilds/{guild}/invites"), json!({})),
        (messages.clone(), json!({ "content": "hi" })),
    ];
    for (index, (path, body)) in paths.iter().enumerate() {
        let key = format!("key-{index}");
        let first = read(post(&server, path, &ada, &key, body).await).await;
        assert_eq!((first.0, first.1), (false, StatusCode::CREATED), "{path}: {}", first.2);
        let again = read(post(&server, path, &ada, &key, body).await).await;
        assert_eq!(again, (true, first.1, first.2), "{path}");
    }
    // Another request under a used key: another body, another path.
    for (path, body) in [(&messages, json!({ "content": "ho" })), (&paths[0].0, paths[0].1.clone())]
    {
        let (_, status, error) = read(post(&server, path, &ada, "key-3", &body).await).await;
        assert_error(&(status, error), 422, "idempotency_key_reused");
    }
    // Keys are a person's own, and without one nothing is kept.
    let others = read(post(&server, &messages, &bob, "key-3", &paths[3].1).await).await;
    assert_eq!((others.0, others.1), (false, StatusCode::CREATED));
    server.post(&messages, &ada, paths[3].1.clone()).await;
    let sent = server.get(&messages, &ada).await.1;
    assert_eq!(sent.as_array().map(Vec::len), Some(3), "{sent}");
    server.stop().await;
}

/// Leaves the key of a request as a replica does that dies once the thing is made: not answered, and
/// begun longer ago than any request takes.
async fn forget_answer(folder: &Folder, who: &Person, key: &str) {
    let options = SqliteConnectOptions::new().filename(folder.path().join("data/hype.sqlite"));
    let mut connection = options.connect().await.expect("the file opens");
    let sql = "UPDATE idempotency_keys SET status = 0, body = '', \
               created_at_ms = created_at_ms - 61000 \
               WHERE user_id = $1 AND key = $2 AND status = 201";
    let user: i64 = who.id.parse().expect("an id");
    let query = sqlx::query(sql).bind(user).bind(key);
    let done = query.execute(&mut connection).await.expect("written");
    assert_eq!(done.rows_affected(), 1);
    connection.close().await.expect("closed");
}

#[tokio::test]
async fn a_message_whose_answer_was_lost_with_its_replica_is_not_sent_again() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let (ada, bob) = (server.register("Ada").await, server.register("Bob").await);
    let (guild, text, _) = server.guild(&ada).await;
    server.invite(&ada, &guild, &bob).await;
    let path = format!("/api/v1/channels/{text}/messages");
    let body = json!({ "content": "hi" });
    // Neither another's message under the same key nor an own one without it is taken for it.
    let others = read(post(&server, &path, &bob, "key", &body).await).await;
    let first = read(post(&server, &path, &ada, "key", &body).await).await;
    assert_eq!((first.1, others.1), (StatusCode::CREATED, StatusCode::CREATED));
    server.post(&path, &ada, body.clone()).await;
    for _ in 0..2 {
        forget_answer(&folder, &ada, "key").await;
        let again = read(post(&server, &path, &ada, "key", &body).await).await;
        assert_eq!(again, (false, first.1, first.2.clone()), "it is found, and kept again");
    }
    let sent = server.get(&path, &ada).await.1;
    assert_eq!(sent.as_array().map(Vec::len), Some(3), "{sent}");
    // What was not made by the try before is made by this one.
    let missing = format!("{path}/{}", first.2["id"].as_str().expect("an id"));
    server.call(Method::DELETE, &missing, Some(&ada.token), None).await;
    forget_answer(&folder, &ada, "key").await;
    let anew = read(post(&server, &path, &ada, "key", &body).await).await;
    assert_eq!((anew.0, anew.1), (false, StatusCode::CREATED));
    assert_ne!(anew.2["id"], first.2["id"]);
    server.stop().await;
}

#[tokio::test]
async fn of_many_at_once_one_is_done() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let ada = server.register("Ada").await;
    let (_, text, _) = server.guild(&ada).await;
    let path = format!("/api/v1/channels/{text}/messages");
    let body = json!({ "content": "hi" });
    let tries = (0..8).map(|_| async { read(post(&server, &path, &ada, "k", &body).await).await });
    let answers = futures_util::future::join_all(tries).await;
    let sent = server.get(&path, &ada).await.1;
    assert_eq!(sent.as_array().map(Vec::len), Some(1), "{sent}");
    let first = answers.iter().filter(|answer| !answer.0 && answer.1 == StatusCode::CREATED);
    assert_eq!(first.count(), 1, "{answers:?}");
    for (replayed, status, body) in answers {
        if status == StatusCode::CREATED {
            assert_eq!(body, sent[0], "{replayed}");
        } else {
            assert_error(&(status, body.clone()), 409, "idempotency_conflict");
            assert_eq!(body["error"]["retry_after_ms"], 1000);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_refusal_leaves_its_key_free_and_a_bad_key_is_refused() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let ada = server.register("Ada").await;
    let guilds = "/api/v1/guilds";
    for body in [json!({ "name": "" }), json!({ "name": 1 })] {
        let (_, status, error) = read(post(&server, guilds, &ada, "key", &body).await).await;
        assert_error(&(status, error), 400, "invalid_request");
    }
    let body = json!({ "name": "Home" });
    let made = read(post(&server, guilds, &ada, "key", &body).await).await;
    assert_eq!((made.0, made.1), (false, StatusCode::CREATED), "{}", made.2);
    for key in ["", "with space", "\u{e9}", &"k".repeat(65)] {
        let (_, status, error) = read(post(&server, guilds, &ada, key, &body).await).await;
        assert_error(&(status, error), 400, "invalid_request");
    }
    let (_, status, _) = read(post(&server, guilds, &ada, &"k".repeat(64), &body).await).await;
    assert_eq!(status, StatusCode::CREATED);
    let nobody = Person { token: "none".to_owned(), ..ada.clone() };
    let (_, status, error) = read(post(&server, guilds, &nobody, "key", &body).await).await;
    assert_error(&(status, error), 401, "unauthenticated");
    // The limit of a body holds before a handler sees it.
    let large = json!({ "name": "x".repeat(70_000) });
    let (_, status, error) = read(post(&server, guilds, &ada, "large", &large).await).await;
    assert_error(&(status, error), 413, "body_too_large");
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_goes_away_finds_its_answer() {
    let folder = Folder::new();
    let mut config = config(&folder);
    // It asks until it is answered, and the limits are not what is tested.
    config.limits.message = Rate::new(100_000, 100_000);
    config.limits.user = Rate::new(100_000, 100_000);
    let server = Server::start(config).await;
    let ada = server.register("Ada").await;
    let (_, text, _) = server.guild(&ada).await;
    let path = format!("/api/v1/channels/{text}/messages");
    let body = json!({ "content": "hi" });
    let json = body.to_string();
    for key in 0..16 {
        let mut stream = TcpStream::connect(server.address).await.expect("connected");
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: hype\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\nidempotency-key: {key}\r\ncontent-length: {}\r\n\r\n{json}",
            ada.token,
            json.len(),
        );
        stream.write_all(request.as_bytes()).await.expect("written");
        drop(stream);
        // Whether the server had begun or not: asking again ends with the one message.
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            assert!(Instant::now() < deadline, "key {key} is held by nobody");
            let (_, status, answer) =
                read(post(&server, &path, &ada, &key.to_string(), &body).await).await;
            if status == StatusCode::CREATED {
                break;
            }
            assert_error(&(status, answer), 409, "idempotency_conflict");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    let sent = server.get(&path, &ada).await.1;
    assert_eq!(sent.as_array().map(Vec::len), Some(16), "{sent}");
    server.stop().await;
}
