//! An upload and a download, beside a bare TCP + TLS stream of the same bytes in the same run.

use crate::fleet::{come, devices};
use crate::idle::carrier;
use crate::net::Net;
use crate::report::{round, tell};
use crate::usage::Usage;
use crate::version::Version;
use crate::{Failure, Options};
use bytes::Bytes;
use hither_carrier::{
    Endpoint, EndpointConfig, Identity, Incoming, MessageReader, RelayReader, Stream, write_message,
    write_put_chunk, write_relay_message,
};
use hither_proto::limits::{MAX_FRAME, MAX_PUT_LIST, MAX_RELAY_FRAME, PROTOCOL};
use hither_proto::{
    DeviceId, Message, Proof, ProofKind, Purpose, Put, Ranges, RelayMessage, RelayPurpose, Side, Space, Want,
};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Instant;
use tokio::io::AsyncReadExt;

/// Chunks of one request of a reader.
const WANT: u32 = 64;
/// Requests that are under way.
const WANTS: u32 = 4;

fn endpoint(identity: &Identity) -> Result<Endpoint, Failure> {
    Ok(Endpoint::bind(identity, &EndpointConfig { loopback_only: true, ..EndpointConfig::default() })?)
}

/// Mebibytes in a second.
fn rate(bytes: u64, began: Instant) -> f64 {
    bytes as f64 / f64::from(1 << 20) / began.elapsed().as_secs_f64()
}

/// The same bytes from one device to another, over TLS and nothing else.
async fn bare(chunks: &[Bytes], length: usize) -> Result<f64, Failure> {
    let (one, other) = (Identity::generate()?, Identity::generate()?);
    let (from, to) = (endpoint(&one)?, endpoint(&other)?);
    let at = SocketAddr::from(([127, 0, 0, 1], to.tcp_port().ok_or("no TCP port")?));
    let link = from.connect_tcp(other.device_id(), &[at]).await?;
    let mut stream = link.open().await?;
    let receiving = tokio::spawn(async move {
        let mut stream = loop {
            match to.accept().await {
                Some(Incoming::Stream(stream)) => break stream,
                Some(Incoming::Link(_)) => {}
                None => return Err::<_, Failure>("nothing was accepted".into()),
            }
        };
        let mut buffer = vec![0; length];
        while stream.recv.read(&mut buffer).await? > 0 {}
        Ok(to)
    });
    let began = Instant::now();
    for chunk in chunks {
        stream.send.send_bytes(chunk.clone()).await?;
    }
    stream.send.finish().await?;
    let _to = receiving.await??;
    Ok(rate(chunks.iter().map(|chunk| chunk.len() as u64).sum(), began))
}

async fn dial(options: &Options, endpoint: &Endpoint) -> Result<Stream, Failure> {
    let relay = options.relay.address();
    let known = if options.tcp { &relay.tcp } else { &relay.udp };
    let at: Vec<SocketAddr> = known.iter().filter_map(|at| at.socket_addr()).collect();
    let link = match options.tcp {
        true => endpoint.connect_relay_tcp(relay.key, &at).await?,
        false => endpoint.connect_relay_quic(relay.key, &at).await?,
    };
    Ok(link.open().await?)
}

async fn upload(options: &Options, endpoint: &Endpoint, version: &Version) -> Result<f64, Failure> {
    let mut stream = dial(options, endpoint).await?;
    let began = Instant::now();
    let open = Message::RelayOpen { protocol: PROTOCOL, purpose: Some(RelayPurpose::Upload) };
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
        RelayMessage::PutList { space: Space::Manifest, first: 0, records: manifest },
    ];
    for (part, records) in version.records.chunks(MAX_PUT_LIST).enumerate() {
        let first = u32::try_from(part * MAX_PUT_LIST)?;
        lists.push(RelayMessage::PutList { space: Space::Data, first, records: records.to_vec() });
    }
    for list in lists {
        write_relay_message(&mut stream.send, &list).await?;
    }
    let mut reader = RelayReader::new(MAX_RELAY_FRAME);
    let mut wanted: Vec<(Space, u32)> = Vec::new();
    match reader.next(&mut stream.recv).await? {
        Some(RelayMessage::Missing { root, manifest, data }) => {
            wanted.extend(root.then_some((Space::Root, 0)));
            wanted.extend(manifest.positions().map(|position| (Space::Manifest, position)));
            wanted.extend(data.positions().map(|position| (Space::Data, position)));
        }
        other => return Err(format!("the upload was not begun: {other:?}").into()),
    }
    let Stream { mut send, mut recv, .. } = stream;
    let sending = async {
        for (space, position) in wanted {
            let bytes = version.chunk(space, position);
            let header = RelayMessage::PutChunk { space, position, length: u32::try_from(bytes.len())? };
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
                other => return Err::<_, Failure>(format!("the upload broke off: {other:?}").into()),
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
        proof: Proof::make_with_read_key(&version.key, &stream.exporter, Side::Opener),
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
            let want = Want { request: u64::from(asked) + 1, space: Space::Data, version: 1, ranges };
            write_message(&mut stream.send, &Message::Want(want)).await?;
            asked += 1;
        }
        match reader.next(&mut stream.recv).await? {
            Some(Message::Chunk { length, .. }) => {
                buffer.clear();
                reader.payload_into(&mut stream.recv, &mut buffer).await?;
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
                RelayMessage::Ping { nonce } => held.wire.say(&RelayMessage::Pong { nonce }).await?,
                _ => {}
            }
        }
        let bare = bare(&version.data, length).await?;
        let before = Usage::now(options)?;
        let up = upload(options, &sockets, &version).await?;
        let between = Usage::now(options)?;
        let down = download(options, owner.id, &version).await?;
        let after = Usage::now(options)?;
        let per_gib = |from: &Usage, to: &Usage| {
            let gib = version.bytes() as f64 / f64::from(1 << 30);
            (to.cpu_ms - from.cpu_ms) as f64 / 1000.0 / gib
        };
        let (up_cpu, down_cpu) = (per_gib(&before, &between), per_gib(&between, &after));
        let value = json!({
            "what": "store", "carrier": carrier(options), "round": number, "bytes": version.bytes(),
            "bare_mib_s": round(bare), "upload_mib_s": round(up), "download_mib_s": round(down),
            "upload_part": round(up / bare), "download_part": round(down / bare),
            "upload_cpu_s_per_gib": round(up_cpu), "download_cpu_s_per_gib": round(down_cpu),
            "rss_kib": after.rss_kib,
        });
        let words = format!(
            "store, {}, round {number}: bare TCP + TLS {bare:.0} MiB/s, upload {up:.0} ({:.2}), download {down:.0} \
             ({:.2}); relay {up_cpu:.2} and {down_cpu:.2} s of processor per GiB, {:.0} MiB",
            carrier(options),
            up / bare,
            down / bare,
            after.rss_kib as f64 / 1024.0,
        );
        tell(&value, &words);
    }
    Ok(())
}
