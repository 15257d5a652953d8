//! The sources of each part of the data, as `hither transfers --watch` draws them.
//!
//! Bounded: 3 bytes a span, and a drawing of at most [`MAX_CELLS`] cells whatever the size of the
//! share. A chunk costs one search for its span. Invariant: the span table alone decides whether a
//! part is here or missing; this only names its source.

use crate::spans::{Span, SpanTable};
use hither_proto::{DeviceId, HolderKind, Price};
use std::collections::BTreeMap;
use std::time::Duration;

/// Most cells of a drawing: more than a large terminal can show.
pub const MAX_CELLS: u32 = 4096;
/// Nobody gave it since the plan was made: it was here before.
const EARLIER: u16 = 0;
/// It was copied on this device.
const COPIED: u16 = 1;
/// The number of the first device.
const DEVICES: u16 = 2;

/// The content of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// Most of it is missing, and nobody is asked for any of it.
    Missing,
    /// Some of it is asked of that device.
    InFlight(DeviceId),
    /// It was here before this run began.
    Earlier,
    /// It was copied from something else on this device.
    Copied,
    /// Most of it came from that device.
    From(DeviceId),
}

/// So many cells in a row that show the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellRun {
    /// Their number, above zero.
    pub cells: u32,
    /// Their content.
    pub shows: Cell,
}

/// One source as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceNow {
    /// The device or store.
    pub device: DeviceId,
    /// Its kind, device or store.
    pub kind: HolderKind,
    /// Its session is open.
    pub open: bool,
    /// Bytes per second of data that came from it lately.
    pub rate: f64,
    /// Round-trip time of its link.
    pub rtt: Duration,
    /// Its price for each GiB.
    pub price: Price,
    /// Bytes asked of it and not yet received.
    pub in_flight: u64,
}

/// A fetch as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct FetchView {
    /// All devices and stores that have the share, or may have it.
    pub sources: Vec<SourceNow>,
    /// The data from its first span to its last, at most [`MAX_CELLS`] cells; empty while it is
    /// not known what there is to get.
    pub map: Vec<CellRun>,
}

/// The source that gave most of every span.
#[derive(Debug, Default)]
pub(crate) struct Providers {
    /// By span: the number of the leading source.
    of: Vec<u16>,
    /// By span: the number of chunks that the leading source is ahead of all others (majority vote
    /// of Boyer and Moore: one candidate and one count find the source that gave more than half).
    ahead: Vec<u8>,
    devices: Vec<DeviceId>,
    numbers: BTreeMap<DeviceId, u16>,
}

impl Providers {
    /// Nobody gave any of so many spans.
    pub fn new(spans: u32) -> Self {
        Self {
            of: vec![EARLIER; spans as usize],
            ahead: vec![0; spans as usize],
            ..Self::default()
        }
    }

    /// Counts a chunk of a span that a device gave.
    pub fn gave(&mut self, span: u32, device: DeviceId) {
        let number = self.number(device);
        self.vote(span, number);
    }

    /// Counts a chunk of a span that was copied on this device.
    pub fn copied(&mut self, span: u32) {
        self.vote(span, COPIED);
    }

    fn vote(&mut self, span: u32, number: u16) {
        let index = span as usize;
        let (Some(of), Some(ahead)) = (self.of.get_mut(index), self.ahead.get_mut(index)) else {
            return;
        };
        match *ahead {
            _ if *of == number => *ahead = ahead.saturating_add(1),
            0 => (*of, *ahead) = (number, 1),
            _ => *ahead -= 1,
        }
    }

    /// The number of a device. Beyond as many as there are numbers a device cannot be told apart
    /// from what was here before.
    fn number(&mut self, device: DeviceId) -> u16 {
        if let Some(number) = self.numbers.get(&device) {
            return *number;
        }
        let Some(number) = u16::try_from(self.devices.len())
            .ok()
            .and_then(|n| n.checked_add(DEVICES))
        else {
            return EARLIER;
        };
        self.devices.push(device);
        self.numbers.insert(device, number);
        number
    }

    fn provider(&self, number: u16) -> Cell {
        match number {
            COPIED => Cell::Copied,
            _ => number
                .checked_sub(DEVICES)
                .and_then(|n| self.devices.get(usize::from(n)))
                .map_or(Cell::Earlier, |device| Cell::From(*device)),
        }
    }

