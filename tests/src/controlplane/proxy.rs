//! A reverse proxy in front of a control plane, with the faults of networks, load balancers and API servers.

use std::{
    collections::BTreeMap,
    fmt,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{ConnectInfo, State},
    http::{HeaderMap, Request, Response, StatusCode, header},
};
use futures::{StreamExt as _, stream};
use kube::Client;
use serde_json::json;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

use super::ControlPlane;

/// A running proxy; it ends when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The API server seems to say so.
    Answer(StatusCode),
    /// The connection ends after so many bytes of the answer.
    CutAfter(usize),
    /// It is passed on when the test says so.
    Hold(Arc<Hold>),
}

/// A request that is held.
#[derive(Debug, Default)]
pub struct Hold {
    /// It has come.
    pub arrived: Notify,
    /// It may go on.
    pub release: Notify,
}

/// Whose requests meet a fault.
#[derive(Debug)]
struct Rule {
    /// Parts of the path and query.
    parts: Vec<String>,
    fault: Fault,
    /// How often; none means always.
    times: Option<usize>,
}

struct Shared {
    client: Client,
    /// While true nothing is passed on, in no direction.
    frozen: watch::Sender<bool>,
    /// Who asks on a stranded connection is told.
    forgets: AtomicBool,
    /// Counts how often all connections were stranded.
    stranded: watch::Sender<u64>,
    /// That count when a connection was first seen, by its client's address.
    connections: Mutex<BTreeMap<SocketAddr, u64>>,
    /// Counts how often all answers were cut.
    cuts: watch::Sender<u64>,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<String>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.rules();
        f.debug_struct("Shared")
            .field("rules", &*rules)
            .finish_non_exhaustive()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Starts one on loopback.
    pub async fn start(plane: &ControlPlane) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("find a port for the proxy")?;
        Self::listen(plane, listener).await
    }

    /// Starts one on a socket of the test's choice.
    pub async fn listen(plane: &ControlPlane, listener: TcpListener) -> Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let shared = Arc::new(Shared {
            client: plane.client().await?,
            frozen: watch::Sender::new(false),
            forgets: AtomicBool::new(false),
            stranded: watch::Sender::new(0),
            connections: Mutex::default(),
            cuts: watch::Sender::new(0),
            rules: Mutex::default(),
            seen: Mutex::default(),
        });
        let router = Router::new().fallback(pass).with_state(Arc::clone(&shared));
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let task = tokio::spawn(async move {
            axum::serve(listener, service).await.ok();
        });
        Ok(Self {
            address,
            shared,
            task,
        })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Nothing is passed on any more; connections stay and new ones are accepted.
    pub fn freeze(&self) {
        self.shared.frozen.send_replace(true);
    }

    /// All goes on where it was.
    pub fn thaw(&self) {
        self.shared.frozen.send_replace(false);
    }

    /// Nothing is passed on any more on the connections that there are; new ones work.
    pub fn strand(&self) {
        self.shared.stranded.send_modify(|times| *times += 1);
    }

    /// The machine behind starts anew and knows no connection any more: who waits on one waits for ever, who asks
    /// on one is told.
    pub fn forget(&self) {
        self.shared.forgets.store(true, Ordering::Relaxed);
        self.strand();
    }

    /// Ends all answers that are being passed on.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Requests with all of these parts in their path and query meet a fault.
    pub fn fault(&self, parts: &[&str], fault: Fault, times: Option<usize>) {
        let parts = parts.iter().map(ToString::to_string).collect();
        self.shared.rules().push(Rule {
            parts,
            fault,
            times,
        });
    }

    /// No faults any more.
    pub fn clear(&self) {
        self.shared.rules().clear();
    }

    /// How many requests had all of these parts in their path and query.
    pub fn count(&self, parts: &[&str]) -> usize {
        let seen = lock(&self.shared.seen);
        let has = |request: &&String| parts.iter().all(|part| request.contains(part));
        seen.iter().filter(has).count()
    }
}

