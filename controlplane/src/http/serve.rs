//! The listening socket, plain or with TLS, and its orderly end.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use socket2::{Domain, Protocol, Socket, Type};

use super::connection::Admission;

/// How long open requests may take to end when the server stops.
pub const GRACE: Duration = Duration::from_millis(800);
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// How long a client may take to send a request's head, and how long a connection may idle: longer
/// than most clients keep one, so that they seldom write to one that just ended.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// Binds the listening socket. `[::]` also takes IPv4.
///
/// # Errors
/// When the address is used already, or not this machine's.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the connections of the run before to fade away.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Serves until `handle` is told to stop.
///
/// # Errors
/// When the socket breaks.
pub async fn serve(
    listener: TcpListener,
    tls: Option<RustlsConfig>,
    handle: Handle<SocketAddr>,
    router: Router,
) -> io::Result<()> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    match tls {
        None => {
            let acceptor = Admission::new(NoDelayAcceptor::new());
            let mut server = axum_server::from_tcp(listener)?.handle(handle).acceptor(acceptor);
            set_limits(server.http_builder());
            server.serve(service).await
        }
        Some(config) => {
            let acceptor = RustlsAcceptor::new(config).acceptor(NoDelayAcceptor::new());
            let acceptor = Admission::new(acceptor);
            let mut server = axum_server::from_tcp(listener)?.handle(handle).acceptor(acceptor);
            set_limits(server.http_builder());
            server.serve(service).await
        }
    }
}

/// Not restricted to HTTP/1 here: that would take the WebSocket upgrade away. HTTP/2 is not
/// offered by ALPN.
fn set_limits(builder: &mut Builder<TokioExecutor>) {
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(64 * 1024);
}
