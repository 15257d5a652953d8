//! A daemon of its own for one test, without discovery and without its API.

use crate::daemon::Daemon;
use hither_api::{Config, MessageInfo, Paths, SendRequest, SentInfo};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub struct Device {
    pub daemon: Arc<Daemon>,
}

impl Device {
    /// Starts the daemon of a home.
    pub async fn start(home: &Path, name: &str) -> Self {
        let config = Config {
            port: 0,
            discovery: false,
            device_name: name.into(),
            ..Config::default()
        };
        let paths = Paths::in_home(home);
        let (daemon, _inputs) =
            tokio::task::spawn_blocking(move || Daemon::start(paths, config).unwrap())
                .await
                .unwrap();
        daemon.relays.run();
        crate::mail::start(&daemon);
        Self { daemon }
    }

    /// Ends it, so that another one can be started in the same home.
    pub async fn stop(self) {
        self.daemon.stop().await;
        let patience = async {
            while Arc::strong_count(&self.daemon) > 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), patience)
            .await
            .expect("somebody holds on to the daemon");
    }

    pub async fn join(&self, url: &hither_proto::RelayUrl) {
        self.daemon.relays.join(url).await.unwrap();
    }

    /// Waits until the connections and lists are so.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Daemon) -> bool) {
        let mut changes = self.daemon.relays.changes();
        let waiting = async {
            while !is_so(&self.daemon) {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting)
            .await
            .unwrap_or_else(|_| panic!("never: {what}"));
    }

    /// The key of the relay that is connected.
    pub fn connected(&self) -> Option<hither_proto::DeviceId> {
        self.daemon
            .relays
            .connected()
            .first()
            .map(|connection| connection.relay.key)
    }

    pub async fn send(&self, to: &str, text: &str) -> SentInfo {
        let request = SendRequest {
            to: to.into(),
            text: Some(text.into()),
            ..SendRequest::default()
        };
        crate::mail::send(&self.daemon, request).await.unwrap()
    }

    pub async fn inbox(&self) -> Vec<MessageInfo> {
        let daemon = Arc::clone(&self.daemon);
        tokio::task::spawn_blocking(move || crate::mail::list(&daemon, 0).unwrap())
            .await
            .unwrap()
    }

    /// The texts in the inbox, when there are so many.
    pub async fn texts(&self, count: usize) -> Vec<String> {
        let mut latest = self.daemon.mail.inbox.latest();
        let waiting = async {
            loop {
                let inbox = self.inbox().await;
                if inbox.len() >= count {
                    return inbox
                        .into_iter()
                        .map(|message| message.text.unwrap_or_default())
                        .collect();
                }
                latest.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting)
            .await
            .expect("the messages never arrived")
    }
}
