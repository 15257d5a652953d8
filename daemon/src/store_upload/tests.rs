//! Uploads, stores as sources and watched folders, with daemons and a real relay in this process.

use crate::app::App;
use crate::transfer::{self, Request};
use futures::StreamExt;
use hither_api::{
    Config, Done, ErrorCode, Event, Existing, Paths, ShareRequest, SourceKind, UploadState,
};
use hither_proto::Ticket;
use hither_relay::config::{Config as RelayConfig, Size, Span};
use hither_relay::start::{Running, start};
use hither_swarm::Share;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::mpsc;

/// Longest wait for anything: the machine may be busy.
const SOON: Duration = Duration::from_secs(60);

pub(crate) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, work)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"))
}

pub(crate) async fn relay(folder: &Path, change: impl FnOnce(&mut RelayConfig)) -> Running {
    let mut config = RelayConfig {
        data: Some(folder.to_owned()),
        port: 0,
        loopback_only: true,
        ..RelayConfig::default()
    };
    config.extra_tcp_ports = Vec::new();
    config.ops.http = String::new();
    config.ops.drain = Span::millis(100);
    config.store.free_floor = Size(1);
    change(&mut config);
    start(config).await.unwrap()
}

/// A device with everything but discovery and the API.
pub(crate) struct Device {
    pub(crate) app: App,
    home: PathBuf,
}

impl Device {
    pub(crate) async fn start(home: &Path) -> Self {
        Self::start_with(home, Config::default()).await
    }

    pub(crate) async fn start_with(home: &Path, config: Config) -> Self {
        let config = Config {
            port: 0,
            discovery: false,
            device_name: "test".into(),
            ..config
        };
        let paths = Paths::in_home(home);
        let starting = tokio::task::spawn_blocking(move || App::start(paths, config).unwrap());
        let (app, inputs) = starting.await.unwrap();
        assert!(app.run(inputs).is_none());
        Self {
            app,
            home: home.to_owned(),
        }
    }

    /// A device that belongs to the first user of a relay.
    pub(crate) async fn joined(home: &Path, relay: &Running) -> Self {
        let device = Self::start(home).await;
        device.join(relay).await;
        device
    }

    async fn join(&self, relay: &Running) {
        self.app
            .relays
            .join(&relay.invitation.as_ref().unwrap().url)
            .await
            .unwrap();
    }

    pub(crate) async fn stop(self) -> PathBuf {
        self.app.stop().await;
        // Every service holds it; while one lives, the store stays locked.
        let swarm = Arc::downgrade(&self.app.swarm);
        drop(self.app);
        let gone = async {
            while swarm.strong_count() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon("the end of the daemon", gone).await;
        self.home
    }

    pub(crate) async fn share(
        &self,
        path: &Path,
        change: impl FnOnce(&mut ShareRequest),
    ) -> (Arc<Share>, Ticket) {
        let mut request = ShareRequest {
            paths: vec![path.to_owned()],
            ..ShareRequest::default()
        };
        change(&mut request);
        let publisher = Arc::clone(&self.app.publisher);
        let (nobody, _) = mpsc::unbounded_channel();
        let publishing = tokio::task::spawn_blocking(move || {
            crate::publish::publish(&publisher, &request, &nobody, &AtomicBool::new(false))
        });
        let Done::Shared { ticket, .. } = publishing.await.unwrap().unwrap() else {
            panic!("no share")
        };
        let ticket: Ticket = ticket.parse().unwrap();
        (self.app.swarm.shares().get(ticket.share()).unwrap(), ticket)
    }

    /// Waits for the upload of a share; returns how the wait ended.
    async fn uploaded(&self, share: &Share) -> Event {
        let events = super::follow(Arc::clone(&self.app.store_uploads), share.id);
        let last = events.fold(None, async |_, event| Some(event));
        soon("the end of an upload", last).await.unwrap()
    }

    /// Fetches; returns where it is, and how much came in which way.
    async fn fetch(&self, ticket: &Ticket) -> (PathBuf, Vec<(SourceKind, u64)>) {
        let request = Request {
            ticket: ticket.clone(),
            folder: Some(self.home.join("fetched")),
            named: None,
            paths: Vec::new(),
            listing: false,
            from: 0,
            existing: Existing::Overwrite,
            accept: true,
            follow: false,
            mode: None,
            max_cost: None,
            umask: 0o022,
            names: None,
            wait: Some(Duration::from_secs(30)),
        };
        let transfer = transfer::begin(&self.app.transfers, request).unwrap();
        let (mut live, told) = transfer.listen();
        let end = async {
            let mut events: Vec<Event> = told;
            loop {
                if let Some(end) = events.into_iter().find(Event::is_last) {
                    return end;
                }
                events = vec![live.recv().await.unwrap()];
            }
        };
        match soon("the end of a fetch", end).await {
            Event::Done(Done::Fetched { path, sources, .. }) => (
                path.into(),
                sources
                    .iter()
                    .map(|source| (source.kind, source.bytes))
                    .collect(),
            ),
            other => panic!("{other:?}"),
        }
    }

    /// Waits until something is so, looking whenever something changed.
    async fn until(&self, what: &str, is_so: impl Fn(&App) -> bool) {
        let mut changes = self.app.store_uploads.store_uploads.changes.subscribe();
        let waiting = async {
            while !is_so(&self.app) {
                let _ = tokio::time::timeout(Duration::from_millis(50), changes.changed()).await;
            }
        };
        soon(what, waiting).await;
    }
}

fn is_uploaded(event: &Event) -> bool {
    matches!(event, Event::Upload(upload) if upload.state == UploadState::Uploaded)
}

/// Bytes that do not repeat.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(length)
    .collect()
}

