//! Devices that are not there: announced by multicast, more of them than anybody can remember.

use super::device::Device;
use super::going::Going;
use hither_carrier::Identity;
use hither_proto::DeviceId;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The address of multicast DNS.
const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 251), 5353);
/// The service, as labels.
const SERVICE: [&str; 3] = ["_hither", "_udp", "local"];
/// Announcements in one packet, so that it is not fragmented.
const TOGETHER: usize = 4;
/// Pause between two packets, so that nobody's buffer overflows.
const PAUSE: Duration = Duration::from_millis(1);
/// Pause before everything is announced again.
const AGAIN: Duration = Duration::from_secs(10);
/// Time for which an announcement counts, seconds.
const TTL: u32 = 4500;
const PTR: u16 = 12;
const TXT: u16 = 16;
const SRV: u16 = 33;
const A: u16 = 1;

/// A crowd of announcements. Ends when dropped.
#[derive(Debug)]
pub struct MadeUp(#[allow(dead_code, reason = "held")] Going);

impl MadeUp {
    /// Announces so many devices from the place of a device, whose daemon must not run; each at one
    /// of so many addresses that nobody has. All were announced once when this returns.
    pub fn start(place: &Device, count: usize, addresses: u8) -> Self {
        let own: Ipv4Addr = place.cable.address().parse().unwrap();
        let [a, b, c, _] = own.octets();
        let ids: Vec<DeviceId> = (0..count)
            .map(|_| Identity::generate().unwrap().device_id())
            .collect();
        let at = move |number: usize| {
            Ipv4Addr::new(a, b, c, 150 + (number % usize::from(addresses)) as u8)
        };
        let (going, ()) = Going::start(place, move |ready: Sender<()>, stop: CancellationToken| {
            let socket = UdpSocket::bind((own, 5353)).unwrap();
            let mut ready = Some(ready);
            while !stop.is_cancelled() {
                for (number, some) in ids.chunks(TOGETHER).enumerate() {
                    let some = some
                        .iter()
                        .enumerate()
                        .map(|(i, id)| (*id, at(number * TOGETHER + i)));
                    // A full buffer is a lost packet.
                    let _ = socket.send_to(&packet(some), GROUP);
                    thread::sleep(PAUSE);
                }
                if let Some(ready) = ready.take() {
                    ready.send(()).unwrap();
                }
                let next = Instant::now() + AGAIN;
                while Instant::now() < next && !stop.is_cancelled() {
                    thread::sleep(Duration::from_millis(50));
                }
            }
        });
        Self(going)
    }
}

/// A response with everything about some devices (RFC 1035, RFC 6763).
fn packet(devices: impl ExactSizeIterator<Item = (DeviceId, Ipv4Addr)>) -> Vec<u8> {
    let answers = (devices.len() * 4) as u16;
    let mut out = Vec::new();
    for field in [0, 0x8400, 0, answers, 0, 0] {
        out.extend(u16::to_be_bytes(field));
    }
    for (device, address) in devices {
        let short = device.short();
        let host = format!("hither-{}", short.to_lowercase());
        let (instance, host) = (
            [&[short.as_str()][..], &SERVICE].concat(),
            [host.as_str(), "local"],
        );
        let texts = [
            "v=1".to_owned(),
            format!("id={device}"),
            "tcp=4242".to_owned(),
        ];
        let text: Vec<u8> = texts
            .iter()
            .flat_map(|text| [&[text.len() as u8], text.as_bytes()].concat())
            .collect();
        let place = [&[0, 0, 0, 0][..], &4242u16.to_be_bytes(), &name(&host)].concat();
        record(&mut out, &SERVICE, PTR, &name(&instance));
        record(&mut out, &instance, SRV, &place);
        record(&mut out, &instance, TXT, &text);
        record(&mut out, &host, A, &address.octets());
    }
    out
}

fn name(labels: &[&str]) -> Vec<u8> {
    let labels = labels
        .iter()
        .flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
    labels.chain([0]).collect()
}

fn record(out: &mut Vec<u8>, labels: &[&str], kind: u16, data: &[u8]) {
    out.extend(name(labels));
    out.extend(kind.to_be_bytes());
    out.extend(1u16.to_be_bytes());
    out.extend(TTL.to_be_bytes());
    out.extend((data.len() as u16).to_be_bytes());
    out.extend(data);
}
