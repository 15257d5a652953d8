//! R1: two devices behind routers of every kind reach each other, and by which way.
//!
//! A cell is one fetch: one device shares behind a router of one kind, another fetches behind one
//! of another kind, 25 ms away, and a relay joins them. In every cell the fetch ends, and never
//! stands still for long; where the routers allow a straight way, it is taken in the end. What is measured is printed; all cells together
//! are `docs/connectivity.md`.

use crate::relay_world::quick;
use hither_tests::lab::{
    self, Carrier, DependsOn, Device, Internet, Lab, Lan, MIB, Mapping, Nat, Protocol, Relay,
    Running, Tree, fill, until,
};
use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// Size of the file that is fetched, and the speed of the way to it in Mbit/s: it takes some two seconds, so that a
/// way that is found meanwhile is seen.
const SIZE: u64 = 8 * MIB;
const UPLINK: u32 = 32;
/// Time that everything takes that leaves a LAN.
const WAY: Duration = Duration::from_millis(25);
/// Longest time without a byte. Much longer than any that is meant: the machine may be busy.
const STUCK: Duration = Duration::from_secs(10);
/// Cells that are under way at the same time: most of their time is waiting.
const AT_ONCE: usize = 6;
/// Names the file that gets the table of all cells.
const TABLE: &str = "HITHER_REACH_TABLE";
/// Restricts the table to these kinds, by their names with commas between.
const KINDS: &str = "HITHER_REACH_KINDS";

/// The routers that a device is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One router.
    Home(Nat),
    /// One at home, and one of its provider.
    Carrier,
    /// A router that drops UDP.
    NoUdp,
    /// A router that lets out TCP to port 443 and nothing else.
    OnlyHttps,
}

use Kind::{Carrier as BehindCarrier, Home, NoUdp, OnlyHttps};

/// The carrier's router.
const CARRIER: Nat = Nat::new(Mapping::Remap, DependsOn::Address);

const KEEP: Kind = Home(Nat::HOME);
const KEEP_ADF: Kind = Home(Nat::new(Mapping::Keep, DependsOn::Address));
const REMAP: Kind = Home(Nat::new(Mapping::Remap, DependsOn::AddressAndPort));
const CONE: Kind = Home(Nat::new(Mapping::Remap, DependsOn::Nothing));
const ADM: Kind = Home(Nat::new(Mapping::PerAddress, DependsOn::Address));
const SYM: Kind = Home(Nat::new(Mapping::Random, DependsOn::AddressAndPort));
const SYM_ADF: Kind = Home(Nat::new(Mapping::Random, DependsOn::Address));
const SEQ: Kind = Home(Nat::new(Mapping::Counting, DependsOn::AddressAndPort));

/// The cells of every change: each kind of router, each reason why there is no straight way, and
/// both directions where they differ.
const DOZEN: [(Kind, Kind); 12] = [
    (KEEP, KEEP),
    (REMAP, REMAP),
    (KEEP, CONE),
    (KEEP_ADF, SYM),
    (SYM, KEEP_ADF),
    (SYM, KEEP),
    (SYM, SYM_ADF),
    (SEQ, REMAP),
    (ADM, KEEP_ADF),
    (BehindCarrier, KEEP),
    (NoUdp, KEEP),
    (KEEP, OnlyHttps),
];

impl Kind {
    /// All kinds, or those that are asked for.
    fn all() -> Vec<Self> {
        let homes = Nat::met().map(Home);
        let all = homes.chain([BehindCarrier, NoUdp, OnlyHttps]);
        match std::env::var(KINDS) {
            Ok(wanted) => all
                .filter(|kind| wanted.split(',').any(|name| name == kind.to_string()))
                .collect(),
            Err(_) => all.collect(),
        }
    }

    /// The routers in a row as one, as far as UDP passes.
    fn nat(self) -> Option<Nat> {
        match self {
            Home(nat) => Some(nat),
            BehindCarrier => Some(Nat::new(CARRIER.mapping, Nat::HOME.filtering)),
            NoUdp | OnlyHttps => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Home(nat) => nat.fmt(f),
            BehindCarrier => f.write_str("carrier"),
            NoUdp => f.write_str("no UDP"),
            OnlyHttps => f.write_str("only 443"),
        }
    }
}

/// A cell, as it is called where it is told of.
fn name((one, other): (Kind, Kind)) -> String {
    format!("{one} gives to {other}")
}

/// Returns whether the routers allow a straight way, without guessing ports.
fn is_straight(one: Kind, other: Kind) -> bool {
    matches!((one.nat(), other.nat()), (Some(one), Some(other)) if one.meets(&other))
}

/// A LAN, and what is in front of it. They stay while the cell lasts.
struct Place<'lab> {
    lan: Lan<'lab>,
    _carrier: Option<Carrier<'lab>>,
}

