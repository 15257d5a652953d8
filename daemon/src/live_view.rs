//! A transfer as somebody watches it: made a few times a second, and only while somebody does.
//!
//! Bounded: at most [`MAX_CELLS`] cells while it runs and [`KEPT_CELLS`] afterwards; sources as
//! many as the engine knows.

use crate::costs;
use crate::transfer::{Transfer, TransferService};
use futures::stream::{self, Stream};
use hither_api::{MAX_CELLS, MapRun, MapState, SourceKind, SpanMap, TransferView, ViewSource};
use hither_engine::{Cell, CellRun, FetchView, SourceNow, SourceSummary};
use hither_proto::{DeviceId, HolderKind};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often is looked.
const LOOK: Duration = Duration::from_millis(250);
/// Cells that are kept of a transfer that does not run any more: there may be hundreds of them.
const KEPT_CELLS: u32 = 1024;

/// The part of the view that is left when a run has ended.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    sources: Vec<ViewSource>,
    map: Option<SpanMap>,
}

/// The engine's view of a fetch that runs.
struct Running {
    view: FetchView,
    summaries: BTreeMap<DeviceId, SourceSummary>,
}

impl Running {
    fn of(service: &TransferService, transfer: &Transfer, cells: u32) -> Option<Self> {
        let share = transfer.share.id;
        service.swarm.core().with(|engine, now| {
            let summaries = engine.journal(share)?.sources().clone();
            Some(Self {
                view: engine.view(share, cells, now)?,
                summaries,
            })
        })
    }
}

/// How a transfer stands now, its map of at most so many cells.
pub(crate) fn view(service: &TransferService, transfer: &Transfer, cells: u32) -> TransferView {
    let running = transfer
        .is_running()
        .then(|| Running::of(service, transfer, cells))
        .flatten();
    let info = transfer.info(service);
    let (remaining, history) = transfer.pace();
    let given = info.sources.iter().map(|given| ViewSource {
        device: given.device.clone(),
        name: given.name.clone(),
        kind: given.kind,
        bytes: given.bytes,
        cost: given.cost,
        ..unknown()
    });
    let mut sources: Vec<ViewSource> = given.collect();
    let map = match &running {
        Some(Running { view, summaries }) => {
            view.sources
                .iter()
                .for_each(|now| add(service, &mut sources, now, summaries));
            map(&view.map, &sources)
        }
        None => transfer
            .kept_view()
            .and_then(|kept| kept.beside(&mut sources)),
    };
    let running = running.is_some();
    if !transfer.tells_costs(service) {
        sources.iter_mut().for_each(|source| source.price = 0.0);
    }
    TransferView {
        transfer: info,
        remaining: remaining.filter(|_| running),
        history,
        sources,
        map,
    }
}

/// Returns the view to keep of a run that is about to end.
pub(crate) fn keep(service: &TransferService, transfer: &Transfer) -> Kept {
    let TransferView {
        mut sources,
        mut map,
        ..
    } = view(service, transfer, KEPT_CELLS);
    for source in &mut sources {
        (source.open, source.rate, source.in_flight) = (false, 0, 0);
    }
    for run in map
        .iter_mut()
        .flat_map(|map| &mut map.runs)
        .filter(|run| run.state == MapState::InFlight)
    {
        (run.state, run.source) = (MapState::Missing, None);
    }
    Kept { sources, map }
}

impl Kept {
    /// Adds what was known of sources to what they gave; the map then speaks of those.
    fn beside(mut self, sources: &mut Vec<ViewSource>) -> Option<SpanMap> {
        let mut places = Vec::new();
        for kept in self.sources {
            let same = |s: &ViewSource| s.device == kept.device && s.kind == kept.kind;
            let place = sources.iter().position(same).unwrap_or_else(|| {
                sources.push(ViewSource {
                    bytes: 0,
                    cost: 0.0,
                    ..kept.clone()
                });
                sources.len() - 1
            });
            sources[place] = ViewSource {
                bytes: sources[place].bytes,
                cost: sources[place].cost,
                ..kept
            };
            places.push(place as u32);
        }
        for run in self.map.iter_mut().flat_map(|map| &mut map.runs) {
            run.source = run
                .source
                .and_then(|source| places.get(source as usize).copied());
        }
        self.map
    }
}

const fn unknown() -> ViewSource {
    ViewSource {
        device: String::new(),
        name: String::new(),
        kind: SourceKind::Lan,
        open: false,
        bytes: 0,
        rate: 0,
        in_flight: 0,
        rtt_ms: None,
        price: 0.0,
        cost: 0.0,
        faults: 0,
    }
}

