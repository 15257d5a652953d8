//! Three sites with several devices each and a store between them: what one device of a site got,
//! its neighbours get from it.

use crate::cheapest::{is_strict, judge_share, judge_time, rules, wasted};
use crate::common::ratio;
use crate::index::{announced, share};
use crate::relay_world::quick;
use hither_tests::lab::{self, Device, Lan, MIB, Machine, Relay, Running, Tree, fill, goodput};
use std::time::Duration;

const SIZE: u64 = 64 * MIB;
/// Links of every site, Mbit/s.
const UP: u32 = 20;
const DOWN: u32 = 100;
/// How long what leaves a site takes: a neighbour is who answers sooner.
const WAY: Duration = Duration::from_millis(10);
/// Devices that fetch at each site.
const DEVICES: usize = 3;
/// Part of a frame that is not payload, TLS and acknowledgements of what the site sends included.
const FRAMING: f64 = 1.06;

fn devices(lan: &Lan<'_>, site: char, relay: &Relay) -> Vec<Device> {
    let devices: Vec<Device> = (1..=DEVICES)
        .map(|n| lan.device(&format!("{site}{n}")))
        .collect();
    devices
        .iter()
        .for_each(|device| device.join(&relay.invitation()));
    devices
}

#[test]
fn a4_a6_three_sites_with_a_store_take_one_copy_each() {
    lab::run(|lab| {
        let internet = lab.internet();
        let sites = [(); 3].map(|()| internet.site());
        sites.iter().for_each(|lan| lan.router.delay(WAY));
        let mut relay = quick(internet.relay("relay"));
        relay.set("invitation.devices=20");
        relay.start();
        let desk = sites[0].device("desk");
        desk.join(&relay.invitation());
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let (id, ticket) = share(&desk, &file, &[]);
        desk.uploads(&id);
        announced(&relay, 1);
        let all: Vec<Vec<Device>> = sites
            .iter()
            .zip("abc".chars())
            .map(|(lan, name)| devices(lan, name, &relay))
            .collect();
        for group in &all {
            group
                .iter()
                .for_each(|device| device.sees(DEVICES as u64 - 1));
        }
        sites.iter().for_each(|lan| lan.router.shape(UP, DOWN));
        // What a site's downlink carries at least has to come in once.
        let carries = goodput(&internet.device("probe"), &all[1][0], 6 * MIB);
        let bound = SIZE as f64 / carries;
        let before = sites.each_ref().map(|lan| lan.router.entered());
        let machine = Machine::watch();
        let fetches: Vec<Running> = all
            .iter()
            .flatten()
            .map(|device| device.begin_fetch(&ticket, "got"))
            .collect();
        let seconds = fetches
            .into_iter()
            .map(|fetch| fetch.finish().fetched().seconds)
            .fold(0.0, f64::max);
        for (number, group) in all.iter().enumerate() {
            println!(
                "site {number}: {:?}, {} KiB in vain",
                rules(group),
                wasted(group) >> 10
            );
        }
        for (number, lan) in sites.iter().enumerate().skip(1) {
            let entered = lan.router.entered() - before[number];
            let part = ratio(&format!("what entered site {number}"), entered, SIZE);
            let most = if is_strict() { 1.10 } else { 1.35 };
            judge_share(&machine, "what entered a site", part, most * FRAMING);
        }
        judge_time(seconds, bound, 1.35);
        for device in all.iter().flatten() {
            Tree::of(&file).assert_same(&Tree::of(device.path("got/film.mkv")));
        }
    });
}
