//! A router's service that maps ports for devices inside: NAT-PMP (RFC 6886), PCP (RFC 6887) and
//! UPnP IGD, by miniupnpd (package miniupnpd-nftables) as many routers have it.

use super::device::Device;
use super::echo::inside;
use super::namespace::Namespace;
use super::router::{INNER, Router};
use super::tool::fed;
use super::wait::until;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// The service's port for NAT-PMP and PCP.
const PORT: u16 = 5351;
/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(2);
const NAT_PMP: u8 = 0;
const OUTER_ADDRESS: u8 = 0;
const MAP_UDP: u8 = 1;
/// Added to what was asked, in an answer.
const ANSWERED: u8 = 128;
/// Seconds that a mapping lasts.
const LIFETIME: u32 = 600;

/// The chains that it writes into; what it lets in was translated, so that the router's other rules
/// let it through.
const CHAINS: &str = "table inet miniupnpd {\n \
    chain forward {\n  type filter hook forward priority 0\n  jump miniupnpd\n }\n chain miniupnpd {\n }\n \
    chain prerouting {\n  type nat hook prerouting priority -100\n  jump prerouting_miniupnpd\n }\n chain prerouting_miniupnpd {\n }\n \
    chain postrouting {\n  type nat hook postrouting priority 100\n  jump postrouting_miniupnpd\n }\n chain postrouting_miniupnpd {\n }\n}\n";

/// The service. Ends when dropped.
#[derive(Debug)]
pub struct PortMapper(Child);

impl PortMapper {
    /// Returns whether there is one here; says so where there is none.
    pub(super) fn is_there() -> bool {
        let is_there = Command::new("miniupnpd").arg("--version").output().is_ok();
        if !is_there {
            println!("SKIPPED: no router maps ports here (package miniupnpd-nftables)");
        }
        is_there
    }

    /// Starts it on a router with a folder of its own; it answers when this returns.
    pub(super) fn start(router: &Router, network: &Namespace, folder: &Path) -> Self {
        fed(network.command("nft").args(["-f", "-"]), CHAINS);
        let settings = format!(
            "ext_ifname=wan0\next_ip={}\nlistening_ip=lan0\nenable_natpmp=yes\nenable_upnp=yes\nsecure_mode=yes\n\
             upnp_table_name=miniupnpd\nupnp_nat_table_name=miniupnpd\n\
             uuid=00000000-0000-0000-0000-000000000001\nallow 1024-65535 0.0.0.0/0 1024-65535\n",
            router.address
        );
        let file = folder.join("miniupnpd.conf");
        fs::write(&file, settings).unwrap();
        let mut command = network.command("miniupnpd");
        let log = fs::File::create(folder.join("log")).unwrap();
        command.arg("-d").arg("-f").arg(&file).arg("-P");
        command.arg(folder.join("pid")).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(log);
        let service = Self(command.spawn().unwrap());
        let network = network.handle();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                Namespace::enter(&network);
                until("a router that maps ports", || {
                    ask(&[NAT_PMP, OUTER_ADDRESS])
                });
            });
            waiting.join().unwrap();
        });
        service
    }

    /// Asks it, from a device, for an outer port of UDP for an inner one; returns the outer one.
    pub fn maps(&self, from: &Device, inner: u16, wanted: u16) -> Option<u16> {
        let mut request = vec![NAT_PMP, MAP_UDP, 0, 0];
        request.extend(inner.to_be_bytes());
        request.extend(wanted.to_be_bytes());
        request.extend(LIFETIME.to_be_bytes());
        let answer = inside(from, || ask(&request))?;
        // Version, what was asked, result, time, inner port, outer port, lifetime.
        let is_done = answer[1] == MAP_UDP + ANSWERED && answer[2..4] == [0, 0];
        let port = u16::from_be_bytes(answer.get(10..12)?.try_into().ok()?);
        is_done.then_some(port)
    }
}

/// The answer to a request.
fn ask(request: &[u8]) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.connect((INNER, PORT)).unwrap();
    socket.set_read_timeout(Some(ANSWER)).unwrap();
    let mut answer = vec![0; 64];
    // A port at which nobody listens is refused.
    socket.send(request).ok()?;
    let length = socket.recv(&mut answer).ok()?;
    answer.truncate(length);
    (length >= 12).then_some(answer)
}

impl Drop for PortMapper {
    fn drop(&mut self) {
        // Whatever happens, its network goes as well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
