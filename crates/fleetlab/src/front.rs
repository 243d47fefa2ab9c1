//! The round-robin in front of the replicas, in the manner of real load balancers.
//!
//! It knows nothing of sessions. A replica that refuses the connection is passed over, so a restart alone costs nobody a
//! request; what the users see is then the work of the keys.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::http::{self, ExchangeError, Stopper};

/// A running round-robin. Dropping it stops it.
#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    backends: Arc<Backends>,
    stopper: Stopper,
    server: JoinHandle<io::Result<()>>,
}

impl Front {
    /// Listens on a free port of the loopback interface.
    pub async fn start(replicas: Vec<SocketAddr>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let backends = Arc::new(Backends { replicas, next: AtomicUsize::new(0), refused: AtomicU64::new(0) });
        let (stopper, stop) = Stopper::pair();
        let shared = Arc::clone(&backends);
        let server = tokio::spawn(http::serve(listener, stop, move |request| {
            let backends = Arc::clone(&shared);
            async move { backends.forward(request).await }
        }));
        Ok(Self { address, backends, stopper, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests no replica answered.
    pub fn refused(&self) -> u64 {
        self.backends.refused.load(Ordering::Relaxed)
    }

    /// Answers what it has, then ends.
    pub async fn stop(self) {
        drop(self.stopper);
        // A front that panicked has ended too.
        let _ = self.server.await;
    }
}

#[derive(Debug)]
struct Backends {
    replicas: Vec<SocketAddr>,
    next: AtomicUsize,
    refused: AtomicU64,
}

impl Backends {
    async fn forward(&self, request: Request<Bytes>) -> Response<Full<Bytes>> {
        let (mut head, body) = request.into_parts();
        drop_hop_by_hop(&mut head.headers);
        // One connection a request: each request is balanced on its own.
        head.headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        let repeatable = matches!(head.method, Method::GET | Method::HEAD);
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        for turn in 0..self.replicas.len() {
            let replica = self.replicas[first.wrapping_add(turn) % self.replicas.len()];
            match http::exchange(replica, Request::from_parts(head.clone(), Full::new(body.clone()))).await {
                Ok(response) => {
                    let (mut head, body) = response.into_parts();
                    drop_hop_by_hop(&mut head.headers);
                    return Response::from_parts(head, Full::new(body));
                }
                Err(ExchangeError::Connect { .. }) => {}
                Err(err) if repeatable => tracing::debug!(%replica, %err, "trying the next replica"),
                // It may have been carried out; a load balancer does not repeat it.
                Err(_) => break,
            }
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        http::text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "no replica answered\n".into())
    }
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::CONTENT_LENGTH, // the body is sent whole, and hyper counts it again
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Stop;

    async fn replica(name: &'static str, stop: Stop) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(http::serve(listener, stop, move |_| async move {
            http::text(StatusCode::OK, "text/plain", name.into())
        }));
        address
    }

    async fn closed() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }

    async fn get(front: &Front) -> Response<Bytes> {
        http::exchange(
            front.address(),
            Request::builder().uri("/").header("host", "lab").body(Full::default()).unwrap(),
        )
        .await
        .unwrap()
    }

    #[tokio::test]
    async fn replicas_take_turns_and_one_that_is_down_is_passed_over() {
        let (_stopper, stop) = Stopper::pair();
        let front = Front::start(vec![replica("a", stop.clone()).await, closed().await, replica("b", stop).await])
            .await
            .unwrap();
        let mut seen = Vec::new();
        for _ in 0..6 {
            seen.push(get(&front).await.into_body());
        }
        assert_eq!(seen.iter().filter(|name| *name == "a").count(), 2, "{seen:?}");
        assert_eq!(seen.iter().filter(|name| *name == "b").count(), 4, "{seen:?}");
        assert_eq!(front.refused(), 0);
    }

    #[tokio::test]
    async fn a_request_that_no_replica_answers_is_refused_and_counted() {
        let front = Front::start(vec![closed().await, closed().await]).await.unwrap();
        assert_eq!(get(&front).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(front.refused(), 1);
        front.stop().await;
    }
}
