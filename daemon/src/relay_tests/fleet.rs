//! Relays in this process that play as much of a fleet as a device can notice: assignment, list,
//! cards, mailboxes.

use bytes::Bytes;
use hither_carrier::{
    Endpoint, EndpointConfig, Identity, Incoming, MessageReader, RelayReader, SendHalf, Stream,
    write_relay_message,
};
use hither_proto::limits::{MAX_FRAME_UNPROVEN, MAX_MESSAGE, MAX_RELAY_FRAME};
use hither_proto::{
    Card, DeviceEntry, DeviceId, Invitation, Message, MessageId, RelayAddress, RelayMessage,
    RelayPurpose, RelayRefusalCode, RelayUrl, UserId, Welcome,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// A sealed message in a mailbox.
#[derive(Debug, Clone)]
pub struct Mail {
    pub from: DeviceId,
    pub id: MessageId,
    pub sealed: Bytes,
}

/// The state that the relays of a fleet share.
#[derive(Debug, Default)]
pub struct State {
    pub invitations: HashSet<[u8; 16]>,
    pub registered: BTreeSet<DeviceId>,
    /// The answer to an assign; empty: the relay that was queried.
    pub assigned: Vec<RelayAddress>,
    pub online: HashMap<DeviceId, mpsc::UnboundedSender<RelayMessage>>,
    pub cards: HashMap<(DeviceId, DeviceId), Bytes>,
    /// The mail that was sent, in order, every attempt.
    pub sent: Vec<Mail>,
    /// Mailboxes: what was not acknowledged, by number.
    pub boxes: HashMap<DeviceId, BTreeMap<u64, Mail>>,
    pub last_seq: u64,
    /// Numbers acknowledged, in order.
    pub received: Vec<u64>,
    /// Which relay was greeted, in order.
    pub hellos: Vec<DeviceId>,
    /// Long connections that are open now, by relay.
    pub open: HashMap<DeviceId, usize>,
    /// Pings are not answered.
    pub silent: HashSet<DeviceId>,
    /// Sends are not answered by the silent ones either.
    pub mute: bool,
    /// The connection breaks when something is acknowledged, before that counts.
    pub deaf: bool,
    /// Sends are refused so.
    pub refuse_sends: Option<RelayRefusalCode>,
    pub ping_ms: u32,
}

/// Some relays that are one.
#[derive(Clone)]
pub struct Fleet {
    state: Arc<Mutex<State>>,
    changes: watch::Sender<u64>,
}

impl Fleet {
    pub fn new() -> Self {
        let state = State {
            ping_ms: 30_000,
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            changes: watch::Sender::new(0),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut self.state());
        self.changes.send_modify(|count| *count += 1);
        result
    }

    /// Waits until something is so; fails after some seconds.
    pub async fn until(&self, what: &str, is_so: impl Fn(&State) -> bool) {
        let mut changes = self.changes.subscribe();
        let waiting = async {
            while !is_so(&self.state()) {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting)
            .await
            .unwrap_or_else(|_| panic!("never: {what}"));
    }

    /// An invitation for any number of devices.
    pub fn invite(&self, number: u8) -> Invitation {
        self.state().invitations.insert([number; 16]);
        Invitation::new([number; 16])
    }

    /// Says something to a device that is connected.
    pub fn tell(&self, device: DeviceId, message: RelayMessage) {
        self.state().online[&device].send(message).unwrap();
    }

    fn entries(&self, reader: DeviceId) -> Vec<DeviceEntry> {
        let state = self.state();
        let entry = |device: &DeviceId| DeviceEntry {
            device: *device,
            online: state.online.contains_key(device),
            last_seen_ms: 1_000_000,
            card: state
                .cards
                .get(&(reader, *device))
                .cloned()
                .unwrap_or_default(),
            same_network: false,
            web: false,
        };
        state.registered.iter().map(entry).collect()
    }

    /// Tells everybody how everybody is.
    fn tell_all(&self) {
        let online: Vec<_> = self
            .state()
            .online
            .iter()
            .map(|(d, s)| (*d, s.clone()))
            .collect();
        for (device, sender) in online {
            let changed = self.entries(device);
            let _ = sender.send(RelayMessage::DevicesChanged {
                changed,
                removed: Vec::new(),
            });
        }
    }

    fn mail(&self, to: DeviceId, mail: Mail) -> bool {
        self.change(|state| {
            state.sent.push(mail.clone());
            state.last_seq += 1;
            let seq = state.last_seq;
            let known = state.boxes.entry(to).or_default();
            if known
                .values()
                .any(|other| other.from == mail.from && other.id == mail.id)
            {
                return true;
            }
            known.insert(seq, mail.clone());
            state
                .online
                .get(&to)
                .is_some_and(|sender| sender.send(deliver(seq, &mail)).is_ok())
        })
    }
}

pub fn deliver(seq: u64, mail: &Mail) -> RelayMessage {
    RelayMessage::Deliver {
        seq,
        from: mail.from,
        id: mail.id,
        sealed: mail.sealed.clone(),
        taken_ms: 5,
    }
}

/// One relay of a fleet.
pub struct Node {
    pub key: DeviceId,
    pub port: u16,
    fleet: Fleet,
    stop: CancellationToken,
    endpoint: Arc<Endpoint>,
}

impl Node {
    pub fn start(fleet: &Fleet) -> Self {
        let identity = Identity::generate().unwrap();
        let config = EndpointConfig {
            loopback_only: true,
            ..EndpointConfig::default()
        };
        let endpoint = Arc::new(Endpoint::bind(&identity, &config).unwrap());
        let (stop, key) = (CancellationToken::new(), identity.device_id());
        let (serving, of, token) = (Arc::clone(&endpoint), fleet.clone(), stop.clone());
        tokio::spawn(async move {
            while let Some(incoming) = serving.accept().await {
                if let Incoming::Stream(stream) = incoming {
                    let (fleet, token) = (of.clone(), token.clone());
                    tokio::spawn(async move {
                        tokio::select! {
                            _ = serve(&fleet, key, stream) => {}
                            () = token.cancelled() => {}
                        }
                    });
                }
            }
        });
        Self {
            key,
            port: endpoint.port(),
            fleet: fleet.clone(),
            stop,
            endpoint,
        }
    }

    pub fn url(&self, invitation: Option<Invitation>) -> RelayUrl {
        RelayUrl {
            at: format!("127.0.0.1:{}", self.port).parse().unwrap(),
            key: self.key,
            invitation,
        }
    }

    pub fn address(&self) -> RelayAddress {
        self.url(None).address()
    }

    /// Dies: its connections break, and nobody answers any more.
    pub async fn kill(&self) {
        self.stop.cancel();
        self.endpoint.close().await;
        self.fleet.change(|state| state.open.remove(&self.key));
    }
}

async fn serve(fleet: &Fleet, key: DeviceId, stream: Stream) -> Option<()> {
    let Stream {
        mut send,
        mut recv,
        device,
        ..
    } = stream;
    let mut reader = MessageReader::new(MAX_FRAME_UNPROVEN);
    let Ok(Some(Message::RelayOpen { purpose, .. })) = reader.next(&mut recv).await else {
        return None;
    };
    let mut reader = reader.into_relay(MAX_RELAY_FRAME);
    match purpose? {
        RelayPurpose::Circuit => return None,
        RelayPurpose::Assign => {
            assert_eq!(
                reader.next(&mut recv).await.ok()?,
                Some(RelayMessage::Assign)
            );
            let relays = fleet.state().assigned.clone();
            write_relay_message(&mut send, &RelayMessage::Assigned { relays })
                .await
                .ok()?;
            // Until the device has read it.
            let _ = reader.next(&mut recv).await;
        }
        RelayPurpose::Device => {
            let Ok(Some(RelayMessage::Hello { invitation, .. })) = reader.next(&mut recv).await
            else {
                return None;
            };
            if let Some(code) = fleet.change(|state| admit(state, key, device, invitation)) {
                write_relay_message(&mut send, &RelayMessage::Refused(code.into()))
                    .await
                    .ok()?;
                let _ = reader.next(&mut recv).await;
                return None;
            }
            let talk = Talk { fleet, key, device };
            let (sender, queue) = mpsc::unbounded_channel();
            fleet.change(|state| {
                state.online.insert(device, sender.clone());
                *state.open.entry(key).or_default() += 1;
            });
            let _ = talk.run(&mut send, &mut recv, &mut reader, queue).await;
            fleet.change(|state| {
                if state
                    .online
                    .get(&device)
                    .is_some_and(|other| other.same_channel(&sender))
                {
                    state.online.remove(&device);
                }
                if let Some(open) = state.open.get_mut(&key) {
                    *open -= 1;
                }
            });
            fleet.tell_all();
        }
        RelayPurpose::Upload | RelayPurpose::Node | RelayPurpose::Index => {}
    }
    Some(())
}

/// Why a device is refused, or nothing.
fn admit(
    state: &mut State,
    key: DeviceId,
    device: DeviceId,
    invitation: Option<Invitation>,
) -> Option<RelayRefusalCode> {
    state.hellos.push(key);
    match invitation {
        Some(shown) if state.invitations.contains(shown.expose()) => {
            state.registered.insert(device);
        }
        Some(_) => return Some(RelayRefusalCode::Invitation),
        None if !state.registered.contains(&device) => {
            return Some(RelayRefusalCode::NotRegistered);
        }
        None => {}
    }
    None
}

/// One long connection.
struct Talk<'a> {
    fleet: &'a Fleet,
    key: DeviceId,
    device: DeviceId,
}

impl Talk<'_> {
    async fn run(
        &self,
        send: &mut SendHalf,
        recv: &mut hither_carrier::RecvHalf,
        reader: &mut RelayReader,
        mut queue: mpsc::UnboundedReceiver<RelayMessage>,
    ) -> Option<()> {
        let ping_ms = self.fleet.state().ping_ms;
        let welcome = RelayMessage::Welcome(Box::new(Welcome {
            user: UserId::new([1; 16]),
            ping_ms,
            devices: self.fleet.entries(self.device),
            stores: Vec::new(),
            front: None,
            max_message: MAX_MESSAGE as u32,
            web: None,
        }));
        write_relay_message(send, &welcome).await.ok()?;
        let waiting = self
            .fleet
            .state()
            .boxes
            .get(&self.device)
            .cloned()
            .unwrap_or_default();
        for (seq, mail) in &waiting {
            write_relay_message(send, &deliver(*seq, mail)).await.ok()?;
        }
        self.fleet.tell_all();
        loop {
            tokio::select! {
                message = reader.next(recv) => {
                    if let Some(answer) = self.take(message.ok()??)? {
                        write_relay_message(send, &answer).await.ok()?;
                    }
                }
                Some(message) = queue.recv() => write_relay_message(send, &message).await.ok()?,
            }
        }
    }

    fn take(&self, message: RelayMessage) -> Option<Option<RelayMessage>> {
        let fleet = self.fleet;
        let answer = match message {
            RelayMessage::Ping { nonce } => {
                let silent = fleet.state().silent.contains(&self.key);
                (!silent).then_some(RelayMessage::Pong { nonce })
            }
            RelayMessage::Cards(cards) => {
                fleet.change(|state| {
                    for Card { reader, sealed } in cards {
                        state.cards.insert((reader, self.device), sealed);
                    }
                });
                fleet.tell_all();
                None
            }
            RelayMessage::Send {
                request,
                to,
                id,
                sealed,
                ..
            } => {
                let (refusal, mute) = {
                    let state = fleet.state();
                    (
                        state.refuse_sends,
                        state.mute && state.silent.contains(&self.key),
                    )
                };
                if mute {
                    return Some(None);
                }
                Some(match refusal {
                    Some(code) => RelayMessage::Failed {
                        request,
                        refusal: code.into(),
                    },
                    None => {
                        let forwarded = fleet.mail(
                            to,
                            Mail {
                                from: self.device,
                                id,
                                sealed,
                            },
                        );
                        RelayMessage::Sent { request, forwarded }
                    }
                })
            }
            RelayMessage::Received { seq } => {
                if fleet.state().deaf {
                    return None;
                }
                fleet.change(|state| {
                    state.received.push(seq);
                    state
                        .boxes
                        .entry(self.device)
                        .or_default()
                        .retain(|kept, _| *kept > seq);
                });
                None
            }
            _ => None,
        };
        Some(answer)
    }
}
