//! A circuit between two devices of this process, beside a bare TCP + TLS stream of the same bytes
//! in the same run. The bytes are not encrypted once more, as devices do: what is measured is what
//! the relay does with them.

use crate::bare::{self, Bare, endpoint};
use crate::fleet::{come, devices};
use crate::idle::carrier;
use crate::net::{Net, Wire};
use crate::report::{round, tell};
use crate::store::{dial, measured, rate};
use crate::{Failure, Options};
use bytes::Bytes;
use hither_carrier::{Endpoint, RelayReader, Stream, write_message, write_relay_message};
use hither_proto::limits::{MAX_RELAY_FRAME, PROTOCOL};
use hither_proto::{
    CircuitId, CircuitMessage, DeviceId, Knock, Message, RelayMessage, RelayPurpose, ShareSecret,
};
use serde_json::json;
use std::time::Instant;
use tokio::io::AsyncReadExt;

/// Bytes sent, and read, at once.
const PIECE: usize = 256 * 1024;

async fn begin(
    options: &Options,
    endpoint: &Endpoint,
    first: CircuitMessage,
) -> Result<Stream, Failure> {
    let mut stream = dial(options, endpoint).await?;
    let open = Message::RelayOpen {
        protocol: PROTOCOL,
        purpose: Some(RelayPurpose::Circuit),
    };
    write_message(&mut stream.send, &open).await?;
    write_relay_message(&mut stream.send, &RelayMessage::Circuit(Box::new(first))).await?;
    Ok(stream)
}

async fn connected(stream: &mut Stream) -> Result<(), Failure> {
    match RelayReader::new(MAX_RELAY_FRAME)
        .next(&mut stream.recv)
        .await?
    {
        Some(RelayMessage::Circuit(said)) if *said == CircuitMessage::Connected => {
            stream.widen();
            Ok(())
        }
        other => Err(format!("not connected: {other:?}").into()),
    }
}

async fn offered(wire: &mut Wire) -> Result<CircuitId, Failure> {
    loop {
        match wire.hear().await? {
            RelayMessage::Circuit(said) => match *said {
                CircuitMessage::Incoming { circuit, .. } => return Ok(circuit),
                other => return Err(format!("{other:?}").into()),
            },
            RelayMessage::Ping { nonce } => wire.say(&RelayMessage::Pong { nonce }).await?,
            _ => {}
        }
    }
}

/// Everything through one circuit, one way.
async fn pass(
    options: &Options,
    (from, to): (&Endpoint, &Endpoint),
    device: DeviceId,
    wire: &mut Wire,
    bytes: u64,
) -> Result<f64, Failure> {
    let knock = Knock::make(
        &ShareSecret::new([1; 16]),
        &from.device(),
        &device,
        [7; Knock::SALT],
    );
    let mut caller = begin(options, from, CircuitMessage::Connect { to: device, knock }).await?;
    let circuit = offered(wire).await?;
    let mut called = begin(options, to, CircuitMessage::Accept { circuit }).await?;
    connected(&mut called).await?;
    connected(&mut caller).await?;
    let began = Instant::now();
    let send = async {
        let piece = Bytes::from(vec![7; PIECE]);
        for _ in 0..bytes / PIECE as u64 {
            caller.send.send_bytes(piece.clone()).await?;
        }
        Ok::<_, Failure>(caller.send.finish().await?)
    };
    let read = async {
        let (mut buffer, mut read) = (vec![0; PIECE], 0);
        loop {
            match called.recv.read(&mut buffer).await? {
                0 => return Ok::<u64, Failure>(read),
                more => read += more as u64,
            }
        }
    };
    let ((), read) = futures::try_join!(send, read)?;
    match read == bytes {
        true => Ok(rate(bytes, began)),
        false => Err("not everything came".into()),
    }
}

pub async fn run(options: &Options, gib: f64, rounds: usize) -> Result<(), Failure> {
    let net = Net::new(options)?;
    let all = devices(options, 2, 2).await?;
    let (mut came, _) = come(options, &net, &all).await;
    let (called, mut held) = came.pop().ok_or("nobody got in")?;
    let (caller, _held) = came.pop().ok_or("only one device got in")?;
    let (from, to) = (endpoint(&caller.identity)?, endpoint(&called.identity)?);
    let pieces = (gib * f64::from(1 << 30)) as u64 / PIECE as u64;
    let bytes = pieces * PIECE as u64;
    let plain = vec![Bytes::from(vec![7; PIECE]); usize::try_from(pieces)?];
    for number in 1..=rounds {
        // The first takes fresh memory for the sockets and is slower than any after it: it does not
        // count.
        bare::run(options, &plain).await?;
        let first = bare::run(options, &plain).await?;
        let work = pass(options, (&from, &to), called.id, &mut held.wire, bytes);
        let (reached, cpu) = measured(options, bytes, work).await?;
        let second = bare::run(options, &plain).await?;
        let bare = Bare::between(&first, &second);
        let part = reached / bare.rate;
        let value = json!({
            "what": "circuit", "carrier": carrier(options), "round": number, "bytes": bytes,
            "bare_mib_s": round(bare.rate), "mib_s": round(reached), "part": round(part),
            "bare_cpu_s_per_gib": round(bare.cpu),
            "cpu_s_per_gib": round(cpu[0]), "load_cpu_s_per_gib": round(cpu[1]),
        });
        let words = format!(
            "circuit, {}, round {number}: bare TCP + TLS {:.0} MiB/s, circuit {reached:.0} ({part:.2}); processor, s per GiB: \
             bare {:.2} (both ends), relay {:.2}, generator (both devices) {:.2}",
            carrier(options),
            bare.rate,
            bare.cpu,
            cpu[0],
            cpu[1],
        );
        tell(&value, &words);
    }
    Ok(())
}