pub(crate) struct HostState {
    folder: tempfile::TempDir,
}

impl HostState {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_uploaded_can_be_fetched_while_its_owner_is_away() {
    let world = HostState::new();
    let relay = relay(&world.path("relay"), |_| {}).await;
    let content = noise(5 << 20, 1);
    let file = world.file("film.bin", &content);
    let owner = Device::joined(&world.path("owner"), &relay).await;
    let (share, ticket) = owner.share(&file, |_| {}).await;
    assert_eq!(ticket.relays.len(), 1, "the relay is in the ticket");
    assert!(is_uploaded(&owner.uploaded(&share).await));
    owner.stop().await;
    // Somebody who is nobody's user here and knows the ticket only.
    let reader = Device::start(&world.path("reader")).await;
    let (path, sources) = reader.fetch(&ticket).await;
    assert!(std::fs::read(path).unwrap() == content);
    assert_eq!(sources, [(SourceKind::Store, content.len() as u64)]);
    // A device that passes it on names the relay too.
    let fetched = reader.app.swarm.shares().get(share.id).unwrap();
    assert_eq!(
        reader.app.publisher.tickets.ticket(&fetched).relays,
        ticket.relays
    );
    reader.stop().await;
    relay.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_tells_where_else_it_is_and_gives_itself_what_it_is_asked_for() {
    let world = HostState::new();
    let relay = relay(&world.path("relay"), |_| {}).await;
    let content = noise(3 << 20, 2);
    let owner = Device::joined(&world.path("owner"), &relay).await;
    let (share, ticket) = owner.share(&world.file("a", &content), |_| {}).await;
    assert!(is_uploaded(&owner.uploaded(&share).await));
    let reader = Device::start(&world.path("reader")).await;
    let only_device = Ticket {
        hints: vec![([127, 0, 0, 1], owner.app.swarm.endpoint().port()).into()],
        relays: Vec::new(),
        ..ticket
    };
    let (_, sources) = reader.fetch(&only_device).await;
    assert_eq!(
        sources,
        [(SourceKind::Lan, content.len() as u64)],
        "the device is nearer than any store"
    );
    let store = relay.node.id();
    reader
        .until("the owner tells of the store", |app| {
            app.swarm.holders().stores(share.id).contains(&store)
        })
        .await;
    reader.stop().await;
    owner.stop().await;
    relay.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_new_version_only_what_changed_is_uploaded() {
    let world = HostState::new();
    let relay = relay(&world.path("relay"), |_| {}).await;
    let mut content = noise(8 << 20, 3);
    let file = world.file("data", &content);
    let owner = Device::joined(&world.path("owner"), &relay).await;
    let (share, _) = owner.share(&file, |_| {}).await;
    assert!(is_uploaded(&owner.uploaded(&share).await));
    let before = relay.node.metrics.uploaded.get();
    content[4 << 20..(4 << 20) + 1000].copy_from_slice(&noise(1000, 4));
    std::fs::write(&file, &content).unwrap();
    let (share, ticket) = owner.share(&file, |_| {}).await;
    assert_eq!(share.current().unwrap().number(), 2);
    assert!(is_uploaded(&owner.uploaded(&share).await));
    let sent = relay.node.metrics.uploaded.get() - before;
    assert!(
        sent > 0 && sent < 1 << 20,
        "{sent} bytes for a change of 1,000"
    );
    owner.stop().await;
    let reader = Device::start(&world.path("reader")).await;
    let (path, _) = reader.fetch(&ticket).await;
    assert!(std::fs::read(path).unwrap() == content);
    reader.stop().await;
    relay.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_longer_shared_is_released_even_after_a_restart() {
    let world = HostState::new();
    let relay = relay(&world.path("relay"), |_| {}).await;
    let owner = Device::joined(&world.path("owner"), &relay).await;
    let (share, ticket) = owner
        .share(&world.file("a", &noise(100_000, 5)), |_| {})
        .await;
    assert!(is_uploaded(&owner.uploaded(&share).await));
    let kept = relay.node.store.as_ref().unwrap();
    assert_eq!(
        kept.candidates(owner.app.diagnostics.device, share.id)
            .await
            .unwrap()
            .len(),
        1
    );
    // The share ends while the relay is not reached: the release comes with the next connection.
    owner.app.relays.all()[0].left.cancel();
    owner
        .until("the connection ends", |app| {
            app.relays.connected().is_empty()
        })
        .await;
    let (library, of) = (Arc::clone(&owner.app.library), Arc::clone(&share));
    tokio::task::spawn_blocking(move || library.unshare(&of).unwrap())
        .await
        .unwrap();
    let home = owner.stop().await;
    let owner = Device::start(&home).await;
    owner
        .until("the release", |app| {
            app.store_uploads
                .store_uploads
                .entry(share.id)
                .record
                .is_none()
        })
        .await;
    let owned = owner.app.diagnostics.device;
    let forgotten = async {
        while !kept.candidates(owned, share.id).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("the store forgets it", forgotten).await;
    assert!(ticket.relays.len() == 1 && owner.app.library.records.kept().unwrap().is_empty());
    owner.stop().await;
    relay.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_be_or_does_not_fit_is_not_uploaded_and_says_why() {
    let world = HostState::new();
    let relay = relay(&world.path("relay"), |config| {
        config.place.user_quota = Size(1 << 20)
    })
    .await;
    let owner = Device::joined(&world.path("owner"), &relay).await;
    let (secret, ticket) = owner
        .share(&world.file("secret", b"mine"), |r| r.no_upload = true)
        .await;
    assert_eq!(ticket.relays.len(), 1, "its index names who holds it");
    let Event::Error(error) = owner.uploaded(&secret).await else {
        panic!("uploaded all the same")
    };
    assert_eq!(
        (error.code, error.message.contains("--no-upload")),
        (ErrorCode::Refused, true)
    );
    let (large, _) = owner
        .share(&world.file("large", &noise(3 << 20, 6)), |_| {})
        .await;
    let Event::Error(error) = owner.uploaded(&large).await else {
        panic!("it does not fit")
    };
    assert_eq!(error.code, ErrorCode::OverQuota);
    let told = owner.app.store_uploads.upload_info(&large).unwrap();
    assert_eq!(told.words, "not uploaded: over quota at the relay");
    // Something small still fits.
    let (small, _) = owner
        .share(&world.file("small", &noise(1000, 7)), |_| {})
        .await;
    assert!(is_uploaded(&owner.uploaded(&small).await));
    // Shared anew with another word, it goes from the relay.
    let (small, _) = owner
        .share(&world.path("small"), |r| r.no_upload = true)
        .await;
    owner
        .until("the release", |app| {
            app.store_uploads
                .store_uploads
                .entry(small.id)
                .record
                .is_none()
        })
        .await;
    owner.stop().await;
    relay.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_when_the_relay_is_back() {
    let world = HostState::new();
    let first = relay(&world.path("relay"), |_| {}).await;
    let port = first.node.endpoint.port();
    let owner = Device::joined(&world.path("owner"), &first).await;
    let content = noise(24 << 20, 8);
    let (share, ticket) = owner.share(&world.file("big", &content), |_| {}).await;
    owner
        .until("something is at the store", |app| {
            let told = app.store_uploads.upload_info(&share).unwrap();
            told.state == UploadState::Uploaded
                || (told.state == UploadState::Uploading && told.bytes > 0)
        })
        .await;
    first.kill().await;
    let second = relay(&world.path("relay"), |config| config.port = port).await;
    assert!(is_uploaded(&owner.uploaded(&share).await));
    owner.stop().await;
    let reader = Device::start(&world.path("reader")).await;
    let (path, sources) = reader.fetch(&ticket).await;
    assert!(std::fs::read(path).unwrap() == content);
    assert_eq!(sources[0].0, SourceKind::Store);
    reader.stop().await;
    second.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_folder_is_published_and_uploaded_as_it_changes_also_after_a_restart() {
    let world = HostState::new();
    let relay = relay(&world.path("relay"), |_| {}).await;
    let owner = Device::joined(&world.path("owner"), &relay).await;
    world.file("photos/1.jpg", &noise(50_000, 9));
    let (share, ticket) = owner.share(&world.path("photos"), |r| r.watch = true).await;
    world.file("photos/sub/2.jpg", &noise(50_000, 10));
    let id = share.id;
    let at = |version: u64| {
        move |app: &App| {
            let share = app.swarm.shares().get(id).unwrap();
            let told = app.store_uploads.upload_info(&share).unwrap();
            told.version >= Some(version) && told.state == UploadState::Uploaded
        }
    };
    owner.until("version 2 is at the store", at(2)).await;
    let home = owner.stop().await;
    world.file("photos/sub/3.jpg", &noise(50_000, 11));
    std::fs::remove_file(world.path("photos/1.jpg")).unwrap();
    let owner = Device::start(&home).await;
    owner
        .until("what changed meanwhile is at the store", at(3))
        .await;
    owner.stop().await;
    let reader = Device::start(&world.path("reader")).await;
    let (path, _) = reader.fetch(&ticket).await;
    let there = |name: &str| path.join(name).exists();
    assert!(there("sub/2.jpg") && there("sub/3.jpg") && !there("1.jpg"));
    reader.stop().await;
    relay.kill().await;
}
