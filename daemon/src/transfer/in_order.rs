//! Getting a single file in order, for whoever reads it from standard output meanwhile.
//!
//! The file is got window by window: within one, chunks come from all sources in any order. The
//! first is small, so that reading begins at once; later ones hold what comes in some seconds.
//! Nothing of it is kept or given to others.

use super::outlet::{Flow, Slot, WAITING, Window};
use super::run::{End, Run, Wake, blocking};
use super::stage::Stage;
use crate::failure;
use hither_api::{ApiError, ErrorCode, Phase};
use hither_content::{Extent, Layout};
use hither_proto::{ChunkId, Manifest, Progress, SignedHead, Space};
use hither_swarm::TransferInput;
use roaring::RoaringBitmap;
use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Bytes of the first window and of the largest.
const WINDOW: (u64, u64) = (1 << 20, 64 << 20);
/// A window holds what comes in so many seconds.
const SECONDS: u64 = 2;
/// How long nobody may come to read what is here.
const UNREAD: Duration = Duration::from_secs(60);

/// The chunks of a window that is being filled.
#[derive(Debug)]
pub(crate) struct WindowChunks {
    slot: Arc<Slot>,
    /// The offset in the slot of every position of an id, by its first position.
    places: HashMap<u32, Vec<(u32, u64)>>,
}

impl WindowChunks {
    fn new(layout: &Layout, positions: &Range<u32>, slot: Arc<Slot>) -> Self {
        let mut firsts: HashMap<ChunkId, u32> = HashMap::new();
        let mut places: HashMap<u32, Vec<(u32, u64)>> = HashMap::new();
        let mut offset = 0;
        for position in positions.clone() {
            let chunk = &layout.manifest().chunks()[position as usize];
            let first = *firsts.entry(chunk.id).or_insert(position);
            places.entry(first).or_default().push((position, offset));
            offset += u64::from(chunk.length);
        }
        Self { slot, places }
    }

    /// Writes a verified chunk wherever it belongs; returns its positions. Blocks.
    pub(super) fn put(&self, first: u32, plaintext: &[u8]) -> std::io::Result<Vec<u32>> {
        let Some(places) = self.places.get(&first) else {
            return Ok(Vec::new());
        };
        for (_, offset) in places {
            self.slot.write(*offset, plaintext)?;
        }
        Ok(places.iter().map(|(position, _)| *position).collect())
    }

    fn firsts(&self) -> impl Iterator<Item = u32> + '_ {
        self.places.keys().copied()
    }
}

/// The file that is wanted: the only one, or the only one of the part that is.
pub(super) fn only_file(run: &Run, manifest: &Arc<Manifest>) -> Result<u32, ApiError> {
    let layout = Layout::new(Arc::clone(manifest));
    let wanted = |file: &u32| {
        let entry = layout.entry_of(*file);
        run.only.as_ref().is_none_or(|only| only.has(entry))
    };
    let chosen = manifest.is_single_file() || run.only.is_some();
    let mut files = (0..layout.files()).filter(wanted);
    match (files.next(), files.next()) {
        (Some(file), None) if chosen => Ok(file),
        _ => Err(ApiError::new(
            ErrorCode::NotASingleFile,
            "Only a single file can go to standard output; this is a folder.",
        )
        .with_hint(
            "Name one file in it (see: hither fetch … --list), or give a folder to write into with -o.",
        )),
    }
}

/// Gets the file of the version and hands it out in order; returns its length, bytes.
pub(super) async fn get(
    run: &mut Run,
    head: &SignedHead,
    manifest: &Arc<Manifest>,
) -> Result<u64, End> {
    let file = only_file(run, manifest)?;
    let layout = Layout::new(Arc::clone(manifest));
    let bytes = layout.size_of(file);
    let from = run.transfer.record().from.min(bytes);
    let (sender, windows) = mpsc::channel(WAITING);
    run.transfer.outlet.open(Flow {
        windows,
        bytes: bytes - from,
    });
    run.transfer.update(&run.service, |record| {
        record.path = "-".into();
        record.total = bytes;
    })?;
    {
        let mut meter = run.transfer.meter();
        (meter.bytes, meter.total, meter.files) = (from, bytes, 1);
        meter.restart_rate();
    }
    let mut pouring = Pouring {
        lengths: manifest.chunks().iter().map(|c| c.length).collect(),
        version: head.head().version,
        wanted: from..bytes,
        size: WINDOW.0,
        file,
        folder: run.transfer.record().folder,
        layout,
        sender,
        run,
    };
    pouring.pour().await?;
    pouring.read().await?;
    let complete = pouring.run.only.is_none();
    pouring.tell_progress(complete);
    Ok(bytes)
}

