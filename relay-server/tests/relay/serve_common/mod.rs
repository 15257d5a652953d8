//! A relay in this process, and a small client that speaks to it over real sockets.

use bytes::Bytes;
use hither_carrier::{
    Endpoint, EndpointConfig, Identity, Link, RelayReader, Stream, write_message,
    write_relay_message,
};
use hither_proto::limits::{MAX_RELAY_FRAME, PROTOCOL};
use hither_proto::{
    DeviceEntry, DeviceId, Invitation, Message, MessageId, RelayAddress, RelayMessage,
    RelayPurpose, RelayRefusal, RelayRefusalCode, UserId, Welcome,
};
use hither_relay::config::{Config, Size, Span};
use hither_relay::start::{Running, start};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Longest time that anything in these tests may take.
pub const SOON: Duration = Duration::from_secs(30);

/// A relay with its data folder.
pub struct Relay {
    pub running: Running,
    pub dir: tempfile::TempDir,
}

impl Relay {
    /// On any port of the loopback, everything else as by default, then changed.
    pub async fn start(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), change).await
    }

    pub async fn start_in(dir: tempfile::TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            data: Some(dir.path().join("data")),
            port: 0,
            loopback_only: true,
            ..Config::default()
        };
        config.extra_tcp_ports = Vec::new();
        config.ops.http = String::new();
        config.ops.drain = Span::millis(500);
        config.store.free_floor = Size(1);
        change(&mut config);
        Self {
            running: start(config).await.unwrap(),
            dir,
        }
    }

    pub fn address(&self) -> RelayAddress {
        self.running.node.address.clone()
    }

    /// A user with an invitation for so many devices.
    pub async fn invite(&self, devices: u32) -> Invitation {
        let registry = &self.running.node.registry;
        let user = registry.create_user("").await.unwrap();
        registry
            .invite(&user, devices, Duration::from_secs(60))
            .await
            .unwrap()
    }

    /// Waits until the end of a device's connection was noticed and written down.
    pub async fn gone(&self, device: &DeviceId) {
        while self.running.node.registry.seen(device).await.unwrap() == 0
            || self.running.node.connections() > 0
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The same relay after a restart.
    pub async fn restart(self, change: impl FnOnce(&mut Config)) -> Self {
        self.running.kill().await;
        Self::start_in(self.dir, change).await
    }
}

/// A device's key and sockets.
pub struct Device {
    pub endpoint: Arc<Endpoint>,
    pub id: DeviceId,
    pub identity: Identity,
}

impl Device {
    pub fn new() -> Self {
        let config = EndpointConfig {
            loopback_only: true,
            ..EndpointConfig::default()
        };
        let identity = Identity::generate().unwrap();
        let endpoint = Arc::new(Endpoint::bind(&identity, &config).unwrap());
        Self {
            id: identity.device_id(),
            endpoint,
            identity,
        }
    }

    /// A stream on which its purpose was said.
    pub async fn open(&self, relay: &RelayAddress, purpose: RelayPurpose) -> (Link, Stream) {
        let link = timeout(SOON, self.endpoint.connect_relay(relay))
            .await
            .unwrap()
            .unwrap();
        let mut stream = link.open().await.unwrap();
        let open = Message::RelayOpen {
            protocol: PROTOCOL,
            purpose: Some(purpose),
        };
        write_message(&mut stream.send, &open).await.unwrap();
        (link, stream)
    }

    /// The long connection, or why there is none.
    pub async fn hello(
        &self,
        relay: &RelayAddress,
        invitation: Option<&Invitation>,
    ) -> Result<Talk, RelayRefusal> {
        let hello = RelayMessage::Hello {
            invitation: invitation.cloned(),
            instance: 0,
        };
        self.greet(relay, hello).await
    }

    /// The long connection of a page that visits a device.
    pub async fn visit(
        &self,
        relay: &RelayAddress,
        invitation: &Invitation,
    ) -> Result<Talk, RelayRefusal> {
        let invitation = Some(invitation.clone());
        self.greet(relay, RelayMessage::Visit { invitation }).await
    }

    async fn greet(&self, relay: &RelayAddress, first: RelayMessage) -> Result<Talk, RelayRefusal> {
        let (link, mut stream) = self.open(relay, RelayPurpose::Device).await;
        write_relay_message(&mut stream.send, &first).await.unwrap();
        let reader = RelayReader::new(MAX_RELAY_FRAME);
        let mut talk = Talk {
            link,
            stream,
            reader,
            welcome: None,
            skipped: VecDeque::new(),
            pongs: true,
        };
        match talk.next().await {
            Some(RelayMessage::Welcome(welcome)) => talk.welcome = Some(*welcome),
            Some(RelayMessage::Visiting(_)) => {}
            Some(RelayMessage::Refused(refusal)) => return Err(refusal),
            other => panic!("{other:?}"),
        }
        Ok(talk)
    }

    /// The long connection of a device that is registered with this invitation by now or before.
    pub async fn join(&self, relay: &Relay, invitation: &Invitation) -> Talk {
        self.hello(&relay.address(), Some(invitation))
            .await
            .unwrap()
    }

