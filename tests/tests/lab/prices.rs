//! What costs is asked for where waiting would cost more; what would rather not give is asked last.

use crate::index::{Sites, announced, share};
use hither_api::{ErrorCode, SourceKind};
use hither_tests::lab::{self, Device, Fetched, Lab, MIB, Tree, fill, until};
use std::path::PathBuf;

const SIZE: u64 = 24 * MIB;
/// The rate of the origin's uplink: below what a store is worth to who waits in balanced mode (95
/// Mbit/s), and above what it is worth to who saves (10 Mbit/s).
const UPLINK: u32 = 40;

/// An origin with a thin uplink at one site, a store that has everything, and who fetches at
/// another site.
struct Shop<'lab> {
    sites: Sites<'lab>,
    desk: Device,
    file: PathBuf,
    ticket: String,
}

impl<'lab> Shop<'lab> {
    fn new(lab: &'lab Lab) -> Self {
        let sites = Sites::new(lab, &[""]);
        let desk = sites.device(&sites.a, "desk");
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let (id, ticket) = share(&desk, &file, &[]);
        desk.uploads(&id);
        announced(&sites.relays[0], 1);
        desk.cable.shape_up(UPLINK);
        Self {
            sites,
            desk,
            file,
            ticket,
        }
    }

    fn fetch(&self, device: &Device, arguments: &[&str]) -> Fetched {
        let fetched = device
            .hither(&[&["fetch", &self.ticket, "-o", "got", "--yes"], arguments].concat())
            .fetched();
        Tree::of(&self.file).assert_same(&Tree::of(device.path("got/film.mkv")));
        fetched
    }
}

/// Sets the usual price, so that amounts are told.
fn price(device: &Device) {
    device
        .hither(&["config", "set", "cost.store", "0.09"])
        .well();
}

/// Bytes that came from a store, and what they cost.
fn bought(fetched: &Fetched) -> (u64, f64) {
    let stores = fetched
        .sources
        .iter()
        .filter(|source| source.kind == SourceKind::Store);
    stores.fold((0, 0.0), |(bytes, cost), source| {
        (bytes + source.bytes, cost + source.cost)
    })
}

#[test]
fn a6_a_store_is_paid_for_where_waiting_would_cost_more() {
    lab::run(|lab| {
        let shop = Shop::new(lab);
        let mut gave = Vec::new();
        for mode in ["saver", "balanced"] {
            let device = shop.sites.device(&shop.sites.b, mode);
            price(&device);
            let fetched = shop.fetch(&device, &["--mode", mode]);
            let (bytes, cost) = bought(&fetched);
            println!(
                "{mode}: {:.2} s, {:.3} from the store for {cost:.6}",
                fetched.seconds,
                bytes as f64 / SIZE as f64
            );
            let due = bytes as f64 / (1u64 << 30) as f64 * 0.09;
            assert!(
                (cost - due).abs() <= due * 0.05 + 1e-9,
                "{cost} for {bytes} bytes"
            );
            let why = device.why(&fetched.transfer);
            for source in &why.sources {
                println!("  {}", source.words);
            }
            if mode == "balanced" {
                let paid = why
                    .sources
                    .iter()
                    .find_map(|source| source.paid)
                    .expect("it says why it paid");
                assert!(paid.cheaper_rate < paid.threshold, "{paid:?}");
            }
            gave.push(bytes);
            device.down();
        }
        // In the first moment nobody has been measured; who saves is not asked to wait for that.
        assert!(gave[0] <= 2 * MIB, "who saves bought {} bytes", gave[0]);
        assert!(
            gave[1] >= SIZE / 4,
            "who does not bought only {} bytes",
            gave[1]
        );
    });
}

#[test]
fn a6_who_cannot_wait_any_longer_says_so_while_it_is_fetched() {
    lab::run(|lab| {
        let shop = Shop::new(lab);
        let laptop = shop.sites.device(&shop.sites.b, "laptop");
        price(&laptop);
        let mut saving = laptop.begin(&[
            "fetch",
            &shop.ticket,
            "-o",
            "got",
            "--yes",
            "--mode",
            "saver",
        ]);
        saving.reach(2 * MIB);
        // A second one, of the same and to the same place, is the same transfer with another mind.
        let hurried = shop.fetch(&laptop, &["--mode", "fast"]);
        let fetched = saving.finish().fetched();
        assert_eq!(hurried.transfer, fetched.transfer);
        let (bytes, cost) = bought(&fetched);
        println!(
            "{bytes} bytes bought for {cost:.6}, {:.2} s",
            fetched.seconds
        );
        assert!(
            bytes >= SIZE / 4,
            "only {bytes} bytes were bought by who is in a hurry"
        );
        assert_eq!(laptop.transfers().len(), 1);
    });
}

