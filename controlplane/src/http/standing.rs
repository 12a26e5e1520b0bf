//! `X-RateLimit-*`: what every answer of a limited route tells about the tightest bucket that its
//! request took from. The limits note how their buckets stand; the request's task remembers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::Shared;

pub(super) const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
pub(super) const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
pub(super) const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
pub(super) const BUCKET: HeaderName = HeaderName::from_static("x-ratelimit-bucket");

/// How a bucket stands after a request took from it, or was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Which limit it belongs to.
    pub(super) bucket: &'static str,
    /// How many requests a full bucket lets through at once.
    pub(super) limit: u32,
    /// How many it lets through now.
    pub(super) remaining: u32,
    /// When it will be full again.
    pub(super) full_in: Duration,
}

/// The tightest bucket of one request, as far as it has got.
#[derive(Debug, Clone, Default)]
pub(super) struct Tightest(Arc<Mutex<Option<Standing>>>);

tokio::task_local! {
    static TIGHTEST: Tightest;
}

impl Tightest {
    /// The one of the request that this task works for; a fresh one outside of requests.
    pub(super) fn of_this_task() -> Self {
        TIGHTEST.try_with(Clone::clone).unwrap_or_default()
    }

    /// Does the work in such a way that its limits note their buckets here.
    pub(super) async fn scope<F: Future>(self, work: F) -> F::Output {
        TIGHTEST.scope(self, work).await
    }

    fn note(&self, standing: Standing) {
        let mut tightest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A tie goes to the later one: a refusal comes last.
        if tightest.is_none_or(|known| standing.remaining <= known.remaining) {
            *tightest = Some(standing);
        }
    }

    fn write(&self, headers: &mut HeaderMap) {
        let Some(standing) = *self.0.lock().unwrap_or_else(PoisonError::into_inner) else {
            return;
        };
        // Rounded up, so that whoever waits that long has waited long enough.
        let reset_s = standing.full_in.as_millis().div_ceil(1000);
        headers.insert(LIMIT, HeaderValue::from(standing.limit));
        headers.insert(REMAINING, HeaderValue::from(standing.remaining));
        headers.insert(RESET, HeaderValue::from(u64::try_from(reset_s).unwrap_or(u64::MAX)));
        headers.insert(BUCKET, HeaderValue::from_static(standing.bucket));
    }
}

/// Notes how a bucket stands, if a request is being worked for.
pub(super) fn note(standing: Standing) {
    // Outside of a request there is nobody to tell.
    let _ = TIGHTEST.try_with(|tightest| tightest.note(standing));
}

/// Around every limited route: one request of its address, and the headers.
pub(super) async fn limited(
    State(app): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let tightest = Tightest::default();
    let work = async {
        match app.limits.address(peer.ip()) {
            Ok(()) => next.run(request).await,
            Err(error) => error.into_response(),
        }
    };
    let mut response = tightest.clone().scope(work).await;
    tightest.write(response.headers_mut());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(bucket: &'static str, remaining: u32) -> Standing {
        Standing { bucket, limit: 10, remaining, full_in: Duration::from_millis(1001) }
    }

    #[tokio::test]
    async fn the_tightest_bucket_is_told_and_a_tie_goes_to_the_later() {
        note(standing("nobody", 0));
        for (notes, expected) in [
            (vec![("address", 9), ("user", 3), ("create", 5)], Some("user")),
            (vec![("address", 9), ("user", 0), ("message", 0)], Some("message")),
            (vec![], None),
        ] {
            let tightest = Tightest::default();
            tightest
                .clone()
                .scope(async {
                    // A part of the work that goes on in a task of its own.
                    let here = Tightest::of_this_task();
                    let work = async move { notes.iter().for_each(|&(b, n)| note(standing(b, n))) };
                    tokio::spawn(here.scope(work)).await.expect("no panic");
                })
                .await;
            let mut headers = HeaderMap::new();
            tightest.write(&mut headers);
            assert_eq!(headers.get(BUCKET).and_then(|value| value.to_str().ok()), expected);
            assert_eq!(headers.get(RESET).is_some_and(|value| value == "2"), expected.is_some());
        }
    }
}
