//! The dashboard: the local API and a page that speaks it, on the loopback address, for this user's
//! browser.
//!
//! A command that has the local API gets an address that can be opened once and soon; whoever opens it
//! gets a session, which the page sends with every call. Invariants: nobody but this user on this
//! machine is let in (where the system says whose connection it is, others are cut off before they
//! are heard); no call is carried out without a session, which no other page can send, because it is
//! no cookie; nothing of it outlives the daemon.

use crate::api::Failure;
use crate::browser::{self, Owner};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hither_api::{ApiError, DashboardInfo, ErrorCode};
use hither_util::sync::Mutex;
use hither_util::tasks::Tasks;
use serde::{Deserialize, Serialize};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

/// Time in which an address can be opened.
const SOON: Duration = Duration::from_secs(60);
/// Most addresses that wait to be opened; the oldest goes first.
const MOST_CODES: usize = 8;
/// Time that a session lasts without a call.
const IDLE: Duration = Duration::from_secs(12 * 3600);
/// Most sessions; the one that was silent longest goes first.
const MOST_SESSIONS: usize = 16;
/// How long the request for a session may take, and its most bytes.
const PATIENCE: Duration = Duration::from_secs(10);
const MAX_ENTER: usize = 1024;
/// The type of what the page sends.
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The header that has the session's secret. Its name is nothing that a form or a link can send.
const HEADER: &str = "x-hither-dashboard";

/// Secrets that are good for a time.
#[derive(Default)]
struct Secrets(Vec<(String, Instant)>);

impl Secrets {
    /// Takes a secret in.
    fn add(&mut self, secret: String, now: Instant, most: usize) {
        while self.0.len() >= most {
            let oldest = (0..self.0.len()).min_by_key(|at| self.0[*at].1);
            self.0.swap_remove(oldest.unwrap_or(0));
        }
        self.0.push((secret, now));
    }

    /// The place of one that is good.
    fn find(&mut self, secret: &str, now: Instant, good: Duration) -> Option<usize> {
        self.0
            .retain(|(_, at)| now.saturating_duration_since(*at) < good);
        self.0
            .iter()
            .position(|(one, _)| browser::same(one, secret))
    }
}

/// The addresses and sessions by which the dashboard may be used.
#[derive(Default)]
struct Access {
    codes: Secrets,
    sessions: Secrets,
}

impl Access {
    /// A session for a code, which is spent by it.
    fn enter(&mut self, code: &str, now: Instant) -> io::Result<Option<String>> {
        let Some(at) = self.codes.find(code, now, SOON) else {
            return Ok(None);
        };
        self.codes.0.swap_remove(at);
        let session = browser::secret()?;
        self.sessions.add(session.clone(), now, MOST_SESSIONS);
        Ok(Some(session))
    }

    /// Returns whether a session is good; it lasts longer then.
    fn admits(&mut self, session: &str, now: Instant) -> bool {
        match self.sessions.find(session, now, IDLE) {
            Some(at) => {
                self.sessions.0[at].1 = now;
                true
            }
            None => false,
        }
    }
}

/// Waits for the port at which the dashboard listens.
type Wanted = oneshot::Sender<io::Result<u16>>;

/// The dashboard of this device.
pub(crate) struct DashboardService {
    access: Mutex<Access>,
    wanted: mpsc::Sender<Wanted>,
    /// The other end, until the calls are served.
    waiting: Mutex<Option<mpsc::Receiver<Wanted>>>,
    tasks: Tasks,
}

impl DashboardService {
    pub(crate) fn new(tasks: &Tasks) -> Self {
        let (wanted, waiting) = mpsc::channel(MOST_CODES);
        Self {
            access: Mutex::default(),
            wanted,
            waiting: Mutex::new(Some(waiting)),
            tasks: tasks.clone(),
        }
    }

    /// Serves the calls of the local API to the dashboard, from when somebody wants it, until the
    /// daemon ends. The task holds them, not the service: they know the whole daemon.
    pub(crate) fn serve(self: &Arc<Self>, calls: Router) {
        let (of, waiting) = (Arc::clone(self), self.waiting.lock().take());
        if let Some(waiting) = waiting {
            let run = run(of, calls, waiting);
            self.tasks.spawn_forever(run);
        }
    }

    /// An address at which it can be opened once.
    ///
    /// Errors: no port can be listened at.
    pub(crate) async fn open(&self) -> Result<DashboardInfo, ApiError> {
        let (wanted, port) = oneshot::channel();
        self.wanted
            .send(wanted)
            .await
            .map_err(crate::failure::internal)?;
        let port = port.await.map_err(crate::failure::internal)?;
        let port = port.map_err(crate::failure::internal)?;
        let code = browser::secret().map_err(crate::failure::internal)?;
        let mut access = self.access.lock();
        access.codes.add(code.clone(), Instant::now(), MOST_CODES);
        Ok(DashboardInfo {
            // The code stands in the fragment: browsers send it nowhere.
            url: format!("http://127.0.0.1:{port}/#open={code}"),
            left_seconds: SOON.as_secs(),
            same_user: cfg!(target_os = "linux"),
        })
    }
}

