//! A PostgreSQL that dies and comes back: people are told to try again, and nothing that was
//! acknowledged is gone.

use std::time::{Duration, Instant};

use hype_control::config::Dsn;
use hype_control::store::Error;
use hype_protocol::id::UserId;

use crate::place::{account, open, open_waiting, with_users};
use crate::postgres_process::Postgres;

#[tokio::test]
async fn a_server_that_died_is_unavailable_and_keeps_what_it_acknowledged() {
    let server = Postgres::start("");
    let dsn: Dsn = server.database().await.parse().expect("a valid URL");
    let store = open(&dsn, std::slice::from_ref(&dsn)).await;
    with_users(&store, 1..=20).await;
    let wait = Duration::from_secs(3);
    let brief = open_waiting(&dsn, std::slice::from_ref(&dsn), wait).await;
    server.crash();
    for _ in 0..2 {
        let began = Instant::now();
        let away = brief.create_user(&account(21, "late"), "late", 1).await;
        println!("unavailable after {:?}", began.elapsed());
        assert!(matches!(away, Err(Error::Unavailable(_))), "{away:?}");
        assert!(began.elapsed() < 10 * wait, "{:?}", began.elapsed());
    }
    assert!(matches!(brief.ping().await, Err(Error::Unavailable(_))));
    server.restart();
    // Connections that broke are found out one by one.
    let mut tries = 0;
    while let Err(error) = store.ping().await {
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
        tries += 1;
        assert!(tries < 20, "it is back: {error}");
    }
    for id in 1..=20 {
        assert!(store.user(UserId(id)).await.expect("read").is_some(), "{id} was acknowledged");
    }
    store.create_user(&account(21, "late"), "late", 1).await.expect("created");
}
