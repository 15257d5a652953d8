//! Loads a running relay with devices, and measures what they cost it and how fast messages are.
//!
//! `front_load PID IDLE SECONDS PAIRS RATE URL…`: connects IDLE devices with the invitations in turn, which then only ping;
//! waits SECONDS and prints the relay's memory and processor time for each; then PAIRS of further devices send RATE
//! messages of 1 KiB a second in all for SECONDS, each to its partner, and the times from sending to delivery and to the
//! relay's answer are printed. The relay's limits (connections and handshakes of one address, messages) must be raised.

// A tool for people who measure: it fails by panicking and speaks on standard output.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use bytes::Bytes;
use futures::StreamExt;
use hither_carrier::{
    Endpoint, EndpointConfig, Identity, Link, RelayReader, Stream, write_message, write_relay_message,
};
use hither_proto::limits::{MAX_RELAY_FRAME, PROTOCOL};
use hither_proto::{DeviceId, Message, MessageId, RelayMessage, RelayPurpose, RelayUrl, Welcome};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Devices that connect at the same time.
const AT_ONCE: usize = 32;

struct Device {
    id: DeviceId,
    _endpoint: Endpoint,
    _link: Link,
    stream: Stream,
    reader: RelayReader,
    welcome: Welcome,
}

async fn join(url: &RelayUrl) -> Device {
    let identity = Identity::generate().unwrap();
    let config = EndpointConfig { loopback_only: true, tcp: false, ..EndpointConfig::default() };
    let endpoint = Endpoint::bind(&identity, &config).unwrap();
    let link = endpoint.connect_relay(&url.address()).await.unwrap();
    let mut stream = link.open().await.unwrap();
    let open = Message::RelayOpen { protocol: PROTOCOL, purpose: Some(RelayPurpose::Device) };
    write_message(&mut stream.send, &open).await.unwrap();
    let hello = RelayMessage::Hello { invitation: url.invitation.clone() };
    write_relay_message(&mut stream.send, &hello).await.unwrap();
    let mut reader = RelayReader::new(MAX_RELAY_FRAME);
    match reader.next(&mut stream.recv).await {
        Ok(Some(RelayMessage::Welcome(welcome))) => {
            let id = identity.device_id();
            Device { id, _endpoint: endpoint, _link: link, stream, reader, welcome: *welcome }
        }
        other => panic!("{other:?}"),
    }
}

