//! Probes of links: whether they still lead anywhere, and how much they were found to carry.

use super::Links;
use hither_carrier::{CarrierKind, Link, Paths};
use hither_proto::DeviceId;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long the first answer to a new connection may take at least, beside one on which nothing
/// comes.
pub const ANSWERS: Duration = Duration::from_millis(800);

impl Links {
    /// The network became another one; `own` are this device's addresses now. Dials begin anew, and
    /// links that lead nowhere any more are closed, some of them 2 s later: when this returns
    /// what is left of them has been looked at.
    pub(crate) async fn network_changed(&self, own: &BTreeSet<IpAddr>) {
        self.endpoint.paths().set_network(own);
        self.network.send_modify(|count| *count += 1);
        // A TCP link is only an address that answered once: it may be another device's here.
        for link in self
            .open()
            .into_iter()
            .filter(|link| link.carrier() == CarrierKind::Tcp)
        {
            link.close("the network changed");
        }
        let ended = self.endpoint.network_changed(own).await;
        let left = self.open();
        tracing::debug!(
            ended,
            left = left.len(),
            "links after a change of the network"
        );
        // Circuits say nothing of where anybody is.
        let direct = left
            .iter()
            .filter(|link| link.carrier() != CarrierKind::Relayed);
        direct.for_each(|link| self.leads(link, self.is_store(link.device())));
    }

    /// Discovery saw the device at other addresses than the links to it lead to: are they still any
    /// good?
    pub(crate) async fn check(&self, device: DeviceId) {
        let known = self.addresses(device, CarrierKind::Quic);
        let elsewhere = |link: &Link| {
            let (of_it, at) = (link.device() == device, link.remote().ip());
            of_it
                && link.carrier() == CarrierKind::Quic
                && known.iter().all(|address| address.ip() != at)
        };
        if self.open().iter().any(elsewhere) {
            self.endpoint.probe(device).await;
        }
    }

    /// The device is silent though something is expected of it: does its link still lead anywhere?
    /// One look at a time.
    pub(crate) async fn suspect(&self, device: DeviceId) {
        let Some(_looking) = self.calling.look_at(device) else {
            return;
        };
        // Before the link is closed: the next one is to be over TCP if that gets there.
        let tcp = self.tcp_link(device);
        let answers = match &tcp {
            Some(link) => link.answers(ANSWERS.max(link.rtt() * 4)).await,
            None => false,
        };
        if answers {
            self.paths().stalled(device, CarrierKind::Quic);
        }
        let ended = self.endpoint.probe(device).await;
        if ended == 0 {
            self.paths().lives(device, CarrierKind::Quic);
        }
        tracing::debug!(?device, ended, "a silent device was looked for");
    }

    /// The device is silent over TCP though something is expected of it: does TCP still lead there?
    /// If it does not, everything that is on TCP towards it is broken off.
    pub(crate) async fn answers_by_tcp(&self, device: DeviceId) -> bool {
        let Some(link) = self.tcp_link(device) else {
            return true;
        };
        let answers = link.answers(ANSWERS.max(link.rtt() * 4)).await;
        if !answers {
            link.close("nothing gets through");
            self.endpoint.paths().stalled(device, CarrierKind::Tcp);
            let broken = self.endpoint.abandon_tcp(device);
            tracing::debug!(?device, broken, "TCP leads nowhere any more");
        }
        answers
    }

    fn tcp_link(&self, device: DeviceId) -> Option<Link> {
        self.open()
            .into_iter()
            .find(|link| link.device() == device && link.carrier() == CarrierKind::Tcp)
    }

    /// Returns the findings about how much network paths carry.
    pub fn paths(&self) -> &Arc<Paths> {
        self.endpoint.paths()
    }

    /// Returns whether there is a link to the device over a carrier.
    pub(crate) fn has(&self, device: DeviceId, carrier: CarrierKind) -> bool {
        self.open()
            .iter()
            .any(|link| link.device() == device && link.carrier() == carrier)
    }
}
