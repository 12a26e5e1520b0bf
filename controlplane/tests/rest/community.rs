//! What a community needs: channels in order, members who come and go, bans, invites that end.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::server::{Folder, Person, Server, assert_error, config};

async fn call(
    server: &Server,
    who: &Person,
    method: &str,
    path: &str,
    body: Value,
) -> (u16, Value) {
    let method: Method = method.parse().expect("a method");
    let body = (!body.is_null()).then_some(body);
    let path = format!("/api/v1{path}");
    let (status, answer) = server.call(method, &path, Some(&who.token), body).await;
    (status.as_u16(), answer)
}

fn ids(list: &Value) -> Vec<&str> {
    let items = list.as_array().expect("a list").iter();
    items.map(|item| item["id"].as_str().expect("an id")).collect()
}

#[tokio::test]
async fn channels_change_and_stand_in_order() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let (ada, bob) = (server.register("Ada").await, server.register("Bob").await);
    let (guild, text, voice) = server.guild(&ada).await;
    server.invite(&ada, &guild, &bob).await;
    let channels = format!("/guilds/{guild}/channels");
    let category = json!({ "name": "Staff", "kind": "category" });
    let (_, category) = call(&server, &ada, "POST", &channels, category).await;
    let category = category["id"].as_str().expect("an id").to_owned();
    let overwrite = format!("/channels/{category}/overwrites/{guild}");
    let hide = json!({ "kind": "role", "allow": "0", "deny": "1024" });
    assert_eq!(call(&server, &ada, "PUT", &overwrite, hide).await.0, 204);
    let inside = json!({ "name": "plans", "kind": "text", "parent_id": category, "topic": " t " });
    let (status, inside) = call(&server, &ada, "POST", &channels, inside).await;
    assert_eq!((status, &inside["topic"], &inside["position"]), (201, &json!("t"), &json!(2)));
    assert_eq!(inside["overwrites"][0]["deny"], "1024", "as hidden as what it stands in");
    let inside = inside["id"].as_str().expect("an id");
    let seen = async |who: &Person| {
        call(&server, who, "GET", &format!("/guilds/{guild}"), Value::Null).await.1
    };
    assert_eq!(ids(&seen(&bob).await["channels"]), [&*text, &*voice]);
    let order = json!([
        { "id": inside, "position": 0, "parent_id": null },
        { "id": text, "position": 5 },
    ]);
    assert_eq!(call(&server, &ada, "PATCH", &channels, order).await, (204, Value::Null));
    assert_eq!(ids(&seen(&ada).await["channels"]), [&*voice, inside, &*category, &*text]);
    for (path, body, status) in [
        (&text, json!({ "name": " main ", "topic": "all" }), 200),
        (&text, json!({ "parent_id": category }), 200),
        (&text, json!({ "parent_id": voice }), 400),
        (&text, json!({ "parent_id": "12345" }), 400),
        (&text, json!({ "user_limit": 5 }), 400),
        (&text, json!({ "kind": "voice" }), 400),
        (&text, json!({ "topic": "x".repeat(1025) }), 400),
        (&voice, json!({ "bitrate": 64_000, "user_limit": 9, "voice_mode": "sfu" }), 200),
        (&voice, json!({ "bitrate": 7_999 }), 400),
        (&voice, json!({ "bitrate": 510_001 }), 400),
        (&category, json!({ "parent_id": category }), 400),
        (&category, json!({ "topic": "t" }), 400),
    ] {
        let answer = call(&server, &ada, "PATCH", &format!("/channels/{path}"), body.clone()).await;
        assert_eq!(answer.0, status, "{body}: {}", answer.1);
    }
    let changed = call(&server, &ada, "GET", &format!("/channels/{voice}"), Value::Null).await.1;
    assert_eq!((&changed["bitrate"], &changed["voice_mode"]), (&json!(64_000), &json!("sfu")));
    let members = format!("/channels/{inside}/members");
    assert_eq!(ids(&call(&server, &ada, "GET", &members, Value::Null).await.1), [&*ada.id]);
    assert_eq!(
        call(&server, &ada, "DELETE", &format!("/channels/{category}"), Value::Null).await.0,
        204
    );
    let left = call(&server, &ada, "GET", &format!("/channels/{text}"), Value::Null).await.1;
    assert_eq!((&left["parent_id"], &left["name"]), (&Value::Null, &json!("main")));
    assert_eq!(
        call(&server, &ada, "GET", &format!("/channels/{category}"), Value::Null).await.0,
        404
    );
    server.stop().await;
}

