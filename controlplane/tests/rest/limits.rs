//! Rate limits as clients see them: `X-RateLimit-*` on every answer of a limited route.

use hype_control::config::Rate;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::server::{Folder, Person, Server, config};

/// What the headers tell: bucket, limit, remaining, seconds until it is full, seconds to wait.
type Told = (String, u64, u64, u64, Option<u64>);

fn told(response: &Response) -> Told {
    let text = |name: &str| Some(response.headers().get(name)?.to_str().expect("text").to_owned());
    let number = |name: &str| Some(text(name)?.parse().expect("a number"));
    let must = |name: &str| number(name).unwrap_or_else(|| panic!("no {name}: {response:?}"));
    (
        text("x-ratelimit-bucket").expect("a bucket"),
        must("x-ratelimit-limit"),
        must("x-ratelimit-remaining"),
        must("x-ratelimit-reset"),
        number("retry-after"),
    )
}

async fn ask(server: &Server, method: Method, path: &str, who: Option<&Person>) -> Response {
    let mut request = server.request(method.clone(), path);
    if let Some(who) = who {
        request = request.bearer_auth(&who.token);
    }
    if method == Method::POST {
        request = request.json(&json!({ "content": "hi" }));
    }
    request.send().await.expect("an answer")
}

#[tokio::test]
async fn every_answer_tells_of_the_tightest_bucket() {
    let folder = Folder::new();
    let mut config = config(&folder);
    config.limits.loopback_factor = 1;
    config.limits.address = Rate::new(1, 40);
    config.limits.user = Rate::new(1, 20);
    config.limits.message = Rate::new(1, 2);
    let server = Server::start(config).await;
    let ada = server.register("Ada").await;
    let (guild, text, _) = server.guild(&ada).await;
    let messages = format!("/api/v1/channels/{text}/messages");

    let (bucket, limit, remaining, reset, wait) =
        told(&ask(&server, Method::GET, &format!("/api/v1/guilds/{guild}"), Some(&ada)).await);
    assert_eq!((bucket.as_str(), limit, remaining, wait), ("user", 20, 18, None));
    assert!((60..=120).contains(&reset), "two requests, one a minute: {reset}");

    let refused = ask(&server, Method::GET, "/api/v1/auth/me", None).await;
    assert_eq!(refused.status().as_u16(), 401);
    assert_eq!(told(&refused).0, "address", "nobody's bucket but the address's was asked");

    for remaining in [1, 0] {
        let sent = ask(&server, Method::POST, &messages, Some(&ada)).await;
        assert_eq!(sent.status().as_u16(), 201);
        let told = told(&sent);
        assert_eq!((told.0.as_str(), told.1, told.2, told.4), ("message", 2, remaining, None));
    }
    let refused = ask(&server, Method::POST, &messages, Some(&ada)).await;
    assert_eq!(refused.status().as_u16(), 429);
    let (bucket, limit, remaining, reset, wait) = told(&refused);
    assert_eq!((bucket.as_str(), limit, remaining), ("message", 2, 0));
    let wait = wait.expect("how long to wait");
    assert!((1..=60).contains(&wait) && wait < reset && reset <= 120, "{wait} {reset}");
    let error: Value = refused.json().await.expect("JSON");
    assert_eq!(error["error"]["code"], "rate_limited");

    let unlimited = server.request(Method::GET, "/healthz").send().await.expect("an answer");
    assert!(unlimited.headers().get("x-ratelimit-limit").is_none());
    server.stop().await;
}
