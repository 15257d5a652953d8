//! The page that this device serves on its network, by plain HTTP, for devices that have nothing
//! installed: what is shared here can be looked at and downloaded, files and texts can be sent.
//!
//! `routes.rs` has the calls of the page, `shares.rs` what it shows, `download.rs` and `archive.rs`
//! give files and folders, `upload.rs` takes what is sent.
//!
//! Invariants: a page is known by an unguessable word in its path, ends by itself, and does not outlive
//! the daemon; only devices of the networks that this one is in are answered; nothing but the shares
//! that a page shows is read, and nothing but new files in the receive folder is written.

mod archive;
mod download;
mod routes;
mod shares;
mod upload;

use crate::browser;
use crate::library::Library;
use crate::mail::MailService;
use crate::receive::ReceiveService;
use crate::settings::Setting;
use hither_api::{ApiError, ErrorCode, MAX_PAGE_SECONDS, PAGE_SECONDS, PageInfo, PageRequest};
use hither_proto::{DeviceId, DeviceName, ShareId};
use hither_swarm::Swarm;
use hither_util::sync::Mutex;
use hither_util::tasks::Tasks;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

/// Most pages at a time.
const MOST: usize = 16;

/// The parts that it is made of.
pub(crate) struct PageDeps {
    pub device: DeviceId,
    pub name: DeviceName,
    pub swarm: Arc<Swarm>,
    pub library: Arc<Library>,
    pub mail: Arc<MailService>,
    pub receive: Arc<ReceiveService>,
    pub port: Setting<u16>,
    pub tasks: Tasks,
}

/// The pages of this device.
pub(crate) struct PageService {
    device: DeviceId,
    name: DeviceName,
    swarm: Arc<Swarm>,
    library: Arc<Library>,
    mail: Arc<MailService>,
    receive: Arc<ReceiveService>,
    port: Setting<u16>,
    tasks: Tasks,
    open: Mutex<Open>,
    /// Counts up with every page that begins or ends, and with what comes by one.
    changes: watch::Sender<u64>,
    /// Held while the first page is opened.
    opening: tokio::sync::Mutex<()>,
    /// Places for what is being sent here.
    uploads: Arc<Semaphore>,
    /// Places for archives that are being made.
    archives: Arc<Semaphore>,
    /// The listing that was asked for last: large ones are the same bytes for everybody.
    listing: shares::Listings,
}

#[derive(Default)]
struct Open {
    pages: Vec<Arc<Page>>,
    /// The server of them, while there are any.
    server: Option<Server>,
}

struct Server {
    port: u16,
    stop: CancellationToken,
}

/// One page.
pub(crate) struct Page {
    /// Its name in calls.
    id: String,
    /// The word in its path.
    token: String,
    ends: Instant,
    upload: bool,
    /// The shares that it shows; `None`: those that are for nobody in particular.
    shares: Option<BTreeSet<ShareId>>,
    /// Files and texts that came by it, and bytes of them.
    received: AtomicU64,
    bytes: AtomicU64,
    /// Is cancelled at its end: what is under way breaks off.
    ended: CancellationToken,
}

impl Page {
    fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }
}

impl PageService {
    /// No pages yet.
    pub(crate) fn new(deps: PageDeps) -> Arc<Self> {
        Arc::new(Self {
            device: deps.device,
            name: deps.name,
            swarm: deps.swarm,
            library: deps.library,
            mail: deps.mail,
            receive: deps.receive,
            port: deps.port,
            tasks: deps.tasks,
            open: Mutex::default(),
            changes: watch::Sender::new(0),
            opening: tokio::sync::Mutex::default(),
            uploads: Arc::new(Semaphore::new(upload::AT_ONCE)),
            archives: Arc::new(Semaphore::new(archive::AT_ONCE)),
            listing: shares::Listings::default(),
        })
    }

