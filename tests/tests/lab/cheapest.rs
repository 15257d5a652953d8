//! Every chunk from where it is cheapest: the table of the source-selection design, with real programs and shaped links.
//!
//! Bytes are always judged. Times are printed beside their bound, and judged only with `HITHER_LAB_STRICT=1`: a busy
//! machine says nothing about the programs.

use crate::common::ratio;
use hither_tests::lab::{self, Device, Lab, MIB, Running, Tree, fill, goodput};
use std::collections::BTreeMap;
use std::path::Path;

/// What is sent to measure a link.
const PROBE: u64 = 6 * MIB;

/// Devices that fetch, with their daemons up.
fn fetchers(lab: &Lab, count: usize) -> Vec<Device> {
    let devices: Vec<Device> = (1..=count).map(|n| lab.device(&format!("d{n}"))).collect();
    devices.iter().for_each(|device| drop(device.up()));
    devices
}

/// Everybody fetches at once; seconds of the slowest.
fn all_fetch(devices: &[Device], ticket: &str) -> f64 {
    let fetches: Vec<Running> = devices.iter().map(|device| device.begin_fetch(ticket, "got")).collect();
    fetches.into_iter().map(|fetch| fetch.finish().fetched().seconds).fold(0.0, f64::max)
}

/// Payload bytes that `from` gave to everybody, those in vain included.
fn given(from: &str, devices: &[Device]) -> u64 {
    let of = |device: &Device| -> u64 {
        let why = device.why(&device.transfer().transfer);
        let sources = why.sources.iter().filter(|source| source.source.device == from);
        sources.map(|source| source.source.bytes + source.wasted).sum()
    };
    devices.iter().map(of).sum()
}

/// Bytes that everybody received in vain.
fn wasted(devices: &[Device]) -> u64 {
    let of = |device: &Device| -> u64 {
        device.why(&device.transfer().transfer).sources.iter().map(|source| source.wasted).sum()
    };
    devices.iter().map(of).sum()
}

fn all_have(devices: &[Device], file: &Path) {
    let (whole, name) = (Tree::of(file), file.file_name().unwrap());
    for device in devices {
        whole.assert_same(&Tree::of(device.path("got").join(name)));
    }
}

/// Seconds that so many bytes take at least from one device, by what its link carries right now.
fn bound(bytes: u64, from: &Device, to: &Device) -> f64 {
    bytes as f64 / goodput(from, to, PROBE)
}

fn judge_time(seconds: f64, bound: f64, most: f64) {
    println!("time: {:.3} of the bound ({seconds:.2} s of {bound:.2} s)", seconds / bound);
    if std::env::var_os("HITHER_LAB_STRICT").is_some() {
        assert!(seconds / bound <= most, "took {:.3} of the bound, {most} is allowed", seconds / bound);
    }
}

/// How often each rule chose a source, over all devices.
fn rules(devices: &[Device]) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for device in devices {
        for source in device.why(&device.transfer().transfer).sources {
            source.rules.into_iter().for_each(|(rule, spans)| *all.entry(rule).or_default() += spans);
        }
    }
    all
}

fn judge_origin(origin: &Device, devices: &[Device], size: u64, most: f64) {
    println!("{:?}, {} KiB in vain", rules(devices), wasted(devices) >> 10);
    let ratio = ratio("the origin gave", given(&origin.id(), devices), size);
    assert!(ratio <= most, "the origin gave {ratio:.3} of the file, {most} is allowed");
}

#[test]
fn a5_a7_four_fetchers_of_a_thin_origin() {
    lab::run(|lab| {
        const SIZE: u64 = 64 * MIB;
        let desk = lab.device("desk");
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let ticket = desk.share(&file).ticket;
        let others = fetchers(lab, 4);
        others.iter().for_each(|device| device.sees(4));
        desk.cable.shape_up(50);
        let bound = bound(SIZE, &desk, &others[0]);
        let before = desk.cable.traffic().sent;
        let seconds = all_fetch(&others, &ticket);
        ratio("over its cable", desk.cable.traffic().sent - before, SIZE);
        judge_origin(&desk, &others, SIZE, 1.05);
        judge_time(seconds, bound, 1.15);
        all_have(&others, &file);
    });
}
