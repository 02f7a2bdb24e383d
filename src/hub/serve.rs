//! HTTP for the hub: who asks, how much of it, and what is answered. What it means is for [`super::calls`].
//!
//! Nobody can hold anything for long: a connection has a time, a request's head a size, a body both, and all bodies
//! together [`BODIES_MAX`]. A call is answered with the status 200, also by a fault, since DenyHosts knows no other.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::calls;
use super::count::{Count, Counters};
use super::keeper::Task;
use super::rates::Rates;
use super::settings::{Admission, Asker};
use super::statistics::Statistics;
use crate::clock;

/// Bytes of a body: a page of hosts as Python writes them is 700 KB at most.
const BODY_MAX: usize = 1 << 20;
/// Bytes of all bodies that are being read.
const BODIES_MAX: usize = 32 << 20;
/// Bytes of the head of a request.
const HEAD_MAX: usize = 16 << 10;
/// Headers of a request.
const HEADERS_MAX: usize = 64;
/// Connections at a time; the next wait in the kernel.
const CONNECTIONS_MAX: usize = 512;
/// Connections of one peer at a time (an IPv4 address, a /48), but for the proxies; further ones are closed.
const PEER_MAX: usize = 32;
/// Time for a head, and between two requests of a connection.
const HEAD_TIME: Duration = Duration::from_secs(15);
/// Time for a body.
const BODY_TIME: Duration = Duration::from_secs(20);
/// Time for TLS.
const TLS_TIME: Duration = Duration::from_secs(10);
/// Time for a connection, whatever it does.
const CONNECTION_TIME: Duration = Duration::from_secs(90);
/// Answers from this size on are compressed, if the client takes that: as Python's server does.
const GZIP_MIN: usize = 1400;
/// Where a proxy says who asks.
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// What all connections share.
#[derive(Debug)]
pub struct Shared {
    /// Who may ask.
    pub admission: Admission,
    /// How often each may.
    pub rates: Mutex<Rates>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Where the work is done.
    pub tasks: SyncSender<Task>,
    /// The figures of the page, as they were made last.
    pub figures: Arc<RwLock<Statistics>>,
    /// Room for bodies, in KiB.
    pub bodies: Arc<Semaphore>,
}

impl Shared {
    /// Nothing is asked yet.
    pub fn new(admission: Admission, rates: Rates, counters: Arc<Counters>, tasks: SyncSender<Task>) -> Self {
        let bodies = Arc::new(Semaphore::new(BODIES_MAX >> 10));
        Shared { admission, rates: Mutex::new(rates), counters, tasks, figures: Arc::default(), bodies }
    }
}

/// Takes connections for ever.
pub async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) -> Infallible {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let peers = Arc::new(Peers::default());
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { continue };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                shared.counters.add(Count::Broken, 1);
                tracing::debug!(%error, "no connection");
                // Too few descriptors: others end meanwhile.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let its_place = if shared.admission.is_proxy(peer.ip()) { None } else { Some(Peers::place(&peers, peer.ip())) };
        if let Some(None) = its_place {
            shared.counters.add(Count::Crowds, 1);
            continue;
        }
        let _ = stream.set_nodelay(true);
        let (shared, tls) = (shared.clone(), tls.clone());
        tokio::spawn(async move {
            let _places = (place, its_place);
            let served = async {
                match tls {
                    None => connection(&shared, stream, peer.ip()).await,
                    Some(tls) => match timeout(TLS_TIME, tls.accept(stream)).await {
                        Ok(Ok(stream)) => connection(&shared, stream, peer.ip()).await,
                        _ => shared.counters.add(Count::Broken, 1),
                    },
                }
            };
            if timeout(CONNECTION_TIME, served).await.is_err() {
                shared.counters.add(Count::Slow, 1);
            }
        });
    }
}

/// How many connections each peer has.
#[derive(Debug, Default)]
struct Peers(Mutex<HashMap<String, usize>>);

/// A connection of a peer, as long as it is held.
#[derive(Debug)]
struct Place {
    peers: Arc<Peers>,
    peer: String,
}