    pub async fn assigned(&self, relay: &RelayAddress) -> Result<Vec<RelayAddress>, RelayRefusal> {
        let (_link, mut stream) = self.open(relay, RelayPurpose::Assign).await;
        write_relay_message(&mut stream.send, &RelayMessage::Assign)
            .await
            .unwrap();
        let mut reader = RelayReader::new(MAX_RELAY_FRAME);
        match timeout(SOON, reader.next(&mut stream.recv))
            .await
            .unwrap()
            .unwrap()
        {
            Some(RelayMessage::Assigned { relays }) => Ok(relays),
            Some(RelayMessage::Refused(refusal)) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }
}

/// A long connection.
pub struct Talk {
    pub link: Link,
    pub stream: Stream,
    pub reader: RelayReader,
    pub welcome: Option<Welcome>,
    skipped: VecDeque<RelayMessage>,
    /// Whether pings are answered.
    pub pongs: bool,
}

impl Talk {
    pub fn welcome(&self) -> &Welcome {
        self.welcome.as_ref().unwrap()
    }

    pub fn user(&self) -> UserId {
        self.welcome().user
    }

    pub async fn say(&mut self, message: RelayMessage) {
        write_relay_message(&mut self.stream.send, &message)
            .await
            .unwrap();
    }

    /// The next message but pings, which are answered; `None`: the stream ended or broke.
    pub async fn next(&mut self) -> Option<RelayMessage> {
        loop {
            let read = timeout(SOON, self.reader.next(&mut self.stream.recv))
                .await
                .expect("nothing comes");
            match read {
                Ok(Some(RelayMessage::Ping { nonce })) => {
                    if self.pongs {
                        let _ = write_relay_message(
                            &mut self.stream.send,
                            &RelayMessage::Pong { nonce },
                        )
                        .await;
                    }
                }
                Ok(message) => return message,
                Err(_) => return None,
            }
        }
    }

    /// The next message that `wanted` picks; the others are kept for later.
    pub async fn find<T>(&mut self, wanted: impl Fn(&RelayMessage) -> Option<T>) -> T {
        for at in 0..self.skipped.len() {
            if let Some(found) = wanted(&self.skipped[at]) {
                self.skipped.remove(at);
                return found;
            }
        }
        loop {
            let message = self.next().await.expect("the connection ended");
            if let Some(found) = wanted(&message) {
                return found;
            }
            self.skipped.push_back(message);
        }
    }

    /// Forgets what was told and not looked at.
    pub fn forget(&mut self) {
        self.skipped.clear();
    }

    /// Waits for the end and says with what refusal.
    pub async fn ended(&mut self) -> Option<RelayRefusal> {
        let mut refusal = None;
        while let Some(message) = self.next().await {
            if let RelayMessage::Refused(why) = message {
                refusal = Some(why);
            }
        }
        refusal
    }

    /// Whether nothing that `wanted` picks comes for a while.
    pub async fn silent_of<T>(
        &mut self,
        wanted: impl Fn(&RelayMessage) -> Option<T>,
        time: Duration,
    ) -> bool {
        timeout(time, self.find(wanted)).await.is_err()
    }

    /// Sends a message and waits for what becomes of it: forwarded or not, or a refusal.
    pub async fn send(
        &mut self,
        request: u64,
        to: DeviceId,
        id: u8,
        text: &str,
    ) -> Result<bool, RelayRefusal> {
        self.post(request, to, [id; 16], text).await;
        self.sent(request).await
    }

    pub async fn post(&mut self, request: u64, to: DeviceId, id: [u8; 16], text: &str) {
        let sealed = Bytes::copy_from_slice(text.as_bytes());
        self.say(RelayMessage::Send {
            request,
            to,
            id: MessageId::new(id),
            sealed,
            keep_s: 0,
        })
        .await;
    }

    pub async fn sent(&mut self, wanted: u64) -> Result<bool, RelayRefusal> {
        self.find(|message| match message {
            RelayMessage::Sent { request, forwarded } if *request == wanted => Some(Ok(*forwarded)),
            RelayMessage::Failed { request, refusal } if *request == wanted => Some(Err(*refusal)),
            _ => None,
        })
        .await
    }

    /// The next message delivered, not acknowledged: place, sender, text.
    pub async fn delivered(&mut self) -> (u64, DeviceId, String) {
        self.find(|message| match message {
            RelayMessage::Deliver {
                seq, from, sealed, ..
            } => Some((*seq, *from, String::from_utf8(sealed.to_vec()).unwrap())),
            _ => None,
        })
        .await
    }

    /// The same, acknowledged.
    pub async fn received(&mut self) -> String {
        let (seq, _, text) = self.delivered().await;
        self.say(RelayMessage::Received { seq }).await;
        text
    }

    /// Waits until it is told that a device is as `is` says.
    pub async fn until(
        &mut self,
        device: DeviceId,
        is: impl Fn(&DeviceEntry) -> bool,
    ) -> DeviceEntry {
        self.find(|message| match message {
            RelayMessage::DevicesChanged { changed, .. } => changed
                .iter()
                .find(|entry| entry.device == device && is(entry))
                .cloned(),
            _ => None,
        })
        .await
    }
}

/// A refusal with this code.
pub fn refused<T: std::fmt::Debug>(
    result: Result<T, RelayRefusal>,
    code: RelayRefusalCode,
) -> RelayRefusal {
    let refusal = result.expect_err("it was not refused");
    assert_eq!(refusal.code, code);
    refusal
}