impl Shared {
    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        lock(&self.rules)
    }

    /// The fault that a request meets.
    fn meets(&self, request: &str) -> Option<Fault> {
        let mut rules = self.rules();
        let rule = rules.iter_mut().find(|rule| {
            rule.times != Some(0) && rule.parts.iter().all(|part| request.contains(part))
        })?;
        rule.times = rule.times.map(|times| times - 1);
        Some(rule.fault.clone())
    }

    /// When a connection was first seen.
    fn since(&self, client: SocketAddr) -> u64 {
        let now = *self.stranded.borrow();
        *lock(&self.connections).entry(client).or_insert(now)
    }

    /// Whether a request on this connection breaks.
    fn breaks(&self, client: SocketAddr) -> bool {
        self.since(client) < *self.stranded.borrow() && self.forgets.load(Ordering::Relaxed)
    }

    /// Returns when something may be passed on to a client. The senders are ours: they do not end.
    async fn thawed(&self, client: SocketAddr) {
        let mut frozen = self.frozen.subscribe();
        frozen.wait_for(|frozen| !frozen).await.ok();
        let since = self.since(client);
        let mut stranded = self.stranded.subscribe();
        stranded.wait_for(|times| *times == since).await.ok();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn pass(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response<Body> {
    let uri = request.uri().to_string();
    lock(&shared.seen).push(uri.clone());
    if shared.breaks(client) {
        return Response::new(Body::from_stream(stream::iter([Err::<Vec<u8>, _>(
            broken(),
        )])));
    }
    shared.thawed(client).await;
    let fault = shared.meets(&uri);
    match &fault {
        Some(Fault::Answer(code)) => return refusal(*code),
        Some(Fault::Hold(hold)) => {
            hold.arrived.notify_one();
            hold.release.notified().await;
        }
        _ => {}
    }
    let limit = match fault {
        Some(Fault::CutAfter(bytes)) => bytes,
        _ => usize::MAX,
    };
    match forward(&shared, request).await {
        Ok(answer) => answer.map(|body| faulty(&shared, client, body, limit)),
        Err(_) => refusal(StatusCode::BAD_GATEWAY),
    }
}

async fn forward(shared: &Shared, request: Request<Body>) -> Result<Response<Body>> {
    let (mut parts, body) = request.into_parts();
    parts.headers.remove(header::HOST);
    let body = to_bytes(body, usize::MAX).await?.to_vec();
    let request = Request::from_parts(parts, kube::client::Body::from(body));
    let answer = shared.client.send(request).await?;
    let (mut parts, body) = answer.into_parts();
    let mut headers = HeaderMap::new();
    headers.extend(
        parts
            .headers
            .remove(header::CONTENT_TYPE)
            .map(|value| (header::CONTENT_TYPE, value)),
    );
    parts.headers = headers;
    Ok(Response::from_parts(parts, Body::new(body)))
}

/// A body that is held while the proxy is frozen, and that ends in the middle.
fn faulty(shared: &Arc<Shared>, client: SocketAddr, body: Body, limit: usize) -> Body {
    let shared = Arc::clone(shared);
    let cuts = shared.cuts.subscribe();
    let state = (body.into_data_stream(), shared, cuts, limit);
    let passed = stream::unfold(
        state,
        move |(mut body, shared, mut cuts, left)| async move {
            let next = tokio::select! {
                next = body.next() => next?,
                _ = cuts.changed() => Err(axum::Error::new(broken())),
            };
            shared.thawed(client).await;
            let next = match next {
                Ok(_) if left == 0 => Err(broken()),
                Ok(bytes) => Ok(bytes.slice(..bytes.len().min(left))),
                Err(error) => Err(std::io::Error::other(error)),
            };
            let left = next
                .as_ref()
                .map_or(0, |bytes| left.saturating_sub(bytes.len()));
            Some((next, (body, shared, cuts, left)))
        },
    );
    Body::from_stream(passed)
}

fn broken() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::ConnectionReset, "cut by the test")
}

fn refusal(code: StatusCode) -> Response<Body> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("said by the test: {code}"), "reason": "Test", "code": code.as_u16(),
    });
    let mut answer = Response::new(Body::from(status.to_string()));
    *answer.status_mut() = code;
    let json = header::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, json);
    answer
}
