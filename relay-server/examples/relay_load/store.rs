//! An upload and a download, beside a bare TCP + TLS stream of the same bytes in the same run.

use crate::bare::{self, Bare, endpoint};
use crate::fleet::{come, devices};
use crate::idle::carrier;
use crate::net::Net;
use crate::report::{round, tell};
use crate::usage::Usage;
use crate::version::Version;
use crate::{Failure, Options};
use hither_carrier::{
    Endpoint, Identity, MessageReader, RelayReader, Stream, write_message, write_put_chunk,
    write_relay_message,
};
use hither_proto::limits::{MAX_FRAME, MAX_PUT_LIST, MAX_RELAY_FRAME, PROTOCOL};
use hither_proto::{
    DeviceId, Message, Proof, ProofKey, ProofKind, Purpose, Put, Ranges, RelayMessage,
    RelayPurpose, Side, Space, Want,
};
use serde_json::json;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Chunks of one request of a reader.
const WANT: u32 = 64;
/// Requests that are under way.
const WANTS: u32 = 4;

/// Mebibytes in a second.
pub fn rate(bytes: u64, began: Instant) -> f64 {
    bytes as f64 / f64::from(1 << 20) / began.elapsed().as_secs_f64()
}

/// A stream to the relay, on a link of its own.
pub async fn dial(options: &Options, endpoint: &Endpoint) -> Result<Stream, Failure> {
    let relay = options.relay.address();
    let known = if options.tcp { &relay.tcp } else { &relay.udp };
    let at: Vec<SocketAddr> = known.iter().filter_map(|at| at.socket_addr()).collect();
    let link = match options.tcp {
        true => {
            endpoint
                .dial(hither_carrier::Dial::tcp(relay.key, &at).relay())
                .await?
        }
        false => {
            endpoint
                .dial(hither_carrier::Dial::quic(relay.key, &at).relay())
                .await?
        }
    };
    Ok(link.open().await?)
}

async fn upload(options: &Options, endpoint: &Endpoint, version: &Version) -> Result<f64, Failure> {
    let mut stream = dial(options, endpoint).await?;
    let began = Instant::now();
    let open = Message::RelayOpen {
        protocol: PROTOCOL,
        purpose: Some(RelayPurpose::Upload),
    };
    write_message(&mut stream.send, &open).await?;
    let put = Put {
        share: version.share(),
        head: version.head.to_unchecked(),
        read_key: version.key.clone(),
        keep_s: 0,
    };
    let manifest = vec![version.manifest_record()?];
    let mut lists = vec![
        RelayMessage::Put(Box::new(put)),
        RelayMessage::PutList {
            space: Space::Manifest,
            first: 0,
            records: manifest,
        },
    ];
    for (part, records) in version.records.chunks(MAX_PUT_LIST).enumerate() {
        let first = u32::try_from(part * MAX_PUT_LIST)?;
        lists.push(RelayMessage::PutList {
            space: Space::Data,
            first,
            records: records.to_vec(),
        });
    }
    for list in lists {
        write_relay_message(&mut stream.send, &list).await?;
    }
    let mut reader = RelayReader::new(MAX_RELAY_FRAME);
    let mut wanted: Vec<(Space, u32)> = Vec::new();
    match reader.next(&mut stream.recv).await? {
        Some(RelayMessage::Missing {
            root,
            manifest,
            data,
        }) => {
            wanted.extend(root.then_some((Space::Root, 0)));
            wanted.extend(
                manifest
                    .positions()
                    .map(|position| (Space::Manifest, position)),
            );
            wanted.extend(data.positions().map(|position| (Space::Data, position)));
        }
        other => return Err(format!("the upload was not begun: {other:?}").into()),
    }
    let Stream {
        mut send, mut recv, ..
    } = stream;
    let sending = async {
        for (space, position) in wanted {
            let bytes = version.chunk(space, position);
            let header = RelayMessage::PutChunk {
                space,
                position,
                length: u32::try_from(bytes.len())?,
            };
            write_put_chunk(&mut send, &header, bytes).await?;
        }
        write_relay_message(&mut send, &RelayMessage::PutEnd).await?;
        Ok::<_, Failure>(send)
    };
    let hearing = async {
        loop {
            match reader.next(&mut recv).await? {
                Some(RelayMessage::PutDone) => return Ok(()),
                Some(RelayMessage::Stored { .. } | RelayMessage::Ping { .. }) => {}
                other => {
                    return Err::<_, Failure>(format!("the upload broke off: {other:?}").into());
                }
            }
        }
    };
    let (_send, ()) = futures::try_join!(sending, hearing)?;
    Ok(rate(version.bytes(), began))
}