    /// Opens a page.
    ///
    /// Errors: a share is not here, there are too many pages, or no port can be listened at.
    pub(crate) async fn open(self: &Arc<Self>, request: PageRequest) -> Result<PageInfo, ApiError> {
        let seconds = request.keep_seconds.unwrap_or(PAGE_SECONDS);
        if !(1..=MAX_PAGE_SECONDS).contains(&seconds) {
            let message = "A page can be there for a second to seven days.";
            return Err(ApiError::new(ErrorCode::BadRequest, message));
        }
        let shares = request.shares.map(|ids| self.named(&ids)).transpose()?;
        let token = browser::secret().map_err(crate::failure::internal)?;
        let page = Arc::new(Page {
            id: blake3::hash(token.as_bytes()).to_hex()[..8].to_owned(),
            token,
            ends: Instant::now() + Duration::from_secs(seconds),
            upload: !request.no_upload,
            shares,
            received: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            ended: self.tasks.token.child_token(),
        });
        let _opening = self.opening.lock().await;
        if self.open.lock().pages.len() >= MOST {
            let message = format!("There are {MOST} pages already.");
            return Err(
                ApiError::new(ErrorCode::BadRequest, message).with_hint("End one: hither page end")
            );
        }
        loop {
            self.listen().await?;
            let mut open = self.open.lock();
            // The last other page may have ended meanwhile, and what served it with it.
            if open.server.is_some() {
                open.pages.push(Arc::clone(&page));
                break;
            }
        }
        let (of, one) = (Arc::clone(self), Arc::clone(&page));
        self.tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep_until(one.ends.into()) => {}
                () = one.ended.cancelled() => {}
            }
            of.remove(&one);
        });
        self.changed();
        tracing::info!(page = page.id, seconds, "a page is there");
        Ok(self.info(&page))
    }

    /// Begins to listen if nobody does.
    async fn listen(self: &Arc<Self>) -> Result<(), ApiError> {
        if self.open.lock().server.is_some() {
            return Ok(());
        }
        let listening = browser::listen(self.port.get()).await;
        let listener = listening.map_err(crate::failure::internal)?;
        let port = listener
            .local_addr()
            .map_err(crate::failure::internal)?
            .port();
        let stop = self.tasks.token.child_token();
        self.open.lock().server = Some(Server {
            port,
            stop: stop.clone(),
        });
        upload::clear(&self.receive, self.device);
        self.tasks.spawn(serve(Arc::clone(self), listener, stop));
        Ok(())
    }

    /// Follows the list of pages.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// The shares of these ids.
    fn named(&self, ids: &[String]) -> Result<BTreeSet<ShareId>, ApiError> {
        let here: BTreeSet<ShareId> = self
            .library
            .share_records()
            .iter()
            .map(|(share, _)| share.id)
            .collect();
        let find = |id: &String| {
            let found = ShareId::from_hex(id).ok().filter(|id| here.contains(id));
            found.ok_or_else(|| {
                let message = "There is no such share on this device.";
                ApiError::new(ErrorCode::NotFound, message)
            })
        };
        ids.iter().map(find).collect()
    }

    /// Every page.
    pub(crate) fn list(&self) -> Vec<PageInfo> {
        let pages = self.open.lock().pages.clone();
        pages.iter().map(|page| self.info(page)).collect()
    }

    /// Ends a page.
    ///
    /// Errors: there is none of that name.
    pub(crate) fn end(&self, id: &str) -> Result<PageInfo, ApiError> {
        let found = {
            let open = self.open.lock();
            open.pages.iter().find(|page| page.id == id).cloned()
        };
        let Some(page) = found else {
            return Err(
                ApiError::new(ErrorCode::NotFound, "There is no such page (any more).")
                    .with_hint("See those that are there with: hither page list"),
            );
        };
        let info = self.info(&page);
        self.remove(&page);
        Ok(info)
    }

    fn remove(&self, page: &Arc<Page>) {
        page.ended.cancel();
        let mut open = self.open.lock();
        let before = open.pages.len();
        open.pages.retain(|one| !Arc::ptr_eq(one, page));
        if open.pages.len() < before {
            tracing::info!(page = page.id, "a page has ended");
        }
        if open.pages.is_empty()
            && let Some(server) = open.server.take()
        {
            server.stop.cancel();
        }
        drop(open);
        self.changed();
    }

    /// The page with this word in its path.
    fn find(&self, token: &str) -> Option<Arc<Page>> {
        let open = self.open.lock();
        let mut pages = open.pages.iter();
        let page = pages.find(|page| browser::same(&page.token, token))?;
        (!page.left().is_zero()).then(|| Arc::clone(page))
    }

    fn info(&self, page: &Page) -> PageInfo {
        let port = self.open.lock().server.as_ref().map_or(0, |one| one.port);
        let addresses = self.swarm.addresses();
        let at = |ip: IpAddr| format!("http://{}/p/{}/", SocketAddr::new(ip, port), page.token);
        let shown = shares::shown(&self.library, page);
        PageInfo {
            page: page.id.clone(),
            urls: addresses.iter().map(|address| at(address.ip())).collect(),
            left_seconds: page.left().as_secs_f64().ceil() as u64,
            upload: page.upload,
            shares: shown
                .iter()
                .map(|(_, record)| hither_proto::display_name(&record.name))
                .collect(),
            received: page.received.load(Ordering::Relaxed),
        }
    }
}

async fn serve(service: Arc<PageService>, listener: TcpListener, stop: CancellationToken) {
    let router = routes::router(Arc::clone(&service));
    browser::serve(listener, router, |peer, _| is_near(peer.ip()), stop).await;
}

/// Returns whether an address is of a network that this device is in: of a kind that no router
/// passes on to the internet, or beside one of its own.
fn is_near(ip: IpAddr) -> bool {
    let is_local = match ip {
        // 100.64.0.0/10 (RFC 6598) is what overlay networks give to a user's devices.
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    };
    is_local
        || hither_swarm::addresses()
            .iter()
            .any(|own| is_beside(*own, ip))
}

/// Returns whether two addresses are in one subnet of the usual size.
fn is_beside(one: IpAddr, other: IpAddr) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => one.octets()[..3] == other.octets()[..3],
        (IpAddr::V6(one), IpAddr::V6(other)) => one.octets()[..8] == other.octets()[..8],
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_near_is_on_a_network_that_this_device_is_in() {
        for near in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.9",
            "172.20.1.1",
            "169.254.3.4",
            "100.101.2.3",
            "::1",
            "fd00::1",
            "fe80::1",
        ] {
            assert!(is_near(near.parse().unwrap()), "{near}");
        }
        for far in ["8.8.8.8", "100.128.0.1", "172.32.0.1", "2001:db8:77::1"] {
            assert!(!is_near(far.parse().unwrap()), "{far}");
        }
        let beside =
            |one: &str, other: &str| is_beside(one.parse().unwrap(), other.parse().unwrap());
        assert!(
            beside("2001:db8:1:2::3", "2001:db8:1:2:ffff::1")
                && beside("198.51.100.7", "198.51.100.200")
        );
        assert!(
            !beside("2001:db8:1:2::3", "2001:db8:1:3::3")
                && !beside("198.51.100.7", "198.51.101.7")
        );
    }
}
