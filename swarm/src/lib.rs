//! Moves chunks between this device and others: sessions, streams and links around the engine.
//!
//! [`Swarm`] is the handle that everybody else has. `core.rs` holds the engine; `routes.rs` carries
//! its commands to `session.rs` (what is held), `download_stream.rs` (fetching), `serve_stream.rs`
//! (serving) and to the task of each fetch. `links.rs` keeps addresses and connections,
//! `circuits.rs` reaches devices through relays. `shares.rs` has every share of which this device
//! knows the secret, `holders.rs` the stores of each; `host_state/` and `network.rs` follow the
//! machine.
//!
//! Invariants: nothing here knows of users, messages, groups or relays: where they matter, a port
//! ([`Membership`], [`CircuitRelays`], [`ChunkSink`]) is implemented above, or a set of shares
//! ([`Marks`]) is taken up there. Tasks are spawned through [`Tasks`](hither_util::tasks::Tasks);
//! whatever blocks runs on blocking threads or on [`Workers`].

mod blind;
mod circuits;
mod clock;
mod core;
mod device_streams;
mod download_stream;
mod familiar;
mod foreground;
mod givings;
mod handshake;
mod holders;
mod host_state;
mod interfaces;
mod known_devices;
mod links;
mod mapping;
mod marks;
mod nameplates;
mod network;
mod ports;
mod punching;
mod roaming;
mod routes;
mod run;
mod serve_stream;
mod session;
mod shares;
mod sites;
mod swarm;
mod terms;
mod throttle;
mod twins;
mod warnings;
mod workers;

pub use self::core::Core;
pub use circuits::CircuitRefusals;
pub use clock::Clock;
pub use device_streams::{DeviceStreams, answer};
pub use download_stream::{ChunkSink, PutError};
pub use foreground::Foreground;
pub use givings::{Completion, FinishedGiving, Giving, Givings};
pub use handshake::{HANDSHAKE, OpenError, broken, greet, holds, open};
pub use holders::Holders;
pub use host_state::{Battery, Facts, HostState};
pub use known_devices::{
    KnownDevice, KnownDevices, MAX_KNOWN, Relation, RememberError, RemovedDevice,
};
pub use links::probing::ANSWERS;
pub use links::watching::{
    UNSEEN, Verdict, Watch, Writing, given_up, loses, takes_little, takes_nothing,
};
pub use links::{Links, is_near, place};
pub use mapping::Mapping;
pub use marks::Marks;
pub use nameplates::{Nameplates, ScannedNames};
pub use network::addresses;
pub use ports::{CircuitError, CircuitRelays, JoinedRelay, Membership};
pub use routes::{Routes, TransferInput, TransferRoute};
pub use serve_stream::PooledBuf;
pub use shares::{ServeError, Share, Shares, Version};
pub use swarm::{Swarm, SwarmDeps, SwarmInputs};
pub use throttle::{Limit, Throttles};
pub use twins::Twins;
pub use warnings::Warnings;
pub use workers::{Buffers, Room, Workers};
