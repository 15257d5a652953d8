//! The steps of a user with several devices: relays, the list of devices, messages, shares that are
//! uploaded.

use super::device::Device;
use super::wait::until;
use hither_api::{
    DeviceInfo, MessageInfo, RelayInfo, RelayState, SentInfo, ShareInfo, UploadInfo, UploadState,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

fn parsed<T: DeserializeOwned>(line: &Value) -> T {
    serde_json::from_value(line.clone()).unwrap_or_else(|error| panic!("{line}: {error}"))
}

impl Device {
    // --- relays ---

    /// Joins a relay; it must take this device in.
    #[track_caller]
    pub fn join(&self, url: &str) {
        self.hither(&["relay", "add", url]).well();
    }

    /// How the relay stands that it joined, of which there is one.
    #[track_caller]
    pub fn relay(&self) -> RelayInfo {
        self.api()
            .get::<Vec<RelayInfo>>("/v1/relays")
            .unwrap()
            .pop()
            .expect("a relay")
    }

    /// Waits until it is connected to its relay; gives how.
    #[track_caller]
    pub fn is_connected(&self) -> RelayInfo {
        until("a connection to the relay", || {
            Some(self.relay()).filter(|relay| relay.state == RelayState::Connected)
        })
    }

    // --- the user's devices ---

    /// What it knows of another device of the user, by that one's name.
    pub fn knows(&self, name: &str) -> Option<DeviceInfo> {
        let devices: Vec<DeviceInfo> = self.api().get("/v1/devices").unwrap();
        devices.into_iter().find(|device| device.name == name)
    }

    /// Waits until it knows another device, and whether that one is there.
    #[track_caller]
    pub fn sees_that(&self, name: &str, online: bool) {
        until(&format!("{}: {name} online: {online}", self.name), || {
            self.knows(name).filter(|device| device.online == online)
        });
    }

    /// The list as a user sees it.
    #[track_caller]
    pub fn devices(&self) -> Vec<DeviceInfo> {
        self.hither(&["devices"])
            .well()
            .lines
            .iter()
            .map(parsed)
            .collect()
    }

    // --- messages ---

    /// Sends a text; it must be taken.
    #[track_caller]
    pub fn send(&self, to: &str, text: &str) -> SentInfo {
        parsed(
            self.hither(&["send", to, text])
                .well()
                .lines
                .last()
                .unwrap(),
        )
    }

    /// The messages that arrived, as a user sees them.
    #[track_caller]
    pub fn inbox(&self) -> Vec<MessageInfo> {
        self.hither(&["inbox"])
            .well()
            .lines
            .iter()
            .map(parsed)
            .collect()
    }

    /// The texts that arrived, in order. Of those of one sender, when it is named.
    pub fn texts(&self, from: Option<&str>) -> Vec<String> {
        let inbox: Vec<MessageInfo> = self.api().get("/v1/inbox").unwrap();
        let wanted = inbox
            .into_iter()
            .filter(|message| from.is_none_or(|from| message.name == from));
        wanted
            .map(|message| message.text.expect("a text"))
            .collect()
    }

    // --- shares ---

    /// How the upload of a share stands.
    #[track_caller]
    pub fn upload(&self, share: &str) -> UploadInfo {
        let shares: Vec<ShareInfo> = self.api().get("/v1/shares").unwrap();
        let found = shares
            .into_iter()
            .find(|known| known.share == share)
            .expect("a share");
        found.upload.expect("a relay that stores")
    }

    /// Waits until all of a share is at a store.
    #[track_caller]
    pub fn uploads(&self, share: &str) {
        let mut last = None;
        until("an upload", || {
            let upload = self.upload(share);
            let done = upload.state == UploadState::Uploaded;
            if last.as_ref() != Some(&upload) {
                // What is seen last says why it was waited for in vain.
                println!(
                    "{}: {} ({} of {} bytes)",
                    self.name, upload.words, upload.bytes, upload.total
                );
                last = Some(upload);
            }
            done.then_some(())
        });
    }
}
