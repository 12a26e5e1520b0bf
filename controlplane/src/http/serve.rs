//! The listening socket, plain or with TLS, and its orderly end.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};

/// How long open requests may take to end when the server stops.
pub const GRACE: Duration = Duration::from_millis(800);
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// How long a client may take to send its request's head; half-open ones do not stay for ever.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

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
    tls: Option<Arc<ServerConfig>>,
    handle: Handle<SocketAddr>,
    router: Router,
) -> io::Result<()> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    match tls {
        None => {
            let mut server = axum_server::from_tcp(listener)?.handle(handle).http1_only();
            set_limits(server.http_builder());
            server.serve(service).await
        }
        Some(config) => {
            let config = RustlsConfig::from_config(config);
            let mut server =
                axum_server::from_tcp_rustls(listener, config)?.handle(handle).http1_only();
            set_limits(server.http_builder());
            server.serve(service).await
        }
    }
}

fn set_limits<E>(builder: &mut hyper_util::server::conn::auto::Builder<E>) {
    builder
        .http1()
        .timer(hyper_util::rt::TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(64 * 1024);
}