impl Peers {
    /// A place for one more connection, unless this peer has [`PEER_MAX`].
    fn place(peers: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let peer = super::settings::net(peer.to_canonical());
        let mut all = peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(peer.clone()).or_default();
        if *count >= PEER_MAX {
            return None;
        }
        *count += 1;
        drop(all);
        Some(Place { peers: peers.clone(), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.peer);
            }
        }
    }
}

async fn connection<S>(shared: &Arc<Shared>, stream: S, peer: IpAddr)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(|request| {
        let shared = shared.clone();
        async move {
            let mut response = respond(&shared, peer, request).await;
            // Who may not ask, or not now, holds no connection.
            if matches!(response.status().as_u16(), 401 | 403 | 429) {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(HEAD_MAX).max_headers(HEADERS_MAX);
    // A client that hangs up, or writes what is no HTTP, is its own affair.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

type Answered = Response<Full<Bytes>>;

fn plain(status: StatusCode, text: &'static str) -> Answered {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

async fn respond(shared: &Shared, peer: IpAddr, request: Request<Incoming>) -> Answered {
    shared.counters.add(Count::Requests, 1);
    let head = request.headers();
    let address = shared.admission.address(peer, head.get(REAL_IP).and_then(|it| it.to_str().ok()));
    let stranger = |status, text| {
        shared.counters.add(Count::Strangers, 1);
        plain(status, text)
    };
    let asker = match shared.admission.asker(address, token(head).as_deref()) {
        Asker::Known(asker) => asker,
        Asker::Stranger => return stranger(StatusCode::FORBIDDEN, "this hub does not know you\n"),
        Asker::BadToken => {
            // A wrong token costs its sender requests, or he could try them all.
            let address = super::settings::net(address);
            if !rate(shared, &address) {
                return over_rate(shared);
            }
            return stranger(StatusCode::UNAUTHORIZED, "this hub does not know that token\n");
        }
    };
    if !rate(shared, &asker) {
        return over_rate(shared);
    }
    match (request.method(), request.uri().path()) {
        (&Method::POST, "/RPC2" | "/RPC2/" | "/") => rpc(shared, asker, request).await,
        (&Method::GET | &Method::HEAD, "/") => page(shared, request.headers()),
        (_, "/RPC2" | "/") => {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "POST /RPC2, or GET /\n");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
            response
        }
        _ => plain(StatusCode::NOT_FOUND, "POST /RPC2, or GET /\n"),
    }
}

fn rate(shared: &Shared, asker: &str) -> bool {
    let mut rates = shared.rates.lock().unwrap_or_else(PoisonError::into_inner);
    rates.request(asker, clock::now().secs())
}

fn over_rate(shared: &Shared) -> Answered {
    shared.counters.add(Count::Rates, 1);
    let mut response = plain(StatusCode::TOO_MANY_REQUESTS, "too many requests in a minute\n");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
    response
}

/// The token of `Authorization: Bearer TOKEN`, or the password of `Basic`, which Python sends for `http://NAME:TOKEN@HOST`.
/// What is neither is a token that nobody has.
fn token(head: &HeaderMap) -> Option<String> {
    let value = head.get(header::AUTHORIZATION)?;
    let read = || {
        let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
        match scheme.to_ascii_lowercase().as_str() {
            "bearer" => Some(rest.trim().to_owned()),
            "basic" => {
                let pair = base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok()?;
                Some(String::from_utf8(pair).ok()?.split_once(':')?.1.to_owned())
            }
            _ => None,
        }
    };
    Some(read().unwrap_or_default())
}

async fn rpc(shared: &Shared, asker: String, request: Request<Incoming>) -> Answered {
    let unread = |status, text| {
        shared.counters.add(Count::Unread, 1);
        plain(status, text)
    };
    if request.headers().contains_key(header::CONTENT_ENCODING) {
        return unread(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send it as it is, not compressed\n");
    }
    let takes_gzip = takes_gzip(request.headers());
    let body = match timeout(BODY_TIME, read(shared, request.into_body())).await {
        Ok(Ok(body)) => body,
        Ok(Err(Unread::Large)) => return unread(StatusCode::PAYLOAD_TOO_LARGE, "send 10000 hosts at most\n"),
        Ok(Err(Unread::Broken)) => return unread(StatusCode::BAD_REQUEST, "the body ended early\n"),
        Ok(Err(Unread::Busy)) => return busy(shared),
        Err(_) => {
            shared.counters.add(Count::Slow, 1);
            return plain(StatusCode::REQUEST_TIMEOUT, "the body came too slowly\n");
        }
    };
    let Ok(answer) = calls::answer(&body.0, asker, &shared.tasks, &shared.counters).await else { return busy(shared) };
    drop(body);
    if matches!(answer, crate::xmlrpc::Answer::Fault { .. }) {
        shared.counters.add(Count::Faults, 1);
    }
    let mut response = sized(answer.to_xml().into_bytes(), takes_gzip);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    response
}

fn busy(shared: &Shared) -> Answered {
    shared.counters.add(Count::Busy, 1);
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "too much to do; try again\n");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
    response
}

fn page(shared: &Shared, head: &HeaderMap) -> Answered {
    let page = {
        let figures = shared.figures.read().unwrap_or_else(PoisonError::into_inner);
        super::page::page(&figures, clock::now().secs())
    };
    let mut response = sized(page.into_bytes(), takes_gzip(head));
    for (name, value) in super::page::HEADERS {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), value) = (name, HeaderValue::from_static(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn takes_gzip(head: &HeaderMap) -> bool {
    let codings = head.get_all(header::ACCEPT_ENCODING).iter().filter_map(|it| it.to_str().ok());
    codings.flat_map(|it| it.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    })
}

/// A body, compressed where that is wanted and worth it.
fn sized(body: Vec<u8>, takes_gzip: bool) -> Answered {
    let compressed = (takes_gzip && body.len() >= GZIP_MIN).then(|| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::with_capacity(body.len() / 4), flate2::Compression::fast());
        gzip.write_all(&body).and_then(|()| gzip.finish())
    });
    match compressed {
        Some(Ok(compressed)) => {
            let mut response = Response::new(Full::new(Bytes::from(compressed)));
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response
        }
        _ => Response::new(Full::new(Bytes::from(body))),
    }
}

/// Why a body is none.
enum Unread {
    Large,
    Broken,
    Busy,
}

/// A body, and the room that it takes of all.
struct Read(Vec<u8>, #[allow(dead_code, reason = "it is held, not read")] Option<tokio::sync::OwnedSemaphorePermit>);

/// Reads a body. What it takes of the room of all is what it has brought, so who is slow holds little.
async fn read(shared: &Shared, mut body: Incoming) -> Result<Read, Unread> {
    if body.size_hint().lower() > BODY_MAX as u64 {
        return Err(Unread::Large);
    }
    let mut read = Read(Vec::new(), None);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        if read.0.len() + data.len() > BODY_MAX {
            return Err(Unread::Large);
        }
        read.0.extend_from_slice(&data);
        // What was allocated, in KiB.
        let held = read.1.as_ref().map_or(0, tokio::sync::OwnedSemaphorePermit::num_permits);
        let more = (read.0.capacity().div_ceil(1024)).saturating_sub(held);
        if more > 0 {
            let more = u32::try_from(more).unwrap_or(u32::MAX);
            let room = shared.bodies.clone().try_acquire_many_owned(more).map_err(|_| Unread::Busy)?;
            match &mut read.1 {
                Some(held) => held.merge(room),
                None => read.1 = Some(room),
            }
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_some_connections_and_no_more() {
        let peers = Arc::new(Peers::default());
        let place = |peer: &str| Peers::place(&peers, peer.parse().expect("an address"));
        let held: Vec<_> = (0..PEER_MAX).map(|number| place(&format!("2001:db8:1:{number:x}::1"))).collect();
        assert!(held.iter().all(Option::is_some) && place("2001:db8:1::").is_none());
        assert!(place("2001:db8:2::1").is_some() && place("192.0.2.1").is_some());
        drop(held);
        assert!(peers.0.lock().expect("a lock").is_empty());
        let held: Vec<_> = (0..40).map(|_| place("::ffff:192.0.2.1")).collect();
        assert!(held.iter().flatten().count() == 32 && place("192.0.2.1").is_none() && place("192.0.2.2").is_some());
    }
}