impl<'lab> Place<'lab> {
    fn new(internet: &Internet<'lab>, kind: Kind) -> Self {
        let carrier = (kind == BehindCarrier).then(|| internet.carrier(CARRIER));
        let lan = match (&carrier, kind) {
            (Some(carrier), _) => carrier.lan_behind(Nat::HOME),
            (None, Home(nat)) => internet.lan_behind(nat),
            (None, _) => internet.lan(),
        };
        match kind {
            NoUdp => lan.router.block(Protocol::Udp),
            OnlyHttps => lan.router.only_https(),
            Home(_) | BehindCarrier => {}
        }
        lan.router.delay(WAY);
        Self {
            lan,
            _carrier: carrier,
        }
    }
}

/// The way by which two devices are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// Straight: what there is besides is not used.
    Direct,
    /// Through the relay.
    Relayed,
}

/// The outcome of one cell.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    /// The last way.
    way: Way,
    /// From the command to the first bytes.
    first: Duration,
    /// From the command to the last way.
    settled: Duration,
    /// Longest time without a byte.
    longest: Duration,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            way,
            first,
            settled,
            longest,
        } = self;
        let [first, settled, longest] = [first, settled, longest].map(Duration::as_millis);
        write!(
            f,
            "{way:?} after {settled} ms, first byte after {first} ms, stood still for {longest} ms"
        )
    }
}

/// Two devices of one user that are not joined yet.
struct Pair {
    desk: Device,
    laptop: Device,
    invitation: String,
}

impl Pair {
    /// Lets one share and the other fetch.
    fn run(self) -> Outcome {
        let Self {
            desk,
            laptop,
            invitation,
        } = self;
        desk.join(&invitation);
        laptop.join(&invitation);
        desk.sees_that(&laptop.name, true);
        laptop.sees_that(&desk.name, true);
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let ticket = desk.share_with(&file, &["--no-upload"]).ticket;
        let (from, began) = (desk.id(), Instant::now());
        let fetch = laptop.begin_fetch(&ticket, "got");
        let outcome = followed(&laptop, &from, began, fetch);
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
        outcome
    }
}

/// The way on which a device has another one now, if it has any.
fn way(device: &Device, other: &str) -> Option<Way> {
    let links = device.status().links.into_iter();
    let mut ways =
        links
            .filter(|link| link.device == other)
            .map(|link| match link.carrier.as_str() {
                "relay" => Way::Relayed,
                _ => Way::Direct,
            });
    let first = ways.next()?;
    Some(ways.fold(first, Way::min))
}

/// Follows a fetch from a device to its end.
fn followed(device: &Device, from: &str, began: Instant, fetch: Running) -> Outcome {
    let (mut first, mut settled) = (None, None);
    let (mut bytes, mut last, mut longest) = (0, began, Duration::ZERO);
    until("the end of the fetch", || {
        let transfer = device.transfers().into_iter().next()?;
        // The bytes of a fetch are told of while it runs; links go some time after it.
        if let Some(way) = way(device, from)
            && settled.is_none_or(|(before, _)| before != way)
        {
            settled = Some((way, began.elapsed()));
        }
        if transfer.bytes > bytes {
            first = first.or(Some(began.elapsed()));
            longest = longest.max(last.elapsed());
            (bytes, last) = (transfer.bytes, Instant::now());
        }
        assert!(
            last.elapsed() < STUCK,
            "no byte for {STUCK:?}: {transfer:?}"
        );
        transfer.ended
    });
    assert_eq!(fetch.finish().fetched().bytes, SIZE);
    let (way, settled) = settled.expect("a way");
    Outcome {
        way,
        first: first.expect("a first byte"),
        settled,
        longest,
    }
}

/// A relay for all pairs, each of them another user's.
struct Matrix<'lab> {
    internet: Internet<'lab>,
    relay: Relay,
    made: usize,
}

impl<'lab> Matrix<'lab> {
    fn new(lab: &'lab Lab) -> Self {
        let internet = lab.internet();
        let relay = quick(internet.relay("relay"));
        relay.start();
        Self {
            internet,
            relay,
            made: 0,
        }
    }