    /// All spans as at most `most` cells of equally many spans each (the last may have fewer).
    pub fn draw(
        &self,
        spans: &SpanTable,
        asked: &BTreeMap<u32, DeviceId>,
        most: u32,
    ) -> Vec<CellRun> {
        let size = spans.len().div_ceil(most.clamp(1, MAX_CELLS)).max(1);
        let mut runs: Vec<CellRun> = Vec::new();
        for start in (0..spans.len()).step_by(size as usize) {
            let shows = self.cell(spans, asked, start..(start + size).min(spans.len()));
            match runs.last_mut().filter(|run| run.shows == shows) {
                Some(run) => run.cells += 1,
                None => runs.push(CellRun { cells: 1, shows }),
            }
        }
        runs
    }

    fn cell(
        &self,
        spans: &SpanTable,
        asked: &BTreeMap<u32, DeviceId>,
        cell: std::ops::Range<u32>,
    ) -> Cell {
        if let Some((_, device)) = asked.range(cell.clone()).next() {
            return Cell::InFlight(*device);
        }
        let (mut leader, mut ahead, mut here) = (EARLIER, 0u32, 0);
        for index in cell
            .clone()
            .filter(|index| spans.span(*index).is_some_and(Span::is_got))
        {
            here += 1;
            let number = self.of.get(index as usize).copied().unwrap_or(EARLIER);
            match ahead {
                _ if leader == number => ahead += 1,
                0 => (leader, ahead) = (number, 1),
                _ => ahead -= 1,
            }
        }
        if here > 0 && here * 2 >= cell.end - cell.start {
            self.provider(leader)
        } else {
            Cell::Missing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::device;
    use crate::{Command, Engine, EngineConfig, Plan, Time};
    use hither_proto::{Announcement, Ranges, ShareId, ShareSecret, Space};
    use roaring::RoaringBitmap;

    const CHUNK: u32 = 1 << 18;

    fn start() -> Time {
        Time::default()
    }

    fn share() -> ShareId {
        ShareSecret::new([1; 16]).share_id()
    }

    fn run(cells: u32, shows: Cell) -> CellRun {
        CellRun { cells, shows }
    }

    /// An engine that fetches so many chunks, four to a span, of which `wanted` are missing, from
    /// two whole holders.
    fn engine(chunks: u32, wanted: impl IntoIterator<Item = u32>) -> Engine {
        let mut engine = Engine::new(EngineConfig::new(device(0)));
        engine.start_fetch(share(), device(1), None, None);
        for holder in [device(1), device(2)] {
            engine.handle_device_seen(share(), holder, start());
            engine.handle_session_opened(share(), holder, 1, Duration::from_millis(1), start());
            let said = Announcement {
                version: 1,
                epoch: 1,
                seq: 1,
                complete: true,
                held: Ranges::default(),
                has_manifest: true,
            };
            engine.handle_announced(share(), holder, said, start());
        }
        let (lengths, wanted) = (vec![CHUNK; chunks as usize], wanted.into_iter().collect());
        engine.plan(
            share(),
            Plan {
                version: 1,
                space: Space::Data,
                lengths,
                wanted,
            },
            start(),
        );
        engine
    }

    /// Everything asked for comes, at a time.
    fn come(engine: &mut Engine, now: Time) -> BTreeMap<DeviceId, RoaringBitmap> {
        let mut came: BTreeMap<DeviceId, RoaringBitmap> = BTreeMap::new();
        while let Some(command) = engine.poll_command() {
            let Command::Want {
                device,
                request,
                ranges,
                ..
            } = command
            else {
                continue;
            };
            for position in ranges.to_bitmap() {
                engine.handle_arrival(share(), device, request, position, now);
                engine.stored(share(), Some(request), &[position], now);
                came.entry(device).or_default().insert(position);
            }
        }
        came
    }

    fn map(engine: &Engine, cells: u32) -> Vec<CellRun> {
        engine.view(share(), cells, start()).unwrap().map
    }

    #[test]
    fn what_is_here_missing_copied_and_on_its_way_is_told_apart() {
        // Spans 0 and 1 are here, of which 1 was copied; the others are asked for as far as the
        // windows go.
        let mut engine = engine(400, 8..400);
        engine.copied(share(), &(4..8).chain(20..24).collect());
        let before = map(&engine, MAX_CELLS);
        assert_eq!(before[..2], [run(1, Cell::Earlier), run(1, Cell::Copied)]);
        let flying = |run: &&CellRun| matches!(run.shows, Cell::InFlight(_));
        assert!(
            before.iter().any(|r| flying(&r)) && before.iter().any(|r| r.shows == Cell::Missing)
        );
        assert_eq!(
            before.iter().map(|r| r.cells).sum::<u32>(),
            100,
            "a cell for each span"
        );

        let came = come(&mut engine, start() + Duration::from_millis(100));
        let after = map(&engine, MAX_CELLS);
        assert_eq!(after[..2], [run(1, Cell::Earlier), run(1, Cell::Copied)]);
        for (holder, positions) in &came {
            let cells: u32 = after
                .iter()
                .filter(|r| r.shows == Cell::From(*holder))
                .map(|r| r.cells)
                .sum();
            assert_eq!(u64::from(cells) * 4, positions.len(), "{holder:?}");
        }
        assert_eq!(
            (
                came.len(),
                came.values().map(RoaringBitmap::len).sum::<u64>()
            ),
            (2, 392)
        );
        assert!(
            after
                .iter()
                .all(|r| !flying(&r) && r.shows != Cell::Missing)
        );
    }

    #[test]
    fn what_was_lost_again_is_missing_whoever_gave_it() {
        let mut engine = engine(8, 0..8);
        come(&mut engine, start() + Duration::from_millis(100));
        assert!(
            map(&engine, 8)
                .iter()
                .all(|r| matches!(r.shows, Cell::From(_)))
        );
        for holder in [device(1), device(2)] {
            engine.handle_session_failed(share(), holder, start());
        }
        engine.lost(share(), &(0..4).collect(), start());
        assert_eq!(map(&engine, 8)[0], run(1, Cell::Missing));
    }

    #[test]
    fn whoever_gave_most_of_a_span_has_it() {
        let mut providers = Providers::new(1);
        for provider in [1, 2, 2, 1, 2] {
            providers.gave(0, device(provider));
        }
        assert_eq!(providers.provider(providers.of[0]), Cell::From(device(2)));
        providers.gave(9, device(1)); // A span that does not exist changes nothing.
        assert_eq!(providers.provider(u16::MAX), Cell::Earlier);
    }

    #[test]
    fn a_large_share_has_a_small_map() {
        const SPANS: u32 = 1_000_000;
        let spans = SpanTable::new(vec![1 << 20; SPANS as usize], (SPANS / 2..SPANS).collect());
        let mut providers = Providers::new(SPANS);
        let (provider, asked) = (device(1), BTreeMap::from([(SPANS - 1, device(2))]));
        (0..SPANS / 4).for_each(|span| providers.gave(span, provider));
        let runs = providers.draw(&spans, &asked, u32::MAX);
        let cells: u32 = runs.iter().map(|r| r.cells).sum();
        assert!((3000..=MAX_CELLS).contains(&cells), "{cells}");
        let shows: Vec<Cell> = runs.iter().map(|r| r.shows).collect();
        assert_eq!(
            shows,
            [
                Cell::From(device(1)),
                Cell::Earlier,
                Cell::Missing,
                Cell::InFlight(device(2))
            ],
            "{runs:?}"
        );
        assert_eq!(
            providers.draw(&spans, &BTreeMap::new(), 1),
            [run(1, Cell::From(device(1)))]
        );
        assert!(
            providers.of.capacity() * 2 + providers.ahead.capacity() <= 3 << 20,
            "a few bytes a span"
        );
    }

    #[test]
    fn root_and_manifest_have_no_map() {
        let mut engine = engine(8, 0..8);
        let plan = Plan {
            version: 1,
            space: Space::Root,
            lengths: vec![300],
            wanted: (0..1).collect(),
        };
        engine.plan(share(), plan, start());
        come(&mut engine, start() + Duration::from_millis(1));
        assert_eq!(map(&engine, 8), []);
        assert_eq!(
            engine.view(ShareSecret::new([2; 16]).share_id(), 8, start()),
            None
        );
    }
}