#[test]
fn a6_no_fetch_costs_more_than_it_may_and_it_goes_on_where_it_stopped() {
    lab::run(|lab| {
        let shop = Shop::new(lab);
        shop.desk.down();
        let device = shop.sites.device(&shop.sites.b, "laptop");
        // A third of it, at 0.09 for a GiB.
        let part = SIZE as f64 / (1u64 << 30) as f64 * 0.09 / 3.0;
        let amount = format!("{part:.7}");
        let arguments = [
            "fetch",
            &shop.ticket,
            "-o",
            "got",
            "--yes",
            "--wait",
            "3s",
            "--max-cost",
            &amount,
        ];
        let error = device.hither(&arguments).failed(6);
        assert_eq!(error.code, ErrorCode::TooDear);
        let begun = device.transfer();
        let cost: f64 = begun.sources.iter().map(|source| source.cost).sum();
        println!("{} bytes for {cost:.7} of {amount}", begun.bytes);
        assert!(
            begun.bytes > SIZE / 4 && begun.bytes < SIZE / 2 && cost <= part,
            "{begun:?}"
        );
        let fetched = shop.fetch(&device, &["--max-cost", "1"]);
        let (bytes, cost) = bought(&fetched);
        assert!(
            bytes <= SIZE + 2 * MIB && cost <= part * 3.2,
            "{bytes} bytes for {cost}: something was bought twice"
        );
    });
}

#[test]
fn p10_amounts_are_told_where_a_price_is_set_and_in_the_currency_that_is_configured() {
    lab::run(|lab| {
        let shop = Shop::new(lab);
        shop.desk.down();
        let device = shop.sites.device(&shop.sites.b, "laptop");
        let fetched = shop.fetch(&device, &[]);
        let (bytes, cost) = bought(&fetched);
        assert_eq!((bytes, cost), (SIZE, 0.0), "nobody set a price");
        let why = || {
            let why = device.plain(&["why"]);
            let words = String::from_utf8_lossy(&why.output).into_owned();
            // Lines are broken anywhere.
            words.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let told = device.why(&fetched.transfer);
        assert!(
            told.sources
                .iter()
                .all(|one| one.paid.is_none() && one.source.cost == 0.0)
        );
        assert!(told.spans.iter().all(|span| span.price == 0.0));
        let words = why();
        println!("{words}");
        assert!(
            !words.contains("cost") && !words.contains("COST"),
            "{words}"
        );
        let json = serde_json::to_string(&device.transfer()).unwrap();
        assert!(
            !json.contains("cost") && !json.contains("currency"),
            "{json}"
        );

        // It was counted all the same: with a price it is told, in units, then in a currency.
        let set =
            |key: &str, value: &str| drop(device.hither(&["config", "set", key, value]).well());
        set("cost.store", "0.09");
        let due = SIZE as f64 / (1u64 << 30) as f64 * 0.09;
        let cost: f64 = device.transfer().sources.iter().map(|one| one.cost).sum();
        assert!((cost - due).abs() < due * 0.1, "{cost} for {due}");
        let words = why();
        assert!(
            words.contains("It cost 0.002") && words.contains(" units"),
            "{words}"
        );
        assert_eq!(
            device
                .hither(&["config", "set", "cost.currency", "a\u{1b}b"])
                .status,
            2
        );
        set("cost.currency", "EUR");
        assert_eq!(device.transfer().currency.as_deref(), Some("EUR"));
        let words = why();
        assert!(
            words.contains(" EUR") && !words.contains(" units"),
            "{words}"
        );
    });
}

/// Of two who have it, one costs or is tired: the other one gives.
fn the_other_gives(lab: &Lab, prepare: impl FnOnce(&mut Device)) {
    let sites = Sites::new(lab, &[""]);
    let mut desk = sites.device(&sites.a, "desk");
    let other = sites.device(&sites.c, "other");
    let file = fill(desk.path("film.mkv"), 1, SIZE);
    let (_, ticket) = share(&desk, &file, &["--no-upload"]);
    announced(&sites.relays[0], 1);
    other.fetch(&ticket, "got");
    announced(&sites.relays[0], 2);
    desk.down();
    prepare(&mut desk);
    desk.up();
    until("its terms", || {
        (desk.status().world != Default::default()).then_some(())
    });
    announced(&sites.relays[0], 2);
    // Together they would be faster: one is asked because the other one is not.
    [&desk, &other]
        .iter()
        .for_each(|device| device.cable.shape_up(UPLINK));
    let laptop = sites.device(&sites.b, "laptop");
    let fetched = laptop.fetch(&ticket, "got");
    let (dear, free) = (fetched.from(&desk.id()), fetched.from(&other.id()));
    println!("{dear} bytes from who asks for something, {free} from who does not");
    // A span may be asked for before the terms are heard.
    assert!(dear <= 2 * MIB && free >= SIZE - 2 * MIB);
    // Where nobody else has it, it gives.
    other.down();
    let tablet = sites.device(&sites.b, "tablet");
    laptop.down();
    let fetched = tablet.fetch(&ticket, "got");
    assert!(fetched.from(&desk.id()) == SIZE, "{:?}", fetched.sources);
}

#[test]
fn a7_a_metered_link_is_spared_while_somebody_else_has_it() {
    lab::run(|lab| the_other_gives(lab, |desk| desk.set("network.metered", "yes")));
}

#[test]
fn a7_a_low_battery_is_spared_while_somebody_else_has_it() {
    lab::run(|lab| {
        let mut bus = None;
        the_other_gives(lab, |desk| bus.insert(desk.system_bus()).power(9.0, 2));
    });
}
