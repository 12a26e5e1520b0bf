//! Tokens that are ours and tokens that only look so.

use std::time::Duration;

use jsonwebtoken::EncodingKey;

use super::*;
use crate::store::Store;

/// Tokens with a database of their own, which goes away with the test.
struct Place {
    tokens: Tokens,
    folder: std::path::PathBuf,
}

impl Place {
    async fn new() -> Self {
        let name = format!("hype-token-{}-{:x}", std::process::id(), rand::random::<u64>());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).expect("a fresh folder");
        let store = Store::open_sqlite(&folder.join("keys.sqlite"), 1).await.expect("opens");
        let sealing: SealingKey = "07".repeat(32).parse().expect("64 digits");
        let live = Duration::from_secs(600);
        let keys = KeyRing::open(store, sealing.clone(), live).await.expect("opens");
        Self { tokens: Tokens::new(keys, &sealing, TokenLifetimes::default()), folder }
    }

    fn forged(
        &self,
        algorithm: Algorithm,
        change: impl FnOnce(&mut Claims, &mut Header),
    ) -> String {
        let now_s = unix_ms() / 1000;
        let mut claims = Claims {
            iss: ISSUER.into(),
            sub: "7".into(),
            sid: "f".into(),
            iat: now_s,
            exp: now_s + 60,
        };
        let (kid, key) = self.tokens.keys.signer().expect("one signs");
        let mut header = Header { kid: Some(kid), ..Header::new(algorithm) };
        change(&mut claims, &mut header);
        let key = if algorithm == Algorithm::EdDSA {
            key
        } else {
            // The known confusion: the public key taken for a shared secret.
            let public = self.tokens.keys.public().remove(0).x;
            EncodingKey::from_secret(&BASE64.decode(public).expect("base64url"))
        };
        jsonwebtoken::encode(&header, &claims, &key).expect("encodes")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn only_our_own_unexpired_tokens_are_good() {
    let (ours, theirs) = (Place::new().await, Place::new().await);
    let good = ours.tokens.access(UserId(7), "f").expect("signed");
    let bearer = Bearer { user: UserId(7), family: "f".into() };
    assert_eq!(ours.tokens.verify_access(&good).await.expect("ours"), bearer);
    let again = ours.forged(Algorithm::EdDSA, |_, _| {});
    assert_eq!(ours.tokens.verify_access(&again).await.expect("ours"), bearer);
    let (head, signature) = good.rsplit_once('.').expect("three parts");
    let (start, body) = head.split_once('.').expect("three parts");
    let foreign = theirs.tokens.access(UserId(7), "f").expect("signed");
    let kid = ours.tokens.keys.signer().expect("one signs").0;
    for wrong in [
        foreign,
        theirs.forged(Algorithm::EdDSA, |_, header| header.kid = Some(kid)),
        ours.forged(Algorithm::EdDSA, |claims, _| claims.exp = claims.iat - 1),
        ours.forged(Algorithm::EdDSA, |claims, _| claims.iss = "other".into()),
        ours.forged(Algorithm::EdDSA, |claims, _| claims.sub = "root".into()),
        ours.forged(Algorithm::EdDSA, |_, header| header.kid = None),
        ours.forged(Algorithm::HS256, |_, _| {}),
        format!(
            "{start}.{}.{signature}",
            BASE64.encode(r#"{"sub":"8","sid":"f","exp":99999999999,"iss":"hype","iat":0}"#)
        ),
        format!("{}.{body}.", BASE64.encode(r#"{"alg":"none","typ":"JWT"}"#)),
        "x".repeat(100_000),
        String::new(),
    ] {
        let error = ours.tokens.verify_access(&wrong).await.expect_err("must not be accepted");
        assert_eq!(error.code(), Error::Unauthenticated.code(), "{wrong:.80}");
    }
}

#[tokio::test]
async fn refresh_tokens_come_back_and_have_one_successor() {
    let place = Place::new().await;
    let tokens = &place.tokens;
    let first = tokens.new_refresh();
    assert_eq!(Refresh::parse(&first.to_text()), Some(first.clone()));
    let next = tokens.next_refresh(&first);
    assert_eq!(next, tokens.next_refresh(&first));
    assert_eq!(next.family(), first.family());
    assert_ne!(next.secret_hash(), first.secret_hash());
    assert_ne!(tokens.new_refresh().family(), first.family());
    for wrong in ["", ".", "a.b", &first.to_text()[1..], &format!("{}x", first.to_text())] {
        assert_eq!(Refresh::parse(wrong), None, "{wrong}");
    }
}