#[tokio::test]
async fn members_are_paged_by_their_ids() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let ada = server.register("Ada").await;
    let (guild, text, _) = server.guild(&ada).await;
    let mut all = vec![ada.id.clone()];
    for name in ["Bob", "Cem", "Dan"] {
        let person = server.register(name).await;
        server.invite(&ada, &guild, &person).await;
        all.push(person.id);
    }
    for list in [format!("/guilds/{guild}/members"), format!("/channels/{text}/members")] {
        let mut found: Vec<String> = Vec::new();
        loop {
            let after = found.last().map_or("0", String::as_str);
            let path = format!("{list}?after={after}&limit=3");
            let page = call(&server, &ada, "GET", &path, Value::Null).await.1;
            if ids(&page).is_empty() {
                break;
            }
            found.extend(ids(&page).into_iter().map(str::to_owned));
        }
        assert_eq!(found, all, "{list}");
    }
    for limit in ["0", "101", "x"] {
        let path = format!("/guilds/{guild}/members?limit={limit}");
        assert_eq!(call(&server, &ada, "GET", &path, Value::Null).await.0, 400);
    }
    server.stop().await;
}

#[tokio::test]
async fn who_is_banned_does_not_come_back_until_he_may() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let (ada, bob, eve) =
        (server.register("Ada").await, server.register("Bob").await, server.register("Eve").await);
    let (guild, _, _) = server.guild(&ada).await;
    server.invite(&ada, &guild, &bob).await;
    let ban = format!("/guilds/{guild}/bans/{}", bob.id);
    assert_eq!(call(&server, &ada, "PUT", &ban, json!({ "reason": "spam" })).await.0, 204);
    assert_eq!(
        call(&server, &ada, "PUT", &ban, Value::Null).await.0,
        204,
        "again: nothing changes"
    );
    // Also who has never been there; but nobody who is not anywhere.
    let other = format!("/guilds/{guild}/bans/{}", eve.id);
    assert_eq!(call(&server, &ada, "PUT", &other, Value::Null).await.0, 204);
    let nobody = format!("/guilds/{guild}/bans/12345");
    assert_eq!(call(&server, &ada, "PUT", &nobody, Value::Null).await.0, 404);
    assert_eq!(server.get("/api/v1/guilds", &bob).await.1, json!([]));
    let list = format!("/guilds/{guild}/bans");
    let bans = call(&server, &ada, "GET", &list, Value::Null).await.1;
    assert_eq!(bans[0]["user"], json!({ "id": bob.id, "name": "Bob" }));
    assert_eq!((&bans[0]["reason"], &bans[0]["moderator_id"]), (&json!("spam"), &json!(ada.id)));
    assert_eq!(bans.as_array().map(Vec::len), Some(2));
    let invites = format!("/guilds/{guild}/invites");
    let code = call(&server, &ada, "POST", &invites, Value::Null).await.1["code"].clone();
    let accept = format!("/invites/{}/accept", code.as_str().expect("a code"));
    for person in [&bob, &eve] {
        let refused = call(&server, person, "POST", &accept, Value::Null).await;
        assert_eq!((refused.0, &refused.1["error"]["code"]), (403, &json!("banned")));
    }
    assert_eq!(call(&server, &ada, "DELETE", &ban, Value::Null).await.0, 204);
    assert_eq!(call(&server, &ada, "DELETE", &ban, Value::Null).await.0, 404);
    assert_eq!(call(&server, &bob, "POST", &accept, Value::Null).await.0, 200);
    server.stop().await;
}

