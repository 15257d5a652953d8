//! Finding devices on the local network by multicast DNS (RFC 6762, RFC 6763), and being found.
//!
//! Service `_hither._udp.local.`; TXT `v=1`, `id=` the device, `tcp=` the TCP port, and `call=1`
//! while this device would like others to connect to it because it does not get through to them
//! ([`Call`]). `code=` has the numbers of the first words of the codes that this device shows, with
//! commas between them ([`Nameplates`]). The instance is called by the device's short id, not by its name, which would reveal
//! everyone on the network whose device it is.
//!
//! Addresses, interfaces that come and go, and both IP versions are followed by the mDNS library:
//! every [`IP_CHECK_SECONDS`] it looks at the interfaces, announces the service on new ones and
//! asks there for others. When both ends of a link come up together, that announcement and that
//! question are usually lost on a neighbour who has not looked yet, and nothing repeats them; so
//! the service is announced again [`ANNOUNCE_AGAIN`] after a new address. A device that vanishes
//! without a goodbye is reported as gone only when its records expire (two minutes); the death of a
//! link is noticed much sooner, by the link. A caller that knows sooner that the network is another
//! one reports it by [`LookAnew`]: then new interfaces are used at once, and devices that were seen
//! before must answer or are gone.

use crate::familiar::Familiar;
use crate::interfaces::InterfaceFilter;
use crate::news::News;
use crate::sightings::{DiscoveryEvent, Service, Sightings};
use hither_proto::limits::MAX_NAMEPLATES;
use hither_proto::{DeviceId, Word};
use mdns_sd::{
    DaemonEvent, IfKind, IfPredicate, MDNS_PORT, Receiver, ResolvedService, ScopedIp,
    ServiceDaemon, ServiceEvent, ServiceInfo,
};
use std::collections::{BTreeSet, VecDeque};
use std::net::{SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// The service type.
const SERVICE: &str = "_hither._udp.local.";
/// Version of the TXT record.
const VERSION: &str = "1";
/// Seconds between looks at the network interfaces.
const IP_CHECK_SECONDS: u32 = 2;
/// When the service is announced again after this device got a new address: once every neighbour
/// has looked at its interfaces, and once more for a network that takes its time to forward
/// (spanning tree, Wi-Fi).
const ANNOUNCE_AGAIN: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(12)];
/// How long a device may take to answer after the network changed; it is asked twice, a second
/// apart (RFC 6762, section 10.4, would wait for 10 s).
const VERIFY: Duration = Duration::from_secs(4);
/// Most looks at once, before the library does by itself: each leaves an entry in its list of
/// chosen interfaces.
const MAX_LOOKS: u32 = 10_000;
/// News that wait for the receiver; beyond it the latest of every device waits in [`News`].
const MAX_EVENTS: usize = 256;
/// Pause before a search that broke off is begun again.
const SEARCH_PAUSE: Duration = Duration::from_secs(1);
/// Longest wait for the goodbye to be sent, and again for the mDNS thread to end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// Why discovery does not work here.
#[derive(Debug, thiserror::Error)]
#[error("devices on the local network cannot be found: {0}")]
pub struct DiscoveryError(#[from] mdns_sd::Error);

/// How to look and where.
#[derive(Debug, Clone)]
pub struct DiscoveryOptions {
    /// Which interfaces to use.
    pub interfaces: InterfaceFilter,
    /// UDP port of multicast DNS; another one than 5353 is for tests.
    pub mdns_port: u16,
    /// Sets which devices matter: their places are not taken by others.
    pub familiar: Familiar,
}

impl Default for DiscoveryOptions {
    fn default() -> Self {
        Self {
            interfaces: InterfaceFilter::default(),
            mdns_port: MDNS_PORT,
            familiar: Familiar::default(),
        }
    }
}

/// Has a running search look anew: the network is another one. Cheap to clone; calls that come
/// together are one.
#[derive(Debug, Clone)]
pub struct LookAnew(Arc<Notify>);

impl LookAnew {
    /// Does so soon; what comes of it are events like any other.
    pub fn look(&self) {
        self.0.notify_one();
    }
}

/// Has a running search report the devices that it left out because nothing was known of them:
/// somebody matters now. Cheap to clone; calls that come together are one.
#[derive(Debug, Clone)]
pub struct Recall(Arc<Notify>);

impl Recall {
    /// Does so soon, if anybody was left out.
    pub fn recall(&self) {
        self.0.notify_one();
    }
}

/// Has this device announced as one that others should connect to, or not any more. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Call(watch::Sender<bool>);

impl Call {
    /// Announces the call from now on, or no longer.
    pub fn set(&self, calls: bool) {
        self.0
            .send_if_modified(|before| std::mem::replace(before, calls) != calls);
    }
}

/// Has the first words of the codes that this device shows announced. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Nameplates(watch::Sender<Vec<Word>>);

impl Nameplates {
    /// Announces these from now on, at most [`MAX_NAMEPLATES`]; none ends it.
    pub fn set(&self, mut nameplates: Vec<Word>) {
        nameplates.truncate(MAX_NAMEPLATES);
        self.0
            .send_if_modified(|before| std::mem::replace(before, nameplates.clone()) != nameplates);
    }
}

/// A running search and announcement. Dropping it ends both, without a goodbye; see
/// [`shutdown`](Self::shutdown).
pub struct Discovery {
    daemon: ServiceDaemon,
    name: String,
    anew: Arc<Notify>,
    again: Arc<Notify>,
    call: Call,
    nameplates: Nameplates,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Discovery {
    /// Announces `device` at QUIC port `port` and TCP port `tcp_port`, and searches for others.
    /// Must be called inside a tokio runtime. The receiver gets only changes, at most 1024
    /// devices, never this one.
    pub fn start(
        device: DeviceId,
        port: u16,
        tcp_port: Option<u16>,
        options: DiscoveryOptions,
    ) -> Result<(Self, mpsc::Receiver<DiscoveryEvent>), DiscoveryError> {
        let loopback = options.interfaces.loopback_only;
        let daemon = ServiceDaemon::new_with_port(options.mdns_port)?;
        daemon.set_ip_check_interval(IP_CHECK_SECONDS)?;
        let DiscoveryOptions {
            interfaces: filter,
            familiar,
            ..
        } = options;
        let unwanted = IfPredicate::new(move |interface| {
            !filter.wants(&interface.name, interface.is_loopback())
        });
        daemon.disable_interface(IfKind::Predicate(unwanted.clone()))?;
        let service = announcement((device, port, tcp_port), false, &[])?;
        let name = service.get_fullname().to_owned();
        let changes = daemon.monitor()?;
        daemon.register(service.clone())?;
        let found = daemon.browse(SERVICE)?;
        let (sender, receiver) = mpsc::channel(MAX_EVENTS);
        let (stop, anew, again) = (CancellationToken::new(), Arc::default(), Arc::default());
        let (call, calls) = watch::channel(false);
        let (shown, shows) = watch::channel(Vec::new());
        let search = Search {
            daemon: daemon.clone(),
            service,
            loopback,
            sightings: Sightings::new(device, familiar),
            news: News::default(),
            sender,
            announce: VecDeque::new(),
            unwanted,
            anew: Arc::clone(&anew),
            again: Arc::clone(&again),
            looks: 0,
            announced: (device, port, tcp_port),
            calls,
            shows,
        };
        let token = stop.clone();
        let task = tokio::spawn(async move {
            tokio::select! {
                () = search.run(found, changes) => {}
                () = token.cancelled() => {}
            }
        });
        Ok((
            Self {
                daemon,
                name,
                anew,
                again,
                call: Call(call),
                nameplates: Nameplates(shown),
                stop,
                task,
            },
            receiver,
        ))
    }

    /// For whoever learns that the network is another one.
    pub fn look_anew(&self) -> LookAnew {
        LookAnew(Arc::clone(&self.anew))
    }

    /// For whoever learns that another device matters.
    pub fn recall(&self) -> Recall {
        Recall(Arc::clone(&self.again))
    }

    /// For whoever learns that others are not reached.
    pub fn call(&self) -> Call {
        self.call.clone()
    }

    /// For whoever shows codes.
    pub fn nameplates(&self) -> Nameplates {
        self.nameplates.clone()
    }

    /// Announces the departure, so that others forget this device at once, and waits until it is
    /// sent and all is ended (up to 6 s where the network hangs).
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        let _ = (&mut self.task).await; // it ends by itself; a panic in it was reported already
        if let Ok(goodbye) = self.daemon.unregister(&self.name) {
            let _ = timeout(SHUTDOWN_TIMEOUT, goodbye.recv_async()).await;
        }
        if let Ok(ended) = self.daemon.shutdown() {
            let _ = timeout(SHUTDOWN_TIMEOUT, ended.recv_async()).await;
        }
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.stop.cancel();
        let _ = self.daemon.shutdown(); // fails when it is shut down already
    }
}

fn announcement(
    (device, port, tcp_port): (DeviceId, u16, Option<u16>),
    calls: bool,
    shows: &[Word],
) -> Result<ServiceInfo, mdns_sd::Error> {
    let short = device.short();
    let mut texts = vec![("v", VERSION.to_owned()), ("id", device.to_string())];
    texts.extend(tcp_port.map(|port| ("tcp", port.to_string())));
    texts.extend(calls.then(|| ("call", "1".to_owned())));
    if !shows.is_empty() {
        let numbers: Vec<_> = shows.iter().map(|word| word.number().to_string()).collect();
        texts.push(("code", numbers.join(",")));
    }
    // Host names ignore case, the short id does not: two devices in 2^40 may share a name, and mDNS
    // then renames one.
    let host = format!("hither-{}.local.", short.to_lowercase());
    Ok(ServiceInfo::new(SERVICE, &short, &host, "", port, &texts[..])?.enable_addr_auto())
}

struct Search {
    daemon: ServiceDaemon,
    service: ServiceInfo,
    loopback: bool,
    sightings: Sightings,
    /// Words that the receiver has not taken yet.
    news: News,
    sender: mpsc::Sender<DiscoveryEvent>,
    /// When to announce again.
    announce: VecDeque<Instant>,
    /// Which interfaces are not used.
    unwanted: IfPredicate,
    /// Rung when the network is another one.
    anew: Arc<Notify>,
    /// Rung when somebody matters who may have been left out.
    again: Arc<Notify>,
    /// Counts how often the network was another one.
    looks: u32,
    /// The announcement: the device and its ports.
    announced: (DeviceId, u16, Option<u16>),
    /// True when others should connect to this device.
    calls: watch::Receiver<bool>,
    /// First words of the codes that this device shows.
    shows: watch::Receiver<Vec<Word>>,
}

impl Search {
    /// Passes on what is found until nobody listens any more or the mDNS thread has ended.
    async fn run(mut self, mut found: Receiver<ServiceEvent>, changes: Receiver<DaemonEvent>) {
        let sender = self.sender.clone();
        loop {
            let again = self.announce.front().copied();
            let again = async move {
                match again {
                    Some(when) => sleep_until(when).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                place = sender.reserve(), if !self.news.is_empty() => {
                    let Ok(place) = place else { return };
                    if let Some(news) = self.news.take() {
                        place.send(news);
                    }
                }
                event = found.recv_async() => match event {
                    // In a crowd many wait, and the library ends a search that falls behind.
                    Ok(event) => std::iter::once(event).chain(found.drain()).for_each(|event| self.take(event)),
                    Err(_) => found = self.search_again().await,
                },
                change = changes.recv_async() => match change {
                    Ok(DaemonEvent::IpAdd(_)) => {
                        self.announce = ANNOUNCE_AGAIN.map(|pause| Instant::now() + pause).into();
                    }
                    Ok(DaemonEvent::Error(error)) => tracing::debug!(%error, "multicast DNS has trouble"),
                    Ok(_) => {}
                    Err(_) => return,
                },
                () = self.anew.notified() => {
                    let Some(anew) = self.look_anew() else { continue };
                    // Events of the search before that were not reported yet count too.
                    std::mem::replace(&mut found, anew).drain().for_each(|event| self.take(event));
                }
                () = self.again.notified() => {
                    self.sightings.familiar_changed();
                    // The library reports everything in its cache to a search that begins.
                    if self.sightings.take_left_out()
                        && let Ok(again) = self.daemon.browse(SERVICE)
                    {
                        std::mem::replace(&mut found, again).drain().for_each(|event| self.take(event));
                    }
                }
                Ok(()) = self.calls.changed() => self.announce_anew(),
                Ok(()) = self.shows.changed() => self.announce_anew(),
                () = again => {
                    self.announce.pop_front();
                    if let Err(error) = self.daemon.register(self.service.clone()) {
                        tracing::debug!(%error, "this device could not be announced again");
                    }
                }
                () = sender.closed() => return,
            }
        }
    }

    /// Announces at once what is to be said of this device now.
    fn announce_anew(&mut self) {
        let calls = *self.calls.borrow_and_update();
        let shows = self.shows.borrow_and_update().clone();
        if let Ok(service) = announcement(self.announced, calls, &shows) {
            self.service = service;
            self.announce.push_front(Instant::now());
        }
    }

    /// The library ends a search whose receiver was too slow. It is begun again, and what is in the
    /// library's cache is reported again.
    async fn search_again(&self) -> Receiver<ServiceEvent> {
        loop {
            sleep(SEARCH_PAUSE).await;
            match self.daemon.browse(SERVICE) {
                Ok(found) => return found,
                Err(error) => tracing::warn!(%error, "the search for devices cannot go on"),
            }
        }
    }

    /// Uses interfaces that are new, begins to search as at the start (a neighbour who is just
    /// announcing itself misses the first question), and has the devices that were seen before
    /// answer. A failure heals by itself, later.
    fn look_anew(&mut self) -> Option<Receiver<ServiceEvent>> {
        self.looks += 1;
        if self.looks <= MAX_LOOKS {
            // Whatever is chosen once more, the library looks at the interfaces for it; the choice
            // stays the same.
            let _ = self
                .daemon
                .disable_interface(IfKind::Predicate(self.unwanted.clone()));
        }
        for name in self.sightings.to_verify() {
            let _ = self.daemon.verify(name, VERIFY);
        }
        self.daemon.browse(SERVICE).ok()
    }

    /// Takes an event of the library; news wait in [`News`].
    fn take(&mut self, event: ServiceEvent) {
        match event {
            ServiceEvent::ServiceResolved(service) => {
                let Some(parsed) = parse(&service, self.loopback) else {
                    return tracing::debug!("a service that is not what it should be is ignored");
                };
                let (device, port) = (parsed.device, self.service.get_port());
                let news = self.sightings.see(&service.fullname, parsed).into_iter();
                news.filter_map(|news| elsewhere(news, port))
                    .for_each(|news| self.news.add(news));
                if service.get_property_val_str("call") == Some("1") && self.sightings.knows(device)
                {
                    self.news.add(DiscoveryEvent::Calls { device });
                }
            }
            ServiceEvent::ServiceRemoved(_, name) => {
                self.sightings
                    .lose(&name)
                    .into_iter()
                    .for_each(|news| self.news.add(news));
            }
            _ => {}
        }
    }
}

/// Checks what someone announced. `None`: not a device that this version understands.
fn parse(service: &ResolvedService, loopback: bool) -> Option<Service> {
    if service.get_property_val_str("v") != Some(VERSION) || service.port == 0 {
        return None;
    }
    let device = service.get_property_val_str("id")?.parse().ok()?;
    let tcp_port = match service.get_property_val_str("tcp") {
        Some(port) => Some(port.parse().ok().filter(|port| *port != 0)?),
        None => None,
    };
    let addresses = service
        .addresses
        .iter()
        .filter_map(|ip| address(ip, service.port, loopback));
    let addresses: BTreeSet<_> = addresses.collect();
    (!addresses.is_empty()).then_some(Service {
        device,
        addresses,
        tcp_port,
        nameplates: nameplates(service.get_property_val_str("code").unwrap_or_default()),
    })
}

/// The words whose numbers somebody announced; what is none is left out.
fn nameplates(text: &str) -> Vec<Word> {
    let numbers = text.split(',').take(MAX_NAMEPLATES);
    numbers
        .filter_map(|number| Word::new(number.parse().ok()?))
        .collect()
}

/// Leaves out of what is announced in this device's name where this program is, which listens at
/// `port`.
fn elsewhere(news: DiscoveryEvent, port: u16) -> Option<DiscoveryEvent> {
    let DiscoveryEvent::Ourselves {
        mut addresses,
        tcp_port,
    } = news
    else {
        return Some(news);
    };
    let own: BTreeSet<_> = if_addrs::get_if_addrs()
        .ok()?
        .iter()
        .map(if_addrs::Interface::ip)
        .collect();
    addresses.retain(|at| at.port() != port || !own.contains(&at.ip()));
    (!addresses.is_empty()).then_some(DiscoveryEvent::Ourselves {
        addresses,
        tcp_port,
    })
}

/// An address that can be dialled: link-local IPv6 with its scope, nothing that cannot be a
/// device's own.
fn address(ip: &ScopedIp, port: u16, loopback: bool) -> Option<SocketAddr> {
    let plain = ip.to_ip_addr();
    if plain.is_unspecified() || plain.is_multicast() || plain.is_loopback() != loopback {
        return None;
    }
    match ip {
        ScopedIp::V6(v6) if v6.addr().is_unicast_link_local() => {
            let scope = v6.scope_id().index;
            (scope != 0).then(|| SocketAddrV6::new(*v6.addr(), port, 0, scope).into())
        }
        _ => Some(SocketAddr::new(plain, port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;

    fn resolved(texts: &[(&str, &str)], ip: &str, port: u16) -> ResolvedService {
        ServiceInfo::new(SERVICE, "x", "x.local.", ip, port, texts)
            .unwrap()
            .as_resolved_service()
    }

    #[test]
    fn only_sound_announcements_are_taken() {
        let device = Identity::generate().unwrap().device_id();
        let id = device.to_string();
        let good = resolved(&[("v", "1"), ("id", &id), ("tcp", "9")], "10.0.0.1", 7);
        let service = parse(&good, false).unwrap();
        assert_eq!((service.device, service.tcp_port), (device, Some(9)));
        assert_eq!(
            service.addresses,
            BTreeSet::from(["10.0.0.1:7".parse().unwrap()])
        );
        for texts in [
            &[("id", id.as_str())][..],
            &[("v", "2"), ("id", &id)],
            &[("v", "1")],
            &[("v", "1"), ("id", "12D3KooWnonsense")],
            &[("v", "1"), ("id", &id), ("tcp", "0")],
            &[("v", "1"), ("id", &id), ("tcp", "70000")],
        ] {
            assert_eq!(
                parse(&resolved(texts, "10.0.0.1", 7), false),
                None,
                "{texts:?}"
            );
        }
        let texts = [("v", "1"), ("id", id.as_str())];
        for (ip, port) in [
            ("10.0.0.1", 0),
            ("127.0.0.1", 7),
            ("0.0.0.0", 7),
            ("224.0.0.1", 7),
            ("fe80::1", 7),
        ] {
            assert_eq!(
                parse(&resolved(&texts, ip, port), false),
                None,
                "{ip} {port}"
            );
        }
    }

    #[test]
    fn the_announcement_names_no_one() {
        let device = Identity::generate().unwrap().device_id();
        let service = announcement((device, 7, Some(8)), false, &[]).unwrap();
        assert_eq!(service.get_property_val_str("code"), None);
        let shown = [Word::of_bits(0), Word::of_bits(2047)];
        let shows = announcement((device, 7, None), true, &shown).unwrap();
        let text = shows.get_property_val_str("code").unwrap();
        assert_eq!((text, nameplates(text)), ("0,2047", shown.to_vec()));
        assert_eq!(nameplates("2048,x,-1,7,3,3"), [Word::of_bits(7)]);
        assert_eq!(
            service.get_fullname(),
            format!("{}.{SERVICE}", device.short())
        );
        assert_eq!(
            service.get_property_val_str("id"),
            Some(device.to_string().as_str())
        );
        assert!(service.is_addr_auto());
    }
}
