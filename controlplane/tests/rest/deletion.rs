//! What is deleted leaves nothing behind, and takes nothing else along.

use hype_control::store::Store;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::server::{Folder, Server, config};

/// Rows of a table.
async fn count(store: &Store, table: &'static str) -> i64 {
    let sql = match table {
        "messages" => "SELECT COUNT(*) FROM messages",
        "message_words" => "SELECT COUNT(*) FROM message_words",
        "overwrites" => "SELECT COUNT(*) FROM overwrites",
        "guilds" => "SELECT COUNT(*) FROM guilds",
        "members" => "SELECT COUNT(*) FROM members",
        "roles" => "SELECT COUNT(*) FROM roles",
        "invites" => "SELECT COUNT(*) FROM invites",
        "memberships" => "SELECT COUNT(*) FROM memberships",
        "channel_directory" => "SELECT COUNT(*) FROM channel_directory",
        "invite_directory" => "SELECT COUNT(*) FROM invite_directory",
        "guild_directory" => "SELECT COUNT(*) FROM guild_directory",
        "doomed" => "SELECT COUNT(*) FROM doomed",
        other => panic!("no count of {other}"),
    };
    sqlx::query_scalar(sql).fetch_one(store.accounts().readers()).await.expect("counted")
}

#[tokio::test]
async fn a_deleted_channel_and_a_deleted_guild_are_gone_for_good() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Server::start(config(&folder)).await;
    let ada = server.register("Ada").await;
    let (kept, kept_text, _) = server.guild(&ada).await;
    let (gone, gone_text, _) = server.guild(&ada).await;
    let bob = server.register("Bob").await;
    for guild in [&kept, &gone] {
        server.invite(&ada, guild, &bob).await;
    }
    let channels = format!("/api/v1/guilds/{kept}/channels");
    let body = json!({ "name": "short-lived", "kind": "text" });
    let (_, channel) = server.post(&channels, &ada, body).await;
    let short = channel["id"].as_str().expect("an id").to_owned();
    for (channel, messages) in [(&kept_text, 2), (&short, 3), (&gone_text, 3)] {
        let path = format!("/api/v1/channels/{channel}/messages");
        for _ in 0..messages {
            let (status, _) = server.post(&path, &ada, json!({ "content": "hello" })).await;
            assert_eq!(status, StatusCode::CREATED);
        }
        let path = format!("/api/v1/channels/{channel}/overwrites/{}", bob.id);
        let body = json!({ "kind": "member", "allow": "0", "deny": "2048" });
        let answer = server.call(Method::PUT, &path, Some(&ada.token), Some(body)).await;
        assert_eq!(answer.0, StatusCode::NO_CONTENT, "{}", answer.1);
    }
    for path in [format!("/api/v1/channels/{short}"), format!("/api/v1/guilds/{gone}")] {
        let answer = server.call(Method::DELETE, &path, Some(&ada.token), None).await;
        assert_eq!(answer.0, StatusCode::NO_CONTENT);
        assert_eq!(server.get(&path, &ada).await.0, StatusCode::NOT_FOUND);
    }
    let page = server.get(&format!("/api/v1/channels/{gone_text}/messages"), &ada).await;
    assert_eq!(page.0, StatusCode::NOT_FOUND);
    assert_eq!(server.get("/api/v1/guilds", &bob).await.1.as_array().map(Vec::len), Some(1));
    server.stop().await;
    let store = Store::open_sqlite(&data.join("hype.sqlite"), 2).await.expect("opened");
    // The rest of what the stopped server had begun.
    store.remove_doomed().await.expect("removed");
    for (table, rows) in [
        ("doomed", 0),
        ("messages", 2),
        ("message_words", 2),
        ("overwrites", 1),
        ("guilds", 1),
        ("guild_directory", 1),
        ("members", 2),
        ("memberships", 2),
        ("roles", 1),
        ("invites", 1),
        ("invite_directory", 1),
        ("channel_directory", 2),
    ] {
        assert_eq!(count(&store, table).await, rows, "{table}");
    }
    assert_eq!(store.remove_doomed().await.expect("nothing to do"), 0);
    store.close().await;
}
