//! Requests to one member, and to nobody else.
//!
//! Each request opens a connection of its own, so that a preforking server deals it to any of its workers. Redirects are
//! answers, not orders; proxies of the environment are ignored, because a proxy may be a load balancer; there is no cookie
//! store, because a cookie that came by itself would prove nothing.

use std::collections::HashMap;
use std::error::Error as _;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{CONNECTION, HeaderMap, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url};

use crate::evidence::Traffic;

/// A client for members' own addresses.
#[derive(Clone, Debug)]
pub(crate) struct Direct {
    client: Client,
    timeout: Duration,
    /// What was answered at each address since it was last taken.
    sent: Arc<Mutex<HashMap<String, Traffic>>>,
}

/// An answer, cut off at a sane length.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer. The text says what to look at; it holds no header, cookie or query.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("`{0}` refused the connection; is the port right, and is the process listening on that address")]
    Refused(String),
    #[error("`{0}` can't be reached; open the way from this host to it (route, firewall, network policy)")]
    Unreachable(String),
    #[error("`{address}` did not answer within {} ms; open the way from this host to it (firewall, network policy), or give the probe more time", timeout.as_millis())]
    Timeout { address: String, timeout: Duration },
    #[error("the name in `{0}` is not known here; give the address that this host can resolve")]
    Name(String),
    #[error(
        "`{0}` does not speak TLS that this host trusts; give the certificate authority, or an address without TLS"
    )]
    Tls(String),
    #[error("`{0}` closed the connection in the middle of its answer")]
    Broken(String),
    #[error("the request to `{0}` can't be made; check the path and the extra headers")]
    Request(String),
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectError {
    /// The certificate authority's file can't be read.
    #[error("`{path}` can't be read")]
    Authority {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The certificate authority's file is not one, or there is no TLS.
    #[error("the HTTP client can't be set up")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Direct {
    /// A client whose requests take at most `timeout` each, and that also trusts the authorities in the PEM file.
    pub(crate) fn new(timeout: Duration, authority: Option<&Path>) -> Result<Self, DirectError> {
        let mut builder = Client::builder()
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .http1_only()
            .tcp_nodelay(true)
            .timeout(timeout);
        if let Some(path) = authority {
            let pem = std::fs::read(path)
                .map_err(|source| DirectError::Authority { path: path.display().to_string(), source })?;
            let certificates =
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| DirectError::Client(error.into()))?;
            builder = builder.tls_certs_merge(certificates);
        }
        let client = builder.build().map_err(|error| DirectError::Client(error.into()))?;
        Ok(Self { client, timeout, sent: Arc::default() })
    }

    /// Begins a request to `path` at `address`.
    pub(crate) fn request(&self, method: Method, address: &Url, path: &str) -> Result<RequestBuilder, NoAnswer> {
        let url = join(address, path).ok_or_else(|| NoAnswer::Request(shown(address)))?;
        Ok(self.client.request(method, url).header(CONNECTION, HeaderValue::from_static("close")))
    }

    /// Sends it and reads at most `limit` bytes of the answer's body.
    pub(crate) async fn send(
        &self,
        address: &Url,
        request: RequestBuilder,
        limit: usize,
    ) -> Result<Answered, NoAnswer> {
        let mut response = request.send().await.map_err(|error| self.explain(address, &error))?;
        self.traffic().entry(shown(address)).or_default().count(response.status().as_u16());
        let mut body = Vec::new();
        while body.len() < limit {
            match response.chunk().await.map_err(|error| self.explain(address, &error))? {
                Some(chunk) => body.extend_from_slice(&chunk[..chunk.len().min(limit - body.len())]),
                None => break,
            }
        }
        Ok(Answered { status: response.status(), headers: std::mem::take(response.headers_mut()), body })
    }

    /// What was answered at `address` since this was last asked.
    pub(crate) fn take_sent(&self, address: &Url) -> Traffic {
        self.traffic().remove(&shown(address)).unwrap_or_default()
    }

    fn traffic(&self) -> std::sync::MutexGuard<'_, HashMap<String, Traffic>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `GET` of `path`, the whole answer.
    pub(crate) async fn get(&self, address: &Url, path: &str, limit: usize) -> Result<Answered, NoAnswer> {
        let request = self.request(Method::GET, address, path)?;
        self.send(address, request, limit).await
    }

    fn explain(&self, address: &Url, error: &reqwest::Error) -> NoAnswer {
        let address = shown(address);
        if error.is_timeout() {
            return NoAnswer::Timeout { address, timeout: self.timeout };
        }
        if error.is_builder() {
            return NoAnswer::Request(address);
        }
        let mut cause = error.source();
        while let Some(inner) = cause {
            if let Some(io) = inner.downcast_ref::<io::Error>() {
                match io.kind() {
                    io::ErrorKind::ConnectionRefused => return NoAnswer::Refused(address),
                    io::ErrorKind::InvalidData => return NoAnswer::Tls(address),
                    _ => {}
                }
            }
            if inner.to_string().contains("dns error") {
                return NoAnswer::Name(address);
            }
            cause = inner.source();
        }
        if error.is_connect() { NoAnswer::Unreachable(address) } else { NoAnswer::Broken(address) }
    }
}

/// Scheme, host and port only: a user name, a password or a query in the address is nobody's business.
pub(crate) fn shown(address: &Url) -> String {
    match (address.host_str(), address.port_or_known_default()) {
        (Some(host), Some(port)) => format!("{}://{host}:{port}", address.scheme()),
        _ => format!("{}:", address.scheme()),
    }
}

/// The path is taken as it is, under the address's own host: `//other.example/` must not lead elsewhere.
fn join(address: &Url, path: &str) -> Option<Url> {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let mut url = address.clone();
    (!url.cannot_be_a_base()).then_some(())?;
    let base = address.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{base}/{}", path.trim_start_matches('/')));
    url.set_query(query);
    url.set_fragment(None);
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_never_leads_to_another_host() {
        let address: Url = "http://127.0.0.1:3000".parse().unwrap();
        assert_eq!(join(&address, "/me").unwrap().as_str(), "http://127.0.0.1:3000/me");
        assert_eq!(join(&address, "me?a=b").unwrap().as_str(), "http://127.0.0.1:3000/me?a=b");
        assert_eq!(join(&address, "//evil.example/x").unwrap().host_str(), Some("127.0.0.1"));
        assert_eq!(join(&address, "http://evil.example/x").unwrap().host_str(), Some("127.0.0.1"));
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        let address: Url = "http://user:hunter2@10.0.0.7:3000/x?token=1".parse().unwrap();
        assert_eq!(shown(&address), "http://10.0.0.7:3000");
    }

    #[tokio::test]
    async fn a_closed_port_is_told_from_a_silent_one() {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: Url = format!("http://{}", free.local_addr().unwrap()).parse().unwrap();
        let direct = Direct::new(Duration::from_millis(100), None).unwrap();
        // It accepts in the kernel and never answers.
        assert!(matches!(direct.get(&address, "/", 10).await.err(), Some(NoAnswer::Timeout { .. })));
        drop(free);
        assert!(matches!(direct.get(&address, "/", 10).await.err(), Some(NoAnswer::Refused(_))));
    }
}
