//! The admin socket of a running node: HTTP/JSON, for the user of the relay and root.
//!
//! Invariant: the socket has mode 0600, and a connection of another user of the machine is closed
//! before a byte is read.

use super::error::{AdminError, Code};
use super::types::{
    Backup, Check, Checked, Collected, Devices, Invite, Invited, Revoke, Revoked, Saved, Stats,
    Users,
};
use super::work::Admin;
use crate::config::Folder;
use crate::node::Node;
use crate::ops::{Bounded, Gates};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};

/// Most connections at a time.
const MAX_CONNECTIONS: usize = 32;
/// Longest life of a connection: a check or a backup of many terabytes.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Listens on the admin socket until the node stops.
///
/// The caller holds the lock of the data folder, so a socket that is there is a dead node's.
pub async fn start(node: &Arc<Node>, gates: &Gates) -> io::Result<()> {
    let folder = Folder::of(&node.config);
    let listener = listen(&folder.socket())?;
    let admin = Arc::new(Admin::new(Arc::clone(node), gates.clone(), folder.clone()));
    let stop = node.stopping();
    node.spawn(async move {
        let listener = Bounded::new(listener, MAX_CONNECTIONS, LONGEST);
        if let Err(error) = listener.serve(router(admin), stop).await {
            tracing::error!(%error, "the admin socket ended");
        }
    });
    Ok(())
}

fn listen(path: &Path) -> io::Result<OwnUser> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600))?;
    Ok(OwnUser(listener))
}

/// A listener that takes connections of this user, and of root, only.
struct OwnUser(UnixListener);

impl axum::serve::Listener for OwnUser {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = axum::serve::Listener::accept(&mut self.0).await;
            let own = rustix::process::geteuid().as_raw();
            match stream.peer_cred() {
                Ok(peer) if peer.uid() == own || peer.uid() == 0 => return (stream, address),
                Ok(peer) => {
                    tracing::warn!(user = peer.uid(), "another user tried the admin socket")
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection to the admin socket without a user")
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

fn router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/v1/invitations", post(invite))
        .route("/v1/users", get(users))
        .route("/v1/devices", get(devices))
        .route("/v1/revoke", post(revoke))
        .route("/v1/stats", get(stats))
        .route("/v1/gc", post(gc))
        .route("/v1/check", post(check))
        .route("/v1/backup", post(backup))
        .fallback(|| async { AdminError::new(Code::NotFound, "There is no such call.") })
        .with_state(admin)
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self)).into_response()
    }
}

type Answer<T> = Result<Json<T>, AdminError>;
type Asked = State<Arc<Admin>>;

/// Where to go on in a list, and whose devices.
#[derive(Debug, Deserialize)]
struct Part {
    after: Option<String>,
    user: Option<String>,
}

async fn invite(State(admin): Asked, Json(body): Json<Invite>) -> Answer<Invited> {
    admin.invite(body).await.map(Json)
}

async fn users(State(admin): Asked, Query(part): Query<Part>) -> Answer<Users> {
    admin.users(part.after.as_deref()).await.map(Json)
}

async fn devices(State(admin): Asked, Query(part): Query<Part>) -> Answer<Devices> {
    admin
        .devices(part.after.as_deref(), part.user.as_deref())
        .await
        .map(Json)
}

async fn revoke(State(admin): Asked, Json(body): Json<Revoke>) -> Answer<Revoked> {
    admin.revoke(body).await.map(Json)
}

async fn stats(State(admin): Asked) -> Answer<Stats> {
    admin.stats().await.map(Json)
}

async fn gc(State(admin): Asked) -> Answer<Collected> {
    admin.gc().await.map(Json)
}

async fn check(State(admin): Asked, Json(body): Json<Check>) -> Answer<Checked> {
    admin.check(body.repair).await.map(Json)
}

async fn backup(State(admin): Asked, Json(body): Json<Backup>) -> Answer<Saved> {
    admin.backup(body.to).await.map(Json)
}