/// Pings at its interval and reads what comes.
async fn idle(mut device: Device) {
    let mut ticks = tokio::time::interval(Duration::from_millis(device.welcome.ping_ms.into()));
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                write_relay_message(&mut device.stream.send, &RelayMessage::Ping { nonce: 1 }).await.unwrap();
            }
            read = device.reader.next(&mut device.stream.recv) => match read {
                Ok(Some(RelayMessage::Ping { nonce })) => {
                    write_relay_message(&mut device.stream.send, &RelayMessage::Pong { nonce }).await.unwrap();
                }
                Ok(Some(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Resident KiB, and processor milliseconds so far.
fn cost(pid: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let rss = rss.trim().trim_end_matches(" kB").parse().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<u64> =
        stat.rsplit(')').next().unwrap().split(' ').filter_map(|field| field.parse().ok()).collect();
    // After the name and the state: utime and stime are the 11th and 12th number, in hundredths of a second.
    (rss, (fields[10] + fields[11]) * 10)
}

fn micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

/// Sends at `rate` for `time` and times the answers, microseconds.
async fn send(device: &mut Device, to: DeviceId, rate: f64, time: Duration) -> Vec<u64> {
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
    let (end, mut sent, mut answered, mut taken) = (Instant::now() + time, 0u64, 0u64, Vec::new());
    while answered < sent || Instant::now() < end {
        tokio::select! {
            _ = ticks.tick(), if Instant::now() < end => {
                let mut text = vec![7; 1024];
                text[..8].copy_from_slice(&micros().to_be_bytes());
                let mut id = [0; 16];
                id[..8].copy_from_slice(&sent.to_be_bytes());
                id[8..].copy_from_slice(&device.id.as_bytes()[..8]);
                let (id, sealed) = (MessageId::new(id), Bytes::from(text));
                taken.push(micros());
                let send = RelayMessage::Send { request: sent, to, id, sealed, keep_s: 60 };
                sent += 1;
                write_relay_message(&mut device.stream.send, &send).await.unwrap();
            }
            read = device.reader.next(&mut device.stream.recv) => match read.unwrap().unwrap() {
                RelayMessage::Sent { request, .. } => {
                    answered += 1;
                    taken[request as usize] = micros() - taken[request as usize];
                }
                RelayMessage::Ping { nonce } => {
                    write_relay_message(&mut device.stream.send, &RelayMessage::Pong { nonce }).await.unwrap();
                }
                RelayMessage::Failed { refusal, .. } => panic!("{refusal:?}"),
                _ => {}
            }
        }
    }
    taken
}

/// Reads and acknowledges until nothing comes for two seconds; times from sending to here, microseconds.
async fn receive(device: &mut Device) -> Vec<u64> {
    let mut times = Vec::new();
    while let Ok(read) =
        tokio::time::timeout(Duration::from_secs(2), device.reader.next(&mut device.stream.recv)).await
    {
        match read.unwrap().unwrap() {
            RelayMessage::Deliver { seq, sealed, .. } => {
                times.push(micros() - u64::from_be_bytes(sealed[..8].try_into().unwrap()));
                write_relay_message(&mut device.stream.send, &RelayMessage::Received { seq }).await.unwrap();
            }
            RelayMessage::Ping { nonce } => {
                write_relay_message(&mut device.stream.send, &RelayMessage::Pong { nonce }).await.unwrap();
            }
            _ => {}
        }
    }
    times
}

fn tell(what: &str, mut times: Vec<u64>, seconds: f64) {
    times.sort_unstable();
    let at =
        |part: f64| times.get((times.len() as f64 * part) as usize).copied().unwrap_or(0) as f64 / 1000.0;
    let (count, rate) = (times.len(), times.len() as f64 / seconds);
    println!(
        "{what}: {count}, {rate:.0}/s; ms: median {:.1}, p99 {:.1}, p99.9 {:.1}",
        at(0.5),
        at(0.99),
        at(0.999)
    );
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| args[at].parse::<u64>().unwrap();
    let (pid, count, seconds, pairs, rate) = (number(0) as u32, number(1), number(2), number(3), number(4));
    let urls: Vec<RelayUrl> = args[5..].iter().map(|url| url.parse().unwrap()).collect();
    let time = Duration::from_secs(seconds);

    let (before, _) = cost(pid);
    let begun = Instant::now();
    let idle_urls = urls.iter().cycle().take(count as usize);
    let joined = futures::stream::iter(idle_urls).map(join).buffer_unordered(AT_ONCE);
    joined.for_each(|device| async move { drop(tokio::spawn(idle(device))) }).await;
    println!("{count} devices connected in {:.1} s", begun.elapsed().as_secs_f64());
    if count > 0 {
        tokio::time::sleep(time).await;
        let (rss, used) = cost(pid);
        tokio::time::sleep(time).await;
        let (_, later) = cost(pid);
        let each = rss.saturating_sub(before) as f64 / count as f64;
        let part = (later - used) as f64 / (10.0 * seconds as f64);
        println!("each idle device: {each:.1} KiB; all of them: {part:.2} % of one core");
    }
    if pairs == 0 {
        return;
    }
    let mut workers = Vec::new();
    for pair in 0..pairs {
        let url = &urls[pair as usize % urls.len()];
        let (mut sender, mut reader) = (join(url).await, join(url).await);
        let to = reader.id;
        let rate = rate as f64 / pairs as f64;
        workers.push((
            tokio::spawn(async move { send(&mut sender, to, rate, time).await }),
            tokio::spawn(async move { receive(&mut reader).await }),
        ));
    }
    let (mut answers, mut deliveries) = (Vec::new(), Vec::new());
    for (sender, reader) in workers {
        answers.extend(sender.await.unwrap());
        deliveries.extend(reader.await.unwrap());
    }
    tell("answered", answers, seconds as f64);
    tell("delivered", deliveries, seconds as f64);
}
