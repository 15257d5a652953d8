//! STUN (RFC 8489) on the socket of QUIC: where others see this device, and checks of direct paths.
//!
//! Packets of STUN begin with two bits that are 0, those of QUIC with one that is 1 (RFC 9443); the
//! bit is not greased here, so that both share a socket, and with it a mapping of every NAT before
//! it. A relay answers whoever asks where it is seen from. A device answers nobody but those whose
//! checks it expects.
//!
//! Invariants: an answer is never longer than what it answers, so that nobody's address is worth
//! forging. Bounds: [`MAX_ASKED`] requests wait for an answer, [`MAX_CHECKERS`] attempts run; what
//! cannot be handed over at once is dropped, as a network drops it.

use crate::reach::canonical;
use quinn::AsyncUdpSocket;
use quinn::udp::Transmit;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use stun_types::attribute::{Software, Username, XorMappedAddress};
use stun_types::message::{
    BINDING, Message, MessageClass, MessageHeader, MessageWrite, MessageWriteExt, MessageWriteVec,
    TransactionId,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Most requests that wait for an answer.
const MAX_ASKED: usize = 1024;
/// Most attempts whose checks are taken.
const MAX_CHECKERS: usize = 64;
/// Most packets that wait for one attempt.
const QUEUE: usize = 64;
/// The fixed bytes of every message (RFC 8489, section 5).
const MAGIC: [u8; 4] = 0x2112_a442_u32.to_be_bytes();
/// Longest message that is looked at, bytes: checks have some 120.
const MAX_LENGTH: usize = 548;
/// When a request is sent again, and how long an answer is waited for after the last time
/// (RFC 8489, section 6.2.1, with an end that people wait for).
const RETRANSMITS: [Duration; 4] = [
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(600),
    Duration::from_millis(800),
];
/// What a request names as its software, for as many bytes as the longest answer has.
const SOFTWARE: &str = "hither, asking where it is seen from";

/// A packet of STUN.
#[derive(Debug)]
pub(crate) struct Datagram {
    pub(crate) bytes: Vec<u8>,
    pub(crate) source: SocketAddr,
}

/// Whoever waits for an answer.
enum Asker {
    Mapped(oneshot::Sender<SocketAddr>),
    Checker(mpsc::Sender<Datagram>),
}

/// Everything of STUN that shares the socket.
pub(crate) struct Stun {
    socket: Arc<dyn AsyncUdpSocket>,
    /// This is a relay: whoever asks is told where it is seen from.
    relay: bool,
    asked: Mutex<HashMap<TransactionId, Asker>>,
    /// By the user name fragment that checks begin with.
    checkers: Mutex<HashMap<String, mpsc::Sender<Datagram>>>,
}

impl std::fmt::Debug for Stun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stun").finish_non_exhaustive()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns whether a packet is one of STUN, and no longer than those that are used here.
pub(crate) fn is_stun(packet: &[u8]) -> bool {
    packet.len() >= MessageHeader::LENGTH
        && packet[0] & 0xc0 == 0
        && packet[4..8] == MAGIC
        && packet.len() <= MAX_LENGTH
        && usize::from(u16::from_be_bytes([packet[2], packet[3]])) + MessageHeader::LENGTH
            == packet.len()
}

/// The packets of one attempt, until this is dropped.
pub(crate) struct Checker {
    stun: Arc<Stun>,
    ufrag: String,
    sender: mpsc::Sender<Datagram>,
    pub(crate) arrived: mpsc::Receiver<Datagram>,
    asked: Vec<TransactionId>,
}

impl Checker {
    /// Sends a packet; the answer to a request arrives here.
    pub(crate) fn send(&mut self, to: SocketAddr, packet: &[u8]) {
        if let Ok(header) = MessageHeader::from_bytes(packet)
            && header.get_type().has_class(MessageClass::Request)
        {
            let mut asked = lock(&self.stun.asked);
            if asked.len() < MAX_ASKED {
                let id = header.transaction_id();
                asked.insert(id, Asker::Checker(self.sender.clone()));
                self.asked.push(id);
            }
        }
        self.stun.send(to, packet, None);
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        lock(&self.stun.checkers).remove(&self.ufrag);
        let mut asked = lock(&self.stun.asked);
        for id in &self.asked {
            asked.remove(id);
        }
    }
}

impl Stun {
    pub(crate) fn new(socket: Arc<dyn AsyncUdpSocket>, relay: bool) -> Self {
        Self {
            socket,
            relay,
            asked: Mutex::default(),
            checkers: Mutex::default(),
        }
    }

    /// Takes the checks that name `ufrag`; `None`: too many attempts run, or one of that name.
    pub(crate) fn checker(self: &Arc<Self>, ufrag: &str) -> Option<Checker> {
        let (sender, arrived) = mpsc::channel(QUEUE);
        let mut checkers = lock(&self.checkers);
        if checkers.len() >= MAX_CHECKERS || checkers.contains_key(ufrag) {
            return None;
        }
        checkers.insert(ufrag.to_owned(), sender.clone());
        drop(checkers);
        Some(Checker {
            stun: Arc::clone(self),
            ufrag: ufrag.to_owned(),
            sender,
            arrived,
            asked: Vec::new(),
        })
    }

    /// Takes a packet that arrived.
    pub(crate) fn take(&self, packet: &[u8], source: SocketAddr, local: Option<IpAddr>) {
        let Ok(message) = Message::from_bytes(packet) else {
            return;
        };
        if !message.has_method(BINDING) {
            return;
        }
        let source = canonical(source);
        match message.class() {
            MessageClass::Request => match message.attribute::<Username>() {
                Ok(name) => self.hand_over(name.username(), packet, source),
                Err(_) if self.relay => self.answer(&message, packet, source, local),
                Err(_) => {}
            },
            MessageClass::Success | MessageClass::Error => self.answered(&message, packet, source),
            MessageClass::Indication => {}
        }
    }

    /// A check for one of the attempts.
    fn hand_over(&self, name: &str, packet: &[u8], source: SocketAddr) {
        let ufrag = name.split(':').next().unwrap_or_default();
        if let Some(checker) = lock(&self.checkers).get(ufrag) {
            let bytes = packet.to_vec();
            let _ = checker.try_send(Datagram { bytes, source });
        }
    }

    fn answered(&self, message: &Message<'_>, packet: &[u8], source: SocketAddr) {
        let id = message.transaction_id();
        let Some(asker) = lock(&self.asked).remove(&id) else {
            return;
        };
        match asker {
            Asker::Checker(checker) => {
                let bytes = packet.to_vec();
                let _ = checker.try_send(Datagram { bytes, source });
            }
            Asker::Mapped(asker) => {
                if let Ok(mapped) = message.attribute::<XorMappedAddress>() {
                    let _ = asker.send(canonical(mapped.addr(id)));
                }
            }
        }
    }

    /// Tells where a request comes from.
    fn answer(
        &self,
        request: &Message<'_>,
        packet: &[u8],
        source: SocketAddr,
        local: Option<IpAddr>,
    ) {
        let write = MessageWriteVec::with_capacity(MAX_LENGTH);
        let known = [
            stun_types::attribute::AttributeType::new(0x0020),
            stun_types::attribute::AttributeType::new(0x0026),
        ];
        let answer = match Message::check_attribute_types(request, &known, &[], write) {
            Some(error) => error.finish(),
            None => {
                let mut answer =
                    Message::builder_success(request, MessageWriteVec::with_capacity(MAX_LENGTH));
                let mapped = XorMappedAddress::new(source, request.transaction_id());
                if answer.add_attribute(&mapped).is_err() {
                    return;
                }
                answer.finish()
            }
        };
        if answer.len() <= packet.len() {
            self.send(source, &answer, local);
        }
    }

    /// The address at which `server` sees this device's socket; `None`: it does not answer, or
    /// not to this family of addresses.
    pub(crate) async fn mapped(&self, server: SocketAddr) -> Option<SocketAddr> {
        let mut request = Message::builder_request(BINDING, MessageWriteVec::new());
        let software = Software::new(SOFTWARE).ok()?;
        request.add_attribute(&software).ok()?;
        let request = request.finish();
        let id = MessageHeader::from_bytes(&request).ok()?.transaction_id();
        let (sender, mut mapped) = oneshot::channel();
        {
            let mut asked = lock(&self.asked);
            if asked.len() >= MAX_ASKED {
                return None;
            }
            asked.insert(id, Asker::Mapped(sender));
        }
        let _asked = Asked(self, id);
        for pause in RETRANSMITS {
            self.send(server, &request, None);
            if let Ok(answered) = timeout(pause, &mut mapped).await {
                return answered.ok();
            }
        }
        None
    }

    fn send(&self, to: SocketAddr, packet: &[u8], from: Option<IpAddr>) {
        let v6 = self.socket.local_addr().is_ok_and(|own| own.is_ipv6());
        let destination = match to {
            SocketAddr::V4(to) if v6 => (to.ip().to_ipv6_mapped(), to.port()).into(),
            SocketAddr::V6(_) if !v6 => return,
            to => to,
        };
        let transmit = Transmit {
            destination,
            ecn: None,
            contents: packet,
            segment_size: None,
            src_ip: from,
        };
        // What does not go out now is lost, as on its way.
        if let Err(error) = self.socket.try_send(&transmit) {
            tracing::trace!(%to, %error, "a packet of STUN was not sent");
        }
    }
}

/// A request that nobody waits for any more once this is dropped.
struct Asked<'a>(&'a Stun, TransactionId);

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        lock(&self.0.asked).remove(&self.1);
    }
}
