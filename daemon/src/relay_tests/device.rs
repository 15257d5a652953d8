//! A daemon of its own for one test, without discovery and without its API.

use crate::app::App;
use hither_api::{Config, MessageInfo, Paths, SendRequest, SentInfo};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub struct Device {
    pub app: App,
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
        let (app, _inputs) =
            tokio::task::spawn_blocking(move || App::start(paths, config).unwrap())
                .await
                .unwrap();
        app.relays.run();
        crate::mail::start(&app.mail);
        Self { app }
    }

    /// Ends it, so that another one can be started in the same home.
    pub async fn stop(self) {
        self.app.stop().await;
        // Every service holds it; while one lives, the store stays locked.
        let swarm = Arc::downgrade(&self.app.swarm);
        drop(self.app);
        let patience = async {
            while swarm.strong_count() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), patience)
            .await
            .expect("somebody holds on to the daemon");
    }

    pub async fn join(&self, url: &hither_proto::RelayUrl) {
        self.app.relays.join(url).await.unwrap();
    }

    /// Waits until the connections and lists are so.
    pub async fn until(&self, what: &str, is_so: impl Fn(&App) -> bool) {
        let mut changes = self.app.relays.changes();
        let waiting = async {
            while !is_so(&self.app) {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting)
            .await
            .unwrap_or_else(|_| panic!("never: {what}"));
    }

    /// The key of the relay that is connected.
    pub fn connected(&self) -> Option<hither_proto::DeviceId> {
        self.app
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
        crate::mail::send(&self.app.mail, request).await.unwrap()
    }

    pub async fn inbox(&self) -> Vec<MessageInfo> {
        let mail = Arc::clone(&self.app.mail);
        tokio::task::spawn_blocking(move || crate::mail::list(&mail, 0).unwrap())
            .await
            .unwrap()
    }

    /// The texts in the inbox, when there are so many.
    pub async fn texts(&self, count: usize) -> Vec<String> {
        let mut latest = self.app.mail.inbox.latest();
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
