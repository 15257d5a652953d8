//! The yardstick of a store: the same bytes over a TCP + TLS stream of the same kind from this
//! process to another one, memory to memory, and nothing else.

use crate::usage::Usage;
use crate::{Failure, Options};
use bytes::Bytes;
use hither_carrier::{Endpoint, EndpointConfig, Identity, Incoming};
use hither_proto::DeviceId;
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Instant;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

/// Bytes that are read at once, as far as they are there.
const READ: usize = 512 * 1024;

/// What a bare stream reached.
pub struct Bare {
    /// Mebibytes in a second.
    pub rate: f64,
    /// Seconds of processor per GiB, of both ends together.
    pub cpu: f64,
}

impl Bare {
    /// In the time that two took together, half of it.
    pub fn between(one: &Self, other: &Self) -> Self {
        let rate = 2.0 / (1.0 / one.rate + 1.0 / other.rate);
        Self {
            rate,
            cpu: (one.cpu + other.cpu) / 2.0,
        }
    }
}

/// Where the other process listens.
#[derive(Serialize, Deserialize)]
struct There {
    key: Vec<u8>,
    port: u16,
}

pub fn endpoint(identity: &Identity) -> Result<Endpoint, Failure> {
    Ok(Endpoint::bind(
        identity,
        &EndpointConfig {
            loopback_only: true,
            ..EndpointConfig::default()
        },
    )?)
}

/// The other process: takes one stream to its end, and lives until its input ends.
pub async fn sink() -> Result<(), Failure> {
    let identity = Identity::generate()?;
    let endpoint = endpoint(&identity)?;
    let port = endpoint.tcp_port().ok_or("no TCP port")?;
    let there = There {
        key: identity.device_id().as_bytes().to_vec(),
        port,
    };
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&there)?)?;
    let mut stream = loop {
        match endpoint.accept().await {
            Some(Incoming::Stream(stream)) => break stream,
            Some(Incoming::Link(_)) => {}
            None => return Err("nothing was accepted".into()),
        }
    };
    let mut buffer = vec![0; READ];
    let mut bytes = 0;
    loop {
        match stream.recv.read(&mut buffer).await? {
            0 => break,
            read => bytes += read,
        }
    }
    writeln!(std::io::stdout(), "{bytes}")?;
    // Until it was looked at what this has cost.
    let _ = std::io::stdin().read(&mut [0]);
    Ok(())
}

/// Sends all chunks to a process of its own.
pub async fn run(options: &Options, chunks: &[Bytes]) -> Result<Bare, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--relay").arg(options.relay.to_string());
    command
        .arg("--bin")
        .arg(&options.bin)
        .arg("--data")
        .arg(&options.data)
        .arg("sink");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
    let there: There = serde_json::from_str(&lines.next_line().await?.ok_or("no address")?)?;
    let from = endpoint(&Identity::generate()?)?;
    let at = SocketAddr::from(([127, 0, 0, 1], there.port));
    let link = from
        .dial(hither_carrier::Dial::tcp(
            DeviceId::from_slice(&there.key)?,
            &[at],
        ))
        .await?;
    let mut stream = link.open().await?;
    let child_id = child.id().ok_or("the other process is gone")?;
    let processes = [child_id, std::process::id()];
    let before = processes.map(Usage::of);
    let began = Instant::now();
    for chunk in chunks {
        stream.send.send_bytes(chunk.clone()).await?;
    }
    stream.send.finish().await?;
    let got: u64 = lines
        .next_line()
        .await?
        .ok_or("the other process broke off")?
        .parse()?;
    let seconds = began.elapsed().as_secs_f64();
    let mut cpu_ms = 0;
    for (process, before) in processes.into_iter().zip(before) {
        cpu_ms += Usage::of(process)?.cpu_ms - before?.cpu_ms;
    }
    drop(child.stdin.take());
    child.wait().await?;
    if got != chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>() {
        return Err("not everything came".into());
    }
    let rate = got as f64 / f64::from(1 << 20) / seconds;
    Ok(Bare {
        rate,
        cpu: cpu_ms as f64 / 1000.0 / (got as f64 / f64::from(1 << 30)),
    })
}