#[tokio::test]
async fn an_invite_lets_in_as_many_as_it_says() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let ada = server.register("Ada").await;
    let (guild, _, _) = server.guild(&ada).await;
    let invites = format!("/guilds/{guild}/invites");
    let once = json!({ "max_uses": 1, "expires_in_s": 3600 });
    let (status, invite) = call(&server, &ada, "POST", &invites, once).await;
    assert_eq!((status, &invite["max_uses"], &invite["uses"]), (201, &json!(1), &json!(0)));
    let lasts = invite["expires_at_ms"].as_u64().zip(invite["created_at_ms"].as_u64());
    assert_eq!(lasts.map(|(until, since)| until - since), Some(3_600_000));
    let code = invite["code"].as_str().expect("a code").to_owned();
    let accept = format!("/invites/{code}/accept");
    let people = [server.register("Bob").await, server.register("Eve").await];
    // Both at once.
    let answers = tokio::join!(
        call(&server, &people[0], "POST", &accept, Value::Null),
        call(&server, &people[1], "POST", &accept, Value::Null),
    );
    let mut statuses = [answers.0.0, answers.1.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 404]);
    let inside = usize::from(answers.0.0 != 200);
    let again = call(&server, &people[inside], "POST", &accept, Value::Null).await;
    assert_eq!(again.0, 404, "it has let in as many as it may");
    assert_eq!(server.get(&format!("/api/v1/invites/{code}"), &ada).await.0, StatusCode::NOT_FOUND);
    for wrong in [json!({ "max_uses": 1001 }), json!({ "expires_in_s": 2_592_001 })] {
        assert_eq!(call(&server, &ada, "POST", &invites, wrong).await.0, 400);
    }
    // Whoever made one may end it; others need MANAGE_GUILD.
    let own = call(&server, &people[inside], "POST", &invites, Value::Null).await.1;
    let revoke = format!("{invites}/{}", own["code"].as_str().expect("a code"));
    assert_eq!(call(&server, &people[inside], "DELETE", &revoke, Value::Null).await.0, 204);
    assert_eq!(call(&server, &ada, "DELETE", &revoke, Value::Null).await.0, 404);
    let list = call(&server, &ada, "GET", &invites, Value::Null).await.1;
    assert!(list.as_array().is_some_and(|list| list.iter().all(|one| one["code"] != own["code"])));
    server.stop().await;
}

#[tokio::test]
async fn a_guild_changes_hands() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let (ada, bob) = (server.register("Ada").await, server.register("Bob").await);
    let (guild, _, _) = server.guild(&ada).await;
    let path = format!("/guilds/{guild}");
    let give = json!({ "owner_id": bob.id });
    assert_eq!(call(&server, &ada, "PATCH", &path, give.clone()).await.0, 404, "he is no member");
    server.invite(&ada, &guild, &bob).await;
    let leave = format!("{path}/members/me");
    let stay = call(&server, &ada, "DELETE", &leave, Value::Null).await;
    assert_eq!((stay.0, &stay.1["error"]["code"]), (409, &json!("owner_stays")));
    assert_eq!(call(&server, &bob, "PATCH", &path, give.clone()).await.0, 403);
    let (status, given) = call(&server, &ada, "PATCH", &path, give).await;
    assert_eq!((status, &given["owner_id"]), (200, &json!(bob.id)));
    assert_eq!(call(&server, &ada, "DELETE", &path, Value::Null).await.0, 403);
    assert_eq!(call(&server, &ada, "DELETE", &leave, Value::Null).await.0, 204);
    let gone = server.get(&format!("/api/v1/guilds/{guild}"), &ada).await;
    assert_error(&gone, 404, "not_found");
    assert_eq!(
        call(&server, &bob, "PATCH", &path, json!({ "name": "New" })).await.1["name"],
        "New"
    );
    server.stop().await;
}
