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
/// Pauses after which a request is sent again; the last one is the wait for a last answer
/// (RFC 8489, section 6.2.1, with an end that people wait for).
const RETRANSMITS: [Duration; 4] = [
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(600),
    Duration::from_millis(800),
];
/// The software that a request names, for as many bytes as the longest answer has.
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
        // A packet that does not go out now is lost, as on its way.
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

#[cfg(test)]
pub(crate) mod fake;

#[cfg(test)]
mod tests {
    use super::fake::{FakeSocket, stun};
    use super::*;

    /// A Binding request with an attribute of its own, padded to a length.
    fn request(attribute: u16, length: usize) -> Vec<u8> {
        let mut packet = vec![0, 1, 0, 0];
        packet.extend(MAGIC);
        packet.extend([7; 12]);
        if length > packet.len() {
            let value = length - packet.len() - 4;
            packet.extend(attribute.to_be_bytes());
            packet.extend(u16::try_from(value).unwrap().to_be_bytes());
            packet.resize(length, 0);
        }
        let body = u16::try_from(packet.len() - 20).unwrap();
        packet[2..4].copy_from_slice(&body.to_be_bytes());
        packet
    }

    const V4: &str = "203.0.113.9:5000";
    const V6: &str = "[2001:db8::9]:5000";
    const PADDING: u16 = 0x0026;

    fn answers(relay: bool, packet: &[u8], from: &str) -> usize {
        let socket = FakeSocket::new();
        assert!(is_stun(packet));
        stun(&socket, relay).take(packet, from.parse().unwrap(), None);
        let sent = socket.sent();
        for (to, answer) in &sent {
            assert_eq!(to.to_string(), from);
            assert!(
                answer.len() <= packet.len(),
                "{} for {}",
                answer.len(),
                packet.len()
            );
        }
        sent.len()
    }

    #[test]
    fn r8_a_relay_answers_and_never_with_more_than_it_was_asked_with() {
        for (length, v4, v6) in [(20, 0, 0), (28, 0, 0), (32, 1, 0), (44, 1, 1), (512, 1, 1)] {
            let packet = request(PADDING, length);
            assert_eq!(answers(true, &packet, V4), v4, "{length}");
            assert_eq!(answers(true, &packet, V6), v6, "{length}");
            // A device is no server.
            assert_eq!(answers(false, &packet, V4), 0);
        }
        // Attributes that must be understood and are not (RFC 8489, section 6.3.1).
        assert_eq!(answers(true, &request(0x7fff, 100), V4), 1);
        // Names and other methods are for others.
        assert_eq!(answers(true, &request(0x0006, 100), V4), 0);
        let mut allocate = request(PADDING, 100);
        allocate[1] = 3;
        assert_eq!(answers(true, &allocate, V4), 0);
    }

    #[test]
    fn r8_whatever_looks_like_stun_is_harmless() {
        let socket = FakeSocket::new();
        let stun = stun(&socket, true);
        let whole = request(PADDING, 200);
        let mut seed = 1_u32;
        for round in 0..20_000_u32 {
            let mut packet = whole.clone();
            for _ in 0..1 + round % 8 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (seed >> 8) as usize % packet.len();
                packet[at] = seed as u8;
            }
            packet.truncate(packet.len() - (seed >> 24) as usize % 16);
            if is_stun(&packet) {
                stun.take(&packet, V4.parse().unwrap(), None);
            }
        }
        assert!(socket.sent().iter().all(|(_, answer)| answer.len() <= 200));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_from_a_relay_tells_where_this_device_is_seen() {
        let (asks, answers) = (FakeSocket::new(), FakeSocket::new());
        let (device, relay) = (stun(&asks, false), stun(&answers, true));
        let server: SocketAddr = "198.51.100.1:47447".parse().unwrap();
        let seen: SocketAddr = V6.parse().unwrap();
        let passing = async {
            // The first request is lost.
            for round in 0.. {
                for (to, packet) in asks.take() {
                    assert_eq!(to, server);
                    if round > 0 {
                        relay.take(&packet, seen, None);
                    }
                }
                for (_, packet) in answers.take() {
                    device.take(&packet, server, None);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            mapped = device.mapped(server) => assert_eq!(mapped, Some(seen)),
            () = passing => unreachable!(),
        }
        // Nobody answers.
        assert_eq!(device.mapped(server).await, None);
        assert!(lock(&device.asked).is_empty());
    }
}
