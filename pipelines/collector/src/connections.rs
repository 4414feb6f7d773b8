//! The listener: so many connections at most, and none that is silent for long. `axum::serve` bounds neither, and its
//! requests' limits begin only once a request's head has arrived.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Players keep their connection between heartbeats. One costs about 20 KB, so these are 160 MB; more of them wait in
/// the backlog of the operating system.
const MAX_CONNECTIONS: usize = 8192;

/// A connection on which no byte moves for this long is closed (ms). Players send every 10 to 60 s, and the answer to a
/// request takes at most `log_timeout_ms`, which is less.
pub(crate) const IDLE_TIMEOUT_MS: u64 = 75_000;

/// A bounded listener.
pub(crate) struct Connections {
    listener: TcpListener,
    slots: Arc<Semaphore>,
    idle_timeout: Duration,
}

impl Connections {
    pub(crate) fn new(listener: TcpListener) -> Self {
        Self::bounded(listener, MAX_CONNECTIONS, Duration::from_millis(IDLE_TIMEOUT_MS))
    }

    fn bounded(listener: TcpListener, max_connections: usize, idle_timeout: Duration) -> Self {
        Self { listener, slots: Arc::new(Semaphore::new(max_connections)), idle_timeout }
    }
}

impl Listener for Connections {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let slot = Arc::clone(&self.slots).acquire_owned().await.expect("nobody closes the semaphore");
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // Without it a small answer may wait for the client's delayed ACK (40 ms).
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let idle_timeout = self.idle_timeout;
        (Connection { stream, idle: Box::pin(sleep(idle_timeout)), idle_timeout, _slot: slot }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails once it has been silent for too long.
pub(crate) struct Connection {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    idle_timeout: Duration,
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    /// Passes on what the stream did; when it did nothing, whether that has lasted too long.
    fn timed<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.idle.as_mut().reset(Instant::now() + self.idle_timeout);
            return polled;
        }
        ready!(self.idle.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.timed(context, polled)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.timed(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.timed(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_silent_connection_fails_and_frees_its_slot() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut connections = Connections::bounded(listener, 1, Duration::from_millis(50));
        let address = connections.local_addr().unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let _waiting = TcpStream::connect(address).await.unwrap();
        let (mut connection, _) = connections.accept().await;
        client.write_all(b"x").await.unwrap();
        assert_eq!(connection.read_u8().await.unwrap(), b'x');
        assert_eq!(connections.slots.available_permits(), 0);
        let error = connection.read_u8().await.expect_err("the client is silent");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(connection);
        connections.accept().await;
    }
}