    /// Makes what a cell needs.
    fn cell(&mut self, (one, other): (Kind, Kind)) -> ([Place<'lab>; 2], Pair) {
        self.made += 1;
        let number = self.made;
        let label = format!("user-{number}");
        let invited = self.relay.admin(&["invite", "--label", &label]).well();
        let invited = invited.lines.last().expect("an invitation");
        let places = [one, other].map(|kind| Place::new(&self.internet, kind));
        places[0].lan.router.shape(UPLINK, 1000);
        let pair = Pair {
            desk: places[0].lan.device(&format!("desk-{number}")),
            laptop: places[1].lan.device(&format!("laptop-{number}")),
            invitation: invited["url"].as_str().expect("its URL").into(),
        };
        (places, pair)
    }

    /// Runs cells, some at a time; `None` for one that failed.
    fn run(mut self, cells: &[(Kind, Kind)]) -> Vec<Option<Outcome>> {
        let mut outcomes = Vec::new();
        thread::scope(|scope| {
            let mut running: VecDeque<(_, _, ScopedJoinHandle<'_, Outcome>)> = VecDeque::new();
            let mut end = |(name, _places, cell): (String, _, ScopedJoinHandle<'_, Outcome>)| {
                let outcome = cell.join().ok();
                match &outcome {
                    Some(outcome) => println!("{name}: {outcome}"),
                    None => println!("{name}: it failed"),
                }
                outcomes.push(outcome);
            };
            for &kinds in cells {
                if running.len() == AT_ONCE {
                    running.pop_front().into_iter().for_each(&mut end);
                }
                let (places, pair) = self.cell(kinds);
                let cell = scope.spawn(|| pair.run());
                running.push_back((name(kinds), places, cell));
            }
            running.into_iter().for_each(end);
        });
        outcomes
    }
}

/// Runs cells; says what came of them, and fails where that is not what is asserted.
fn judged(lab: &Lab, cells: &[(Kind, Kind)]) -> Vec<Option<Outcome>> {
    let outcomes = Matrix::new(lab).run(cells);
    let mut wrong = Vec::new();
    for (&(one, other), outcome) in cells.iter().zip(&outcomes) {
        let name = name((one, other));
        match outcome {
            None => wrong.push(format!("{name}: it failed")),
            Some(outcome) if is_straight(one, other) && outcome.way != Way::Direct => {
                wrong.push(format!("{name}: there is a straight way"));
            }
            Some(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    outcomes
}

/// The table of all cells, a row for each kind that shares.
fn table(kinds: &[Kind], outcomes: &[Option<Outcome>]) -> String {
    let mut table = String::from(HEAD);
    let names: Vec<String> = kinds.iter().map(Kind::to_string).collect();
    let _ = writeln!(table, "| shares ↓ fetches → | {} |", names.join(" | "));
    let _ = writeln!(table, "|---|{}", "---|".repeat(kinds.len()));
    for (one, row) in kinds.iter().zip(outcomes.chunks(kinds.len())) {
        let cells = kinds.iter().zip(row).map(|(&other, outcome)| {
            let Some(outcome) = outcome else {
                return "failed".to_owned();
            };
            let way = match outcome.way {
                Way::Direct => "direct",
                Way::Relayed if is_straight(*one, other) => "relayed*",
                Way::Relayed => "relayed",
            };
            let (first, settled) = (outcome.first.as_millis(), outcome.settled.as_millis());
            format!("{way} {first} / {settled}")
        });
        let cells: Vec<String> = cells.collect();
        let _ = writeln!(table, "| {one} | {} |", cells.join(" | "));
    }
    table
}

/// The text above the table.
const HEAD: &str = "\
# Connectivity

Two devices behind routers of every kind, a relay that both have joined, every way 25 ms long: which
way a fetch takes in the end, the milliseconds from the command to its first byte, and those to that
way. `relayed*` is a cell whose routers allow a straight way that is not taken.
The test that makes the table checks that no fetch fails or stands still.

The kinds are those of RFC 4787, MAPPING-FILTERING. Mappings: `keep`, one outer port for every remote,
the same as inside; `remap`, one outer port, another than inside; `adm`, one for every remote address;
`sym`, a random one for every remote address and port; `seq`, the next one for every remote address
and port. Filtering lets in what comes from the addresses and ports (`apdf`) or the addresses (`adf`)
that something was sent to, or everything (`eif`). `carrier` is a `keep-apdf` router behind one of the
provider (`remap-adf`), `no UDP` drops UDP, `only 443` lets out nothing but TCP to port 443.

The routers are network namespaces (`tests/src/lab/nat.rs`); `r1_every_router_of_the_lab_is_what_it_says`
verifies each of them by STUN, and `r1_two_routers_let_through_what_rfc_4787_says` which pairs allow a
straight way. Six cells run at a time on two cores, which takes part of the milliseconds. Made by

    cargo build --locked --bin hither --bin hitherd --bin hither-relay
    HITHER_BIN=$PWD/target/debug HITHER_REACH_TABLE=$PWD/docs/connectivity.md cargo nextest run --locked \\
        --profile nightly -p hither-tests --test lab --run-ignored only -E 'test(r1_every_pair_of_kinds)'

";

#[test]
fn r1_a_dozen_pairs_of_kinds_reach_each_other() {
    lab::run(|lab| {
        judged(lab, &DOZEN);
    });
}

#[test]
#[ignore = "takes minutes; scripts/nightly runs it"]
fn r1_every_pair_of_kinds_reaches_each_other() {
    lab::run(|lab| {
        let kinds = Kind::all();
        let cells = kinds
            .iter()
            .flat_map(|&one| kinds.iter().map(move |&other| (one, other)));
        let cells: Vec<_> = cells.collect();
        let outcomes = judged(lab, &cells);
        let table = table(&kinds, &outcomes);
        println!("{table}");
        if let Some(file) = std::env::var_os(TABLE) {
            std::fs::write(file, table).unwrap();
        }
    });
}
