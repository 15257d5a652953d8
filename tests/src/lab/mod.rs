//! The lab: the real programs on devices of their own, joined by a switch.
//!
//! A test is a closure given to [`run()`]. It runs inside fresh namespaces, whose network is the
//! switch; every [`Device`] has a namespace with one cable into it, a home, a daemon when it is up,
//! and files. Cables can be shaped, cut and filtered; multicast goes over the switch as over any
//! other. [`Holder`] is a device that does not keep to the rules, [`Stranger`] one that knows no
//! ticket. Where there is more than one network, [`Internet`] joins LANs behind routers, each with
//! a [`Nat`] of its own, and [`Relay`]s. Whatever a test makes goes when it ends: processes, mounts
//! and networks with the namespaces, files with the lab's folder.
//!
//! Root, or a system that lets anybody make namespaces, is needed. Where there is neither a test
//! says so and passes; `HITHER_LAB_REQUIRED=1` makes that a failure. `HITHER_BIN` is the folder of
//! the programs, `HITHER_LAB_SEED` the seed of what is random. A disk with the names of Windows
//! needs `mkntfs` and `lowntfs-3g` (package ntfs-3g) and `/dev/fuse`; where they are not, tests
//! of it say so and show nothing. The same holds for a router that maps ports, which needs
//! `miniupnpd` (package miniupnpd-nftables).

mod api;
mod bad_disk;
mod browser;
mod cable;
mod capture;
mod chromium;
mod code_attacker;
mod crowd;
mod delay;
mod desktop;
mod device;
mod echo;
mod forge;
mod going;
mod goodput;
mod holder;
mod http;
mod inside;
mod internet;
mod ipv6;
mod machine;
mod made_up;
mod namespace;
mod nat;
mod nat_behaviour;
mod paired_page;
mod peer;
mod port_mapper;
mod prober;
mod process;
mod proxy;
mod punch;
mod relay;
mod router;
mod run;
mod stranger;
mod stun;
mod switch;
mod system_bus;
mod tool;
mod tree;
mod user;
mod visitor;
mod wait;
mod wall_clock;

pub use api::Api;
pub use bad_disk::{DeadDisk, WornDisk};
pub use browser::{Answer, BINARY, Browser, Read, TEXT};
pub use cable::{Cable, Protocol, Traffic};
pub use capture::Capture;
pub use chromium::Driven;
pub use code_attacker::{Impostor, Joiner, Plays};
pub use crowd::{Hoarder, Silent, listens};
pub use desktop::{Desktop, Shown};
pub use device::{Device, Shared};
pub use echo::Echo;
pub use goodput::goodput;
pub use holder::{Conduct, Holder};
pub use http::HttpAnswer;
pub use inside::run;
pub use internet::{ALL_SITES, Carrier, Internet, Lan};
pub use machine::Machine;
pub use made_up::MadeUp;
pub use nat::{DependsOn, Mapping, Nat};
pub use nat_behaviour::{NatBehaviour, OuterPorts};
pub use paired_page::PairedPage;
pub use port_mapper::PortMapper;
pub use prober::{At, Caller, Outcomes, probe};
pub use process::Process;
pub use proxy::Proxy;
pub use punch::Puncher;
pub use relay::Relay;
pub use router::{Direction, Router};
pub use run::{Fetched, Pipe, Plain, Run, Running};
pub use stranger::{Loot, Stranger};
pub use stun::StunServer;
pub use switch::Lab;
pub use system_bus::SystemBus;
pub use tree::{Tree, fill, noise};
pub use visitor::Visitor;
pub use wait::{PATIENCE, until, within};

/// Bytes in a mebibyte.
pub const MIB: u64 = 1 << 20;