struct Pouring<'a> {
    run: &'a mut Run,
    layout: Arc<Layout>,
    lengths: Vec<u32>,
    version: u64,
    file: u32,
    /// Bytes of the file that are still to be handed out.
    wanted: Range<u64>,
    /// Bytes of the next window.
    size: u64,
    folder: PathBuf,
    sender: mpsc::Sender<Window>,
}

impl Pouring<'_> {
    async fn pour(&mut self) -> Result<(), End> {
        let positions = self.layout.positions_of(self.file);
        let before = |position: &u32| {
            self.end_in_file(*position) <= self.wanted.start && self.wanted.start > 0
        };
        let mut at = positions
            .clone()
            .take_while(before)
            .last()
            .map_or(positions.start, |p| p + 1);
        while at < positions.end {
            let to = self.window_end(at, positions.end);
            let window = self.window(at..to).await?;
            self.hand_out(window).await?;
            self.tell_progress(false);
            at = to;
        }
        Ok(())
    }

    /// Tells those who give how much of the version is here.
    fn tell_progress(&self, complete: bool) {
        let bytes = self.run.transfer.meter().bytes;
        self.run.transfer.share.has(Progress {
            version: self.version,
            bytes,
            complete,
        });
    }

    /// Waits until somebody has come for what was handed out.
    async fn read(&mut self) -> Result<(), End> {
        let waited = Instant::now();
        while self.run.transfer.outlet.is_unread() {
            self.run.wake().await?;
            if waited.elapsed() > UNREAD {
                return Err(End::Cancelled);
            }
        }
        Ok(())
    }

    /// The offset in the file behind the last byte that a chunk has of it.
    fn end_in_file(&self, position: u32) -> u64 {
        let ours = |extent: &Extent| extent.file == self.file;
        let extents = self.layout.extents(position).into_iter().flatten();
        let ends = extents.filter(ours).map(|e| e.offset + u64::from(e.length));
        ends.max().unwrap_or(0)
    }

    /// The position behind the last one of a window that begins at `at`.
    fn window_end(&self, at: u32, end: u32) -> u32 {
        let mut bytes = 0;
        let fits = |position: &u32| {
            bytes += u64::from(self.lengths[*position as usize]);
            bytes <= self.size || *position == at
        };
        (at..end)
            .take_while(fits)
            .last()
            .map_or(end, |last| last + 1)
    }

    /// Gets all chunks of a window.
    async fn window(&mut self, positions: Range<u32>) -> Result<Window, End> {
        let folder = self.folder.clone();
        let slot = blocking(move || Slot::create(&folder)).await?;
        let slot = Arc::new(slot.map_err(|error| failure::own_files(&error))?);
        let chunks = Arc::new(WindowChunks::new(
            &self.layout,
            &positions,
            Arc::clone(&slot),
        ));
        let mut missing: RoaringBitmap = chunks.firsts().collect();
        missing -= self.copy_what_is_here(&chunks).await?;
        let began = Instant::now();
        self.run.set_phase(Phase::Fetching);
        let manifest = Arc::clone(self.layout.manifest());
        self.run
            .transfer
            .stages
            .set(Stage::Window { manifest, chunks })
            .await;
        let lengths = self.lengths.clone();
        self.run.plan(self.version, Space::Data, lengths, missing);
        self.complete().await?;
        self.run.transfer.stages.set(Stage::Idle).await;
        let bytes = self.bytes_of(&positions);
        let pace = bytes * SECONDS * 1000
            / u64::try_from(began.elapsed().as_millis())
                .unwrap_or(1)
                .max(1);
        self.size = pace.clamp(WINDOW.0, (self.size * 2).min(WINDOW.1));
        Ok(Window {
            range: self.part_of(&positions),
            slot,
        })
    }

    fn bytes_of(&self, positions: &Range<u32>) -> u64 {
        let lengths = &self.lengths[positions.start as usize..positions.end as usize];
        lengths.iter().map(|length| u64::from(*length)).sum()
    }

    /// The part of a window that belongs to the file and is still to be handed out.
    fn part_of(&self, positions: &Range<u32>) -> Range<u64> {
        let mut part: Option<Range<u64>> = None;
        let mut offset = 0;
        for position in positions.clone() {
            for extent in self.layout.extents(position).into_iter().flatten() {
                let length = u64::from(extent.length);
                if extent.file == self.file {
                    let skip = self.wanted.start.saturating_sub(extent.offset).min(length);
                    let (start, end) = (offset + skip, offset + length);
                    part = Some(part.map_or(start, |part| part.start.min(start))..end);
                }
                offset += length;
            }
        }
        part.unwrap_or(0..0)
    }

    /// Copies chunks that other shares have on this device; returns which.
    async fn copy_what_is_here(&self, chunks: &Arc<WindowChunks>) -> Result<RoaringBitmap, End> {
        let (service, chunks) = (Arc::clone(&self.run.service), Arc::clone(chunks));
        let manifest = Arc::clone(self.layout.manifest());
        let copied = blocking(move || {
            let (mut copied, mut plaintext) = (RoaringBitmap::new(), Vec::new());
            if service.library.chunk_map.holdings().is_empty() {
                return Ok(copied);
            }
            for first in chunks.firsts() {
                let id = &manifest.chunks()[first as usize].id;
                let places = super::data::places(&service, id);
                let read = places.iter().any(|place| {
                    let share = service.swarm.shares().get(place.share);
                    let version = share.and_then(|share| share.version(place.version));
                    version.is_some_and(|version| {
                        version
                            .holding()
                            .read_chunk(place.position, &mut plaintext)
                            .is_ok()
                    })
                });
                if read {
                    chunks.put(first, &plaintext)?;
                    copied.insert(first);
                }
            }
            Ok(copied)
        })
        .await?
        .map_err(|error: std::io::Error| failure::own_files(&error))?;
        let bytes = copied
            .iter()
            .map(|p| u64::from(self.lengths[p as usize]))
            .sum();
        super::data::credit_local(self.run, bytes);
        self.count(bytes);
        Ok(copied)
    }

    fn count(&self, bytes: u64) {
        let mut meter = self.run.transfer.meter();
        // A chunk may have more than this file in it.
        meter.bytes = (meter.bytes + bytes).min(meter.total);
    }

    /// Waits until the window is complete.
    async fn complete(&mut self) -> Result<(), End> {
        loop {
            match self.run.wake().await? {
                Wake::Input(TransferInput::Written(positions)) => {
                    let lengths = positions
                        .iter()
                        .map(|p| u64::from(self.lengths[*p as usize]));
                    self.count(lengths.sum());
                }
                Wake::Input(TransferInput::SpaceComplete(Space::Data)) => return Ok(()),
                Wake::Input(TransferInput::WriteFailed(error)) => {
                    return Err(failure::put(&error).into());
                }
                Wake::Input(TransferInput::VersionChosen(version)) => {
                    if self.run.moved_over(self.version, version).is_some() {
                        return Err(ApiError::new(
                            ErrorCode::NoHolder,
                            "The share changed while it was read, and nobody has the version that was begun any more.",
                        )
                        .with_hint("Run the same command again: it begins with the new version.")
                        .into());
                    }
                }
                Wake::Input(_) => {}
                Wake::Tick => self.run.give_up_if_alone()?,
            }
            if self.sender.is_closed() {
                return Err(End::Cancelled);
            }
        }
    }

    /// Waits until there is room for one more window.
    async fn hand_out(&mut self, window: Window) -> Result<(), End> {
        let waited = Instant::now();
        let mut window = Some(window);
        loop {
            tokio::select! {
                room = self.sender.reserve() => {
                    // Nobody reads any more.
                    let room = room.map_err(|_| End::Cancelled)?;
                    if let Some(window) = window.take() {
                        self.wanted.start = self.wanted.start.saturating_add(window.range.end - window.range.start);
                        room.send(window);
                    }
                    return Ok(());
                }
                wake = self.run.wake() => {
                    wake?;
                }
            }
            if self.run.transfer.outlet.is_unread() && waited.elapsed() > UNREAD {
                return Err(End::Cancelled);
            }
        }
    }
}