async fn download(options: &Options, owner: DeviceId, version: &Version) -> Result<f64, Failure> {
    let identity = Identity::generate()?;
    let endpoint = endpoint(&identity)?;
    let mut stream = dial(options, &endpoint).await?;
    let began = Instant::now();
    let open = Message::Open {
        protocol: PROTOCOL,
        share: version.share(),
        proof: Proof::make(
            &ProofKey::of_read_key(&version.key),
            &stream.binding,
            Side::Opener,
            Purpose::Bulk,
        ),
        proof_kind: ProofKind::ReadKey,
        owner: Some(owner),
        purpose: Some(Purpose::Bulk),
    };
    write_message(&mut stream.send, &open).await?;
    let mut reader = MessageReader::new(MAX_FRAME);
    match reader.next(&mut stream.recv).await? {
        Some(Message::Opened(_)) => {}
        other => return Err(format!("the share was not opened: {other:?}").into()),
    }
    let chunks = u32::try_from(version.data.len())?;
    let requests = chunks.div_ceil(WANT);
    let (mut asked, mut served, mut bytes, mut buffer) = (0, 0, 0, Vec::new());
    while served < requests {
        while asked < requests && asked < served + WANTS {
            let positions = (asked * WANT..chunks.min((asked + 1) * WANT)).collect();
            let ranges = Ranges::from_bitmap(&positions);
            let want = Want {
                request: u64::from(asked) + 1,
                space: Space::Data,
                version: 1,
                ranges,
            };
            write_message(&mut stream.send, &Message::Want(want)).await?;
            asked += 1;
        }
        match reader.next(&mut stream.recv).await? {
            Some(Message::Chunk { length, .. }) => {
                buffer.clear();
                reader
                    .payload_into(&mut stream.recv, &mut buffer, Duration::from_secs(30))
                    .await?;
                bytes += u64::from(length);
            }
            Some(Message::Served { .. }) => served += 1,
            Some(Message::Ping { .. } | Message::Announce { .. } | Message::HaveDelta { .. }) => {}
            other => return Err(format!("the download broke off: {other:?}").into()),
        }
    }
    let reached = rate(bytes, began);
    match bytes == version.bytes() - 1100 {
        true => Ok(reached),
        false => Err("not everything came".into()),
    }
}

/// Waits for what reaches a rate; besides gives the seconds of processor for each GiB of the relay
/// and of this process.
pub async fn measured(
    options: &Options,
    bytes: u64,
    work: impl Future<Output = Result<f64, Failure>>,
) -> Result<(f64, [f64; 2]), Failure> {
    let both = || Ok::<_, Failure>([Usage::now(options)?, Usage::of(std::process::id())?]);
    let before = both()?;
    let rate = work.await?;
    let after = both()?;
    let gib = bytes as f64 / f64::from(1 << 30);
    let cpu = [0, 1].map(|who| (after[who].cpu_ms - before[who].cpu_ms) as f64 / 1000.0 / gib);
    Ok((rate, cpu))
}

pub async fn run(options: &Options, gib: f64, chunk: usize, rounds: usize) -> Result<(), Failure> {
    let net = Net::new(options)?;
    let length = chunk * 1024;
    let chunks = ((gib * f64::from(1 << 30)) / length as f64).ceil() as usize;
    let all = devices(options, 1, 1).await?;
    let (mut came, _) = come(options, &net, &all).await;
    let (owner, mut held) = came.pop().ok_or("the owner did not get in")?;
    let sockets = endpoint(&owner.identity)?;
    for number in 1..=rounds {
        let version = Version::random(&owner.identity, chunks, length)?;
        let place = RelayMessage::Place {
            request: number as u64,
            share: version.share(),
            bytes: version.bytes(),
            near: Vec::new(),
        };
        held.wire.say(&place).await?;
        loop {
            match held.wire.hear().await? {
                RelayMessage::Placed { .. } => break,
                RelayMessage::Failed { refusal, .. } => return Err(format!("{refusal:?}").into()),
                RelayMessage::Ping { nonce } => {
                    held.wire.say(&RelayMessage::Pong { nonce }).await?
                }
                _ => {}
            }
        }
        // The first takes fresh memory for the sockets and is slower than any after it: it does not
        // count.
        bare::run(options, &version.data).await?;
        // Before and after each: a machine is not equally fast all the time.
        let first = bare::run(options, &version.data).await?;
        let (up, up_cpu) = measured(
            options,
            version.bytes(),
            upload(options, &sockets, &version),
        )
        .await?;
        let second = bare::run(options, &version.data).await?;
        let (down, down_cpu) = measured(
            options,
            version.bytes(),
            download(options, owner.id, &version),
        )
        .await?;
        let third = bare::run(options, &version.data).await?;
        let rss = Usage::now(options)?.rss_kib;
        let bare = Bare::between(&Bare::between(&first, &third), &second);
        let up_part = up / Bare::between(&first, &second).rate;
        let down_part = down / Bare::between(&second, &third).rate;
        let value = json!({
            "what": "store", "carrier": carrier(options), "round": number, "bytes": version.bytes(),
            "bare_mib_s": round(bare.rate), "upload_mib_s": round(up), "download_mib_s": round(down),
            "upload_part": round(up_part), "download_part": round(down_part),
            "bare_cpu_s_per_gib": round(bare.cpu),
            "upload_cpu_s_per_gib": round(up_cpu[0]), "download_cpu_s_per_gib": round(down_cpu[0]),
            "upload_load_cpu_s_per_gib": round(up_cpu[1]), "download_load_cpu_s_per_gib": round(down_cpu[1]),
            "rss_kib": rss,
        });
        let words = format!(
            "store, {}, round {number}: bare TCP + TLS {:.0} MiB/s, upload {up:.0} ({up_part:.2}), download {down:.0} \
             ({down_part:.2}); processor, s per GiB: bare {:.2} (both ends), upload {:.2} relay and {:.2} generator, \
             download {:.2} and {:.2}; relay {:.0} MiB",
            carrier(options),
            bare.rate,
            bare.cpu,
            up_cpu[0],
            up_cpu[1],
            down_cpu[0],
            down_cpu[1],
            rss as f64 / 1024.0,
        );
        tell(&value, &words);
    }
    Ok(())
}
