//! The verdict on a run: did it do what is expected of it, within its limits?

use super::scenario::{Expect, Setup};
use hither_proto::Space;

/// Time, origin bytes and waste of a run in which everybody got the share.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Measured {
    /// Longest time of a fetcher ÷ lower bound.
    pub time: f64,
    /// Bytes sent by the owner ÷ bytes of the share.
    pub origin: f64,
    /// Bytes received in vain ÷ useful bytes.
    pub waste: f64,
}

/// Runs what was set up; fails with the first rule it breaks.
pub(crate) fn run(setup: &mut Setup) -> Result<Measured, String> {
    match setup.expect {
        Expect::Done { by } => setup.world.run(by, |world| world.all_done()),
        Expect::Waits { at, .. } => setup.world.run(at, |_| false),
    }
    let world = &setup.world;
    if let Some(violation) = &world.violation {
        return Err(format!("{violation}{}", world.describe()));
    }
    match setup.expect {
        Expect::Done { by } if !world.all_done() => {
            let by = by as f64 / 1e9;
            return Err(format!(
                "not everybody has the share after {by:.1} s{}",
                world.describe()
            ));
        }
        Expect::Done { .. } => {}
        Expect::Waits { reason, .. } => {
            let now = world.time();
            for (n, device) in world.fetchers() {
                let waiting = device
                    .engine
                    .as_ref()
                    .and_then(|e| e.progress(world.share, now)?.waiting);
                if waiting != Some(reason) {
                    return Err(format!(
                        "d{n} waits for {waiting:?} instead of {reason:?}{}",
                        world.describe()
                    ));
                }
            }
        }
    }
    let measured = measure(setup);
    let all = || (setup.also)(world).and_then(|()| check(setup, &measured));
    all().map_err(|broken| {
        let Measured {
            time,
            origin,
            waste,
        } = measured;
        format!("{broken} (time {time:.2}, origin {origin:.2}, in vain {waste:.3})")
    })?;
    Ok(if matches!(setup.expect, Expect::Waits { .. }) {
        Measured::default()
    } else {
        measured
    })
}

fn measure(setup: &Setup) -> Measured {
    let world = &setup.world;
    let longest = world
        .fetchers()
        .filter_map(|(n, _)| world.taken(n))
        .fold(0.0, f64::max);
    let (mut received, mut useful) = (0, 0);
    for (_, fetcher) in world.fetchers() {
        received += fetcher.counters.received;
        useful += fetcher.counters.useful;
    }
    Measured {
        time: longest / setup.bound,
        origin: world.devices[world.owner].counters.sent as f64 / setup.bytes(),
        waste: received.saturating_sub(useful) as f64 / useful.max(1) as f64,
    }
}

fn check(setup: &Setup, measured: &Measured) -> Result<(), String> {
    let (limits, bytes) = (setup.limits, setup.bytes());
    let most = limits.time.0 + limits.time.1 / setup.bound;
    if measured.time > most {
        return Err(format!(
            "took {:.2} of the bound, {most:.2} is allowed",
            measured.time
        ));
    }
    // Root and manifest travel too, once for every fetcher.
    let world = &setup.world;
    let about: u64 = [Space::Root, Space::Manifest]
        .iter()
        .flat_map(|s| world.contents[&1].lengths(*s))
        .map(|l| u64::from(*l))
        .sum();
    let origin = limits.origin + (about * world.fetchers().count() as u64) as f64 / bytes;
    if measured.origin > origin {
        return Err(format!(
            "the owner sent {:.2} of the share, {origin:.2} is allowed",
            measured.origin
        ));
    }
    if measured.waste > limits.waste + 1e-9 {
        return Err(format!(
            "{:.3} of the bytes came in vain, {:.3} is allowed",
            measured.waste, limits.waste
        ));
    }
    Ok(())
}