/// Adds the engine's view of a source. One that was not reached and gave nothing is left out.
fn add(
    service: &TransferService,
    sources: &mut Vec<ViewSource>,
    now: &SourceNow,
    summaries: &BTreeMap<DeviceId, SourceSummary>,
) {
    let faults = summaries
        .get(&now.device)
        .map_or(0, |summary| summary.faults);
    let id = now.device.to_string();
    let kind = match now.kind {
        HolderKind::Store => SourceKind::Store,
        HolderKind::Device => service.swarm.links().way(now.device),
    };
    let place = match sources
        .iter()
        .position(|s| s.device == id && s.kind == kind)
    {
        Some(place) => place,
        None if now.open || faults > 0 => {
            let name = service
                .swarm
                .links()
                .name(now.device)
                .map(|name| name.to_string())
                .unwrap_or_default();
            sources.push(ViewSource {
                device: id,
                name,
                kind,
                ..unknown()
            });
            sources.len() - 1
        }
        None => return,
    };
    let source = &mut sources[place];
    source.open = now.open;
    source.rate = now.rate as u64;
    source.in_flight = now.in_flight;
    source.rtt_ms = now.open.then(|| {
        service
            .swarm
            .links()
            .rtt(now.device)
            .unwrap_or(now.rtt)
            .as_secs_f64()
            * 1000.0
    });
    source.price = costs::units(now.price.nanos_per_gib());
    source.faults = faults;
}

fn map(runs: &[CellRun], sources: &[ViewSource]) -> Option<SpanMap> {
    // The last of a device's places is the present way to it.
    let places: BTreeMap<&str, u32> = (0u32..)
        .zip(sources)
        .map(|(place, source)| (source.device.as_str(), place))
        .collect();
    let place = |device: DeviceId| places.get(device.to_string().as_str()).copied();
    let told = |run: &CellRun| {
        let (state, source) = match run.shows {
            Cell::Missing => (MapState::Missing, None),
            Cell::InFlight(device) => (MapState::InFlight, place(device)),
            Cell::Earlier => (MapState::Earlier, None),
            Cell::Copied => (MapState::Local, None),
            Cell::From(device) => (MapState::Source, place(device)),
        };
        MapRun {
            cells: run.cells,
            state,
            source,
        }
    };
    let cells = runs.iter().map(|run| run.cells).sum();
    (cells > 0).then(|| SpanMap {
        cells,
        runs: runs.iter().map(told).collect(),
    })
}

/// The views of a transfer from now on, each time something changed, until it is forgotten.
pub(crate) fn watch(
    service: Arc<TransferService>,
    transfer: Arc<Transfer>,
    cells: u32,
) -> impl Stream<Item = TransferView> {
    let cells = cells.clamp(1, MAX_CELLS);
    stream::unfold(
        (service, transfer, None),
        move |(service, transfer, mut last)| async move {
            loop {
                // Rates change with every look: the first one alone is at once.
                if last.is_some() {
                    tokio::time::sleep(LOOK).await;
                }
                let now = service
                    .transfers
                    .get(&transfer.id)
                    .map(|_| view(&service, &transfer, cells))?;
                if last.as_ref() != Some(&now) {
                    return Some((now.clone(), (service, transfer, Some(now))));
                }
                last = Some(now);
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(n: usize) -> DeviceId {
        // Not every 32 bytes are a key.
        (0u8..=255)
            .filter_map(|b| DeviceId::from_slice(&[b; 32]).ok())
            .nth(n)
            .unwrap()
    }

    fn source(device: &str, kind: SourceKind, bytes: u64) -> ViewSource {
        ViewSource {
            device: device.into(),
            kind,
            bytes,
            ..unknown()
        }
    }

    fn run(cells: u32, state: MapState, source: Option<u32>) -> MapRun {
        MapRun {
            cells,
            state,
            source,
        }
    }

    #[test]
    fn cells_name_their_source_by_its_place() {
        let (a, b) = (device(0), device(1));
        // The same device by two ways: it gives by the later one now.
        let sources = [
            source(&a.to_string(), SourceKind::Relayed, 5),
            source(&b.to_string(), SourceKind::Lan, 3),
            source(&a.to_string(), SourceKind::Lan, 1),
        ];
        let shows = [
            Cell::Earlier,
            Cell::From(b),
            Cell::InFlight(a),
            Cell::Copied,
            Cell::Missing,
        ];
        let runs: Vec<CellRun> = shows
            .into_iter()
            .map(|shows| CellRun { cells: 2, shows })
            .collect();
        let told = map(&runs, &sources).unwrap();
        assert_eq!(told.cells, 10);
        assert_eq!(
            told.runs,
            [
                run(2, MapState::Earlier, None),
                run(2, MapState::Source, Some(1)),
                run(2, MapState::InFlight, Some(2)),
                run(2, MapState::Local, None),
                run(2, MapState::Missing, None),
            ]
        );
        assert_eq!(
            map(&[], &sources),
            None,
            "what there is to get is not known"
        );
    }

    #[test]
    fn what_is_kept_speaks_of_the_sources_that_are_told_afterwards() {
        let kept = Kept {
            sources: vec![
                ViewSource {
                    faults: 3,
                    ..source("a", SourceKind::Lan, 1)
                },
                source("idle", SourceKind::Direct, 0),
            ],
            map: Some(SpanMap {
                cells: 1,
                runs: vec![run(1, MapState::Source, Some(0))],
            }),
        };
        let mut sources = vec![
            source("b", SourceKind::Lan, 9),
            source("a", SourceKind::Lan, 7),
        ];
        let map = kept.beside(&mut sources).unwrap();
        assert_eq!(map.runs, [run(1, MapState::Source, Some(1))]);
        let told: Vec<_> = sources
            .iter()
            .map(|s| (s.device.as_str(), s.bytes, s.faults))
            .collect();
        assert_eq!(told, [("b", 9, 0), ("a", 7, 3), ("idle", 0, 0)]);
    }
}
