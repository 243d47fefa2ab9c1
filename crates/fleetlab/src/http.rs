//! The little HTTP that the replicas, the front and the users speak with each other: HTTP/1.1 over loopback, small bodies.
//!
//! A server that is asked to stop still answers what the kernel accepted on its behalf. Without that, a connection in the
//! listen queue would be reset, and a restart of a replica would look like a lost request.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Tells servers to stop, when it is dropped.
#[derive(Debug)]
pub(crate) struct Stopper {
    _alive: watch::Sender<()>,
}

/// The other end of a [`Stopper`].
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<()>);

impl Stopper {
    /// A pair of both ends.
    pub(crate) fn pair() -> (Self, Stop) {
        let (sender, receiver) = watch::channel(());
        (Self { _alive: sender }, Stop(receiver))
    }
}

impl Stop {
    /// Returns when the [`Stopper`] is gone.
    pub(crate) async fn requested(&mut self) {
        while self.0.changed().await.is_ok() {}
    }

    /// Whether the [`Stopper`] is gone.
    fn is_requested(&self) -> bool {
        self.0.has_changed().is_err()
    }
}

/// Answers requests until `stop`: then takes no new connection, answers those that it has, and returns.
pub(crate) async fn serve<H, F>(listener: TcpListener, stop: Stop, handler: H) -> io::Result<()>
where
    H: Fn(Request<Bytes>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let mut stopping = stop.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, stop.clone(), handler.clone()));
                }
                // The peer has gone already, or descriptors are scarce: either passes, and a busy loop would not help.
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            },
            Some(_) = connections.join_next() => {}
            () = stopping.requested() => break,
        }
    }
    let queue = listener.into_std()?;
    while let Ok((stream, _)) = queue.accept() {
        stream.set_nonblocking(true)?;
        connections.spawn(connection(TcpStream::from_std(stream)?, stop.clone(), handler.clone()));
    }
    drop(queue);
    // Whoever holds a connection open without a request is not waited for longer than this.
    let _ = timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
    Ok(())
}

/// One request over a connection of its own.
pub(crate) async fn exchange(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, ExchangeError> {
    let mut sender = connect(address).await?;
    send(&mut sender, request).await
}

/// A connection that is kept between requests, as browsers do, and made anew when the other side has closed it.
#[derive(Debug)]
pub(crate) struct Line {
    address: SocketAddr,
    open: Option<SendRequest<Full<Bytes>>>,
}

impl Line {
    /// Not connected yet.
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self { address, open: None }
    }

    /// Sends one request.
    pub(crate) async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, ExchangeError> {
        if let Some(mut sender) = self.open.take()
            && sender.ready().await.is_ok()
        {
            match send(&mut sender, request.clone()).await {
                Ok(response) => {
                    self.open = Some(sender);
                    return Ok(response);
                }
                // The other side has closed it while it was idle. Browsers try again, and so does this.
                Err(ExchangeError::Broken(_)) => {}
                Err(err) => return Err(err),
            }
        }
        let mut sender = connect(self.address).await?;
        let response = send(&mut sender, request).await?;
        self.open = Some(sender);
        Ok(response)
    }
}

/// A response with a text body.
pub(crate) fn text(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Why there was no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// Nobody listens there. The request was not sent.
    #[error("no connection to {address}")]
    Connect {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// The connection broke. The request may or may not have been carried out.
    #[error("the connection broke before the answer was complete")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nothing came in time. The request may or may not have been carried out.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    TimedOut,
}

async fn connection<H, F>(stream: TcpStream, mut stop: Stop, handler: H)
where
    H: Fn(Request<Bytes>) -> F + Clone,
    F: Future<Output = Response<Full<Bytes>>>,
{
    // Small answers must not wait for more; where this can't be set they do, and that is all.
    let _ = stream.set_nodelay(true);
    let begun = Arc::new(AtomicBool::new(false));
    let (begins, stopping) = (Arc::clone(&begun), stop.clone());
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        begins.store(true, Ordering::Relaxed);
        let (handler, stopping) = (handler.clone(), stopping.clone());
        async move {
            let (head, body) = request.into_parts();
            let mut answer = match Limited::new(body, LONGEST_BODY).collect().await {
                Ok(body) => handler(Request::from_parts(head, body.to_bytes())).await,
                Err(_) => text(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", "the body is too long\n".into()),
            };
            if stopping.is_requested() {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new());
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // A broken connection is the peer's affair.
        _ = connection.as_mut() => return,
        () = stop.requested() => {}
    }
    // Hyper would cut off a connection whose first request is still on its way. It is answered, and closed by that answer.
    if begun.load(Ordering::Relaxed) {
        connection.as_mut().graceful_shutdown();
    }
    let _ = connection.await;
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>, ExchangeError> {
    let stream = match timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(source)) => return Err(ExchangeError::Connect { address, source }),
        Err(_) => return Err(ExchangeError::Connect { address, source: io::ErrorKind::TimedOut.into() }),
    };
    // As above.
    let _ = stream.set_nodelay(true);
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Its failure is seen by the sender.
    tokio::spawn(connection);
    Ok(sender)
}

async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, ExchangeError> {
    let exchange = async {
        let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
        let body = Limited::new(body, LONGEST_BODY).collect().await.map_err(ExchangeError::Broken)?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    timeout(PATIENCE, exchange).await.unwrap_or(Err(ExchangeError::TimedOut))
}

fn broken(source: hyper::Error) -> ExchangeError {
    ExchangeError::Broken(source.into())
}

const PATIENCE: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_secs(3);
const LONGEST_BODY: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    async fn slow(_: Request<Bytes>) -> Response<Full<Bytes>> {
        tokio::time::sleep(Duration::from_millis(100)).await;
        text(StatusCode::OK, "text/plain", "late\n".into())
    }

    fn get() -> Request<Full<Bytes>> {
        Request::builder().uri("/").header("host", "lab").body(Full::default()).unwrap()
    }

    #[tokio::test]
    async fn a_stopping_server_answers_what_it_has_and_what_waits_in_the_queue() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stopper, stop) = Stopper::pair();
        // Connected and sent before the server even runs, and then it is told to stop at once.
        let requests = (0..5).map(|_| tokio::spawn(exchange(address, get()))).collect::<Vec<_>>();
        let mut waiting = connect(address).await.unwrap();
        drop(stopper);
        let server = tokio::spawn(serve(listener, stop, slow));
        assert_eq!(send(&mut waiting, get()).await.unwrap().body(), "late\n");
        for request in requests {
            assert_eq!(request.await.unwrap().unwrap().status(), StatusCode::OK);
        }
        server.await.unwrap().unwrap();
        assert!(matches!(exchange(address, get()).await, Err(ExchangeError::Connect { .. })));
    }

    #[tokio::test]
    async fn a_kept_line_survives_the_restart_of_its_server() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stopper, stop) = Stopper::pair();
        let server = tokio::spawn(serve(listener, stop, slow));
        let mut line = Line::to(address);
        line.exchange(get()).await.unwrap();
        drop(stopper);
        server.await.unwrap().unwrap();
        let (_stopper, stop) = Stopper::pair();
        tokio::spawn(serve(TcpListener::bind(address).await.unwrap(), stop, slow));
        assert_eq!(line.exchange(get()).await.unwrap().status(), StatusCode::OK);
    }
}
