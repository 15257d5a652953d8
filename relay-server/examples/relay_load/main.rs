//! Loads a running `hither-relay` with many devices in one process, and measures what they cost it.
//!
//! `relay_load --relay URL --bin PROGRAM --data FOLDER --pid PID COMMAND`, where COMMAND is
//!
//! - `idle N`: devices that only ping; memory and processor time at 100, 1,000, 2,000, 5,000 … N of
//!   them;
//! - `push RATE SECONDS`: messages between devices that are connected;
//! - `mail RATE SECONDS`: messages for devices that are away, which then come and fetch them;
//! - `storm N`: devices that all come back after the relay was restarted (by whoever reads
//!   "holding" here);
//! - `attack SECONDS`: hostile clients, for measuring everybody else beside them;
//! - `store GIB`: an upload and a download beside a bare TCP + TLS stream of the same bytes;
//! - `circuit GIB`: a circuit between two devices beside such a stream.
//!
//! Every measurement is one JSON line on standard output and one line for people on standard error.
//! All devices come from one address, so the relay's limits for addresses must be raised
//! (`scripts/relay-bench` does). Invitations are made with `PROGRAM --data FOLDER invite`.

mod attack;
mod bare;
mod circuit;
mod device;
mod fleet;
mod idle;
mod mail;
mod net;
mod push;
mod report;
mod store;
mod storm;
mod tls;
mod traffic;
mod usage;
mod version;

use clap::{Parser, Subcommand};
use hither_proto::RelayUrl;
use std::path::PathBuf;

/// Any failure of this tool, for people.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Parser)]
struct Options {
    /// The relay's URL, as it prints it
    #[arg(long)]
    relay: RelayUrl,
    /// The relay's program, for making invitations
    #[arg(long)]
    bin: PathBuf,
    /// The relay's data folder, for the same
    #[arg(long)]
    data: PathBuf,
    /// The relay's process, to be measured
    #[arg(long)]
    pid: Option<u32>,
    /// File with that number, read anew for every measurement: for a relay that is restarted
    #[arg(long)]
    pid_file: Option<PathBuf>,
    /// TCP instead of QUIC
    #[arg(long)]
    tcp: bool,
    /// Devices of each user (at most 256)
    #[arg(long, default_value_t = 5)]
    per_user: u32,
    /// Connections that are made at the same time
    #[arg(long, default_value_t = 64)]
    at_once: usize,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Devices that only ping
    Idle {
        devices: usize,
        /// Seconds over which processor time is measured at each step; pings come every 25 s
        #[arg(long, default_value_t = 30)]
        window: u64,
    },
    /// Messages between devices that are connected
    Push {
        /// Messages in a second, in all
        rate: f64,
        seconds: u64,
        /// Pairs of a sender and a reader
        #[arg(long, default_value_t = 200)]
        pairs: usize,
        /// Bytes of a message
        #[arg(long, default_value_t = 256)]
        size: usize,
        /// Devices that are connected besides, and only ping
        #[arg(long, default_value_t = 0)]
        idle: usize,
    },
    /// Durable messages for devices that are away
    Mail {
        /// Messages in a second, in all
        rate: f64,
        seconds: u64,
        /// Pairs of a sender and a reader
        #[arg(long, default_value_t = 256)]
        pairs: usize,
        /// Bytes of a message
        #[arg(long, default_value_t = 1024)]
        size: usize,
    },
    /// Devices that all come back after the relay was restarted
    Storm {
        devices: usize,
        /// Longest wait for all of them, seconds
        #[arg(long, default_value_t = 180)]
        patience: u64,
    },
    /// Hostile clients
    Attack { seconds: u64 },
    /// The other end of the bare stream of `store`
    Sink,
    /// An upload and a download
    Store {
        /// Gibibytes
        gib: f64,
        /// KiB of a chunk
        #[arg(long, default_value_t = 512)]
        chunk: usize,
        /// How often all of it is measured
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// A circuit between two devices
    Circuit {
        /// Gibibytes
        gib: f64,
        /// How often it is measured
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let options = Options::parse();
    match options.command {
        Command::Idle { devices, window } => idle::run(&options, devices, window).await,
        Command::Push {
            rate,
            seconds,
            pairs,
            size,
            idle,
        } => {
            push::run(
                &options,
                &traffic::Plan {
                    rate,
                    seconds,
                    pairs,
                    size,
                },
                idle,
            )
            .await
        }
        Command::Mail {
            rate,
            seconds,
            pairs,
            size,
        } => {
            mail::run(
                &options,
                &traffic::Plan {
                    rate,
                    seconds,
                    pairs,
                    size,
                },
            )
            .await
        }
        Command::Storm { devices, patience } => storm::run(&options, devices, patience).await,
        Command::Attack { seconds } => attack::run(&options, seconds).await,
        Command::Sink => bare::sink().await,
        Command::Store { gib, chunk, rounds } => store::run(&options, gib, chunk, rounds).await,
        Command::Circuit { gib, rounds } => circuit::run(&options, gib, rounds).await,
    }
}