/// Listens once somebody wants the dashboard.
async fn run(service: Arc<DashboardService>, calls: Router, mut waiting: mpsc::Receiver<Wanted>) {
    let mut listening = None;
    while let Some(wanted) = waiting.recv().await {
        let port = match listening {
            Some(port) => Ok(port),
            None => listen(&service, &calls).await,
        };
        listening = port.as_ref().ok().copied();
        let _ = wanted.send(port); // Nobody waits any more: the command was ended.
    }
}

async fn listen(service: &Arc<DashboardService>, calls: &Router) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let router = router(Arc::clone(service), calls.clone(), port);
    let stop = service.tasks.token.child_token();
    service.tasks.spawn(async move {
        browser::serve(listener, router, is_own, stop).await;
    });
    Ok(port)
}

/// Returns whether a connection is this user's own.
fn is_own(peer: SocketAddr, own: SocketAddr) -> bool {
    match browser::owner(peer, own) {
        Owner::Same => true,
        Owner::Other => {
            tracing::debug!("another user of this machine tried the dashboard");
            false
        }
        // The session alone decides.
        Owner::Unknown => peer.ip().is_loopback(),
    }
}

fn router(service: Arc<DashboardService>, calls: Router, port: u16) -> Router {
    let calls = calls.layer(axum::middleware::from_fn_with_state(
        Arc::clone(&service),
        with_session,
    ));
    Router::new()
        .route("/", get(html))
        .route("/session", post(enter))
        .with_state(service)
        .merge(calls)
        .fallback(get(browser::asset))
        .layer(axum::middleware::from_fn_with_state(port, from_itself))
        .layer(axum::middleware::from_fn(browser::guard))
}

async fn html(headers: HeaderMap) -> Response {
    browser::file("dashboard.html", &headers)
}

/// Refuses what another page sends, and what was led here by another name.
async fn from_itself(State(port): State<u16>, request: Request, next: Next) -> Response {
    match is_from_itself(request.headers(), port) {
        true => next.run(request).await,
        false => StatusCode::MISDIRECTED_REQUEST.into_response(),
    }
}

fn is_from_itself(headers: &HeaderMap, port: u16) -> bool {
    let own = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    let text = |name| headers.get(name).and_then(|it| it.to_str().ok());
    let is_own = |host: &str| own.iter().any(|one| one == host);
    let is_origin = |origin: &str| origin.strip_prefix("http://").is_some_and(is_own);
    let origin = headers.get(ORIGIN).is_none() || text(ORIGIN).is_some_and(is_origin);
    origin && text(HOST).is_some_and(is_own)
}

fn no_session() -> Failure {
    ApiError::new(ErrorCode::Refused, "This page has no session (any more).")
        .with_hint("Open the dashboard again: hither ui")
        .into()
}

async fn with_session(
    State(service): State<Arc<DashboardService>>,
    request: Request,
    next: Next,
) -> Response {
    let session = request
        .headers()
        .get(HEADER)
        .and_then(|it| it.to_str().ok());
    let is_in = session.is_some_and(|it| service.access.lock().admits(it, Instant::now()));
    match is_in {
        true => next.run(request).await,
        false => no_session().into_response(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enter {
    code: String,
}

#[derive(Serialize)]
struct Entered {
    session: String,
}

/// Gives a session for the code of an address.
async fn enter(
    State(service): State<Arc<DashboardService>>,
    request: Request,
) -> Result<Json<Entered>, Failure> {
    // Other pages can send a form or a text; a type that they cannot send without being asked tells
    // that it is the dashboard's own.
    let is_json = request.headers().get(CONTENT_TYPE) == Some(&JSON);
    let body = axum::body::to_bytes(request.into_body(), MAX_ENTER);
    let body = tokio::time::timeout(PATIENCE, body).await;
    let enter = body
        .ok()
        .and_then(Result::ok)
        .filter(|_| is_json)
        .and_then(|body| serde_json::from_slice::<Enter>(&body).ok())
        .ok_or_else(no_session)?;
    let entered = service.access.lock().enter(&enter.code, Instant::now());
    match entered.map_err(crate::failure::internal)? {
        Some(session) => Ok(Json(Entered { session })),
        None => Err(no_session()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_good_once_and_soon_and_a_session_while_it_is_used() {
        let (mut access, now) = (Access::default(), Instant::now());
        access.codes.add("one".into(), now, MOST_CODES);
        assert_eq!(access.enter("two", now).unwrap(), None);
        let session = access.enter("one", now).unwrap().unwrap();
        assert_eq!(access.enter("one", now).unwrap(), None);
        access.codes.add("late".into(), now, MOST_CODES);
        assert_eq!(access.enter("late", now + SOON).unwrap(), None);
        let later = now + IDLE - Duration::from_secs(1);
        assert!(access.admits(&session, later) && !access.admits("", later));
        assert!(access.admits(&session, later + IDLE - Duration::from_secs(1)));
        assert!(!access.admits(&session, later + 2 * IDLE));
    }

    #[test]
    fn the_oldest_goes_where_there_are_too_many() {
        let (mut secrets, now) = (Secrets::default(), Instant::now());
        for number in 0..MOST_CODES + 2 {
            let at = now + Duration::from_millis(number as u64);
            secrets.add(number.to_string(), at, MOST_CODES);
        }
        let mut good = |secret: &str| secrets.find(secret, now + SOON / 2, SOON).is_some();
        assert!(!good("0") && !good("1") && good("2") && good("9"));
    }
}
