//! What every TCP connection goes through before HTTP: a place among a bounded number, and a time
//! in which its first byte must come. HTTP's own time limits begin only after that byte.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// The most connections at a time; one more is closed at once.
pub const MAX_CONNECTIONS: usize = 120_000;
/// How long a client may take to send its first byte.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(15);

/// Admits connections, then lets `inner` do its part (TLS, or nothing).
#[derive(Debug, Clone)]
pub(super) struct Admission<A> {
    inner: A,
    places: Arc<Semaphore>,
    first_byte_timeout: Duration,
}

impl<A> Admission<A> {
    pub(super) fn new(inner: A) -> Self {
        Self {
            inner,
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            first_byte_timeout: FIRST_BYTE_TIMEOUT,
        }
    }
}

impl<A, I, S> Accept<I, S> for Admission<A>
where
    A: Accept<I, S>,
    A::Future: Send + 'static,
    A::Stream: Send + 'static,
    A::Service: Send + 'static,
{
    type Stream = Admitted<A::Stream>;
    type Service = A::Service;
    type Future =
        Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send + 'static>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            metrics::counter!("hype_http_connections_refused_total").increment(1);
            return Box::pin(std::future::ready(Err(io::ErrorKind::ConnectionRefused.into())));
        };
        let accepted = self.inner.accept(stream, service);
        let first_byte_timeout = self.first_byte_timeout;
        Box::pin(async move {
            let (stream, service) = accepted.await?;
            let deadline = Some(Box::pin(sleep(first_byte_timeout)));
            Ok((Admitted { stream, deadline, _place: place }, service))
        })
    }
}

/// A connection that has its place for as long as it lives.
#[derive(Debug)]
pub(super) struct Admitted<T> {
    stream: T,
    /// None once the first byte has come.
    deadline: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl<T: AsyncRead + Unpin> AsyncRead for Admitted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        if outcome.is_ready() {
            self.deadline = None;
        } else if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        outcome
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Admitted<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use axum_server::accept::DefaultAcceptor;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn admission(places: usize) -> Admission<DefaultAcceptor> {
        Admission {
            inner: DefaultAcceptor::new(),
            places: Arc::new(Semaphore::new(places)),
            first_byte_timeout: Duration::from_millis(50),
        }
    }

    #[tokio::test]
    async fn one_connection_too_many_is_refused_until_another_ends() {
        let admission = admission(1);
        let (_client, server) = duplex(64);
        let (first, ()) = admission.accept(server, ()).await.expect("there is a place");
        let (_client, server) = duplex(64);
        let refused = admission.accept(server, ()).await.map(|_| ()).expect_err("no place");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        drop(first);
        let (_client, server) = duplex(64);
        admission.accept(server, ()).await.expect("there is a place again");
    }

    #[tokio::test]
    async fn who_says_nothing_is_cut_and_who_said_something_may_pause() {
        let admission = admission(8);
        let (_silent, server) = duplex(64);
        let (mut stream, ()) = admission.accept(server, ()).await.expect("admitted");
        let error = stream.read_u8().await.expect_err("nothing came");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);

        let (mut client, server) = duplex(64);
        let (mut stream, ()) = admission.accept(server, ()).await.expect("admitted");
        client.write_all(b"a").await.expect("written");
        assert_eq!(stream.read_u8().await.expect("the first byte"), b'a');
        let pause = tokio::time::timeout(Duration::from_millis(150), stream.read_u8()).await;
        assert!(pause.is_err(), "it waits without an end: {pause:?}");
    }
}
