//! The order of uploads: slots, fair between devices.
//!
//! Invariants: at most [`PER_STREAM`] requests of one stream are being sent and at most
//! [`PER_DEVICE`] of one device, whatever it opens; at most [`SLOTS`] of all devices, beyond which
//! a device that has none still gets [`ASSURED`], up to [`MOST`]. So a device that reads slowly
//! holds up nobody but itself, and a crowd of them nobody new. At most [`QUEUE_PER_DEVICE`] wait
//! for one device, beyond that the device is asked to come back.
//!
//! Fewer slots for a thin uplink were measured and are not made: four devices that fetch from far
//! over 5 Mbit/s make another packet's round trip 190 ms (median; worst tenth 246 ms) with these
//! slots and 173 ms (228 ms) with a single one, for what fills the line is in the transport's
//! buffers by then; and with one the last of the four waits twice as long for its first chunks. A
//! limit (`limits.upload`) keeps a line usable.

use crate::command::{Command, StreamId};
use hither_proto::{DeviceId, ShareId, Want};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Requests sent at the same time, over all devices.
const SLOTS: usize = 32;
/// Requests of one device sent at the same time: both of QUIC's stream, and of two TCP connections,
/// and two more.
const PER_DEVICE: usize = 8;
/// Requests of one device that are sent at the same time even where all slots are taken.
const ASSURED: usize = 1;
/// Requests sent at the same time with those that are assured. Each holds a few chunks in memory.
const MOST: usize = 96;
/// Requests sent at the same time on one stream: two, so that the second is read while the first is
/// written.
const PER_STREAM: usize = 2;
/// Requests of one device that may wait.
const QUEUE_PER_DEVICE: usize = 128;
/// After how long a device that was answered "busy" may ask again, milliseconds.
const BUSY_MS: u32 = 250;

#[derive(Debug)]
struct Upload {
    stream: StreamId,
    share: ShareId,
    want: Want,
}

/// Queue and slots.
#[derive(Debug, Default)]
pub(crate) struct Serving {
    waiting: BTreeMap<DeviceId, VecDeque<Upload>>,
    active: BTreeSet<(StreamId, u64)>,
    active_of: BTreeMap<DeviceId, usize>,
    streams: BTreeMap<StreamId, DeviceId>,
}

impl Serving {
    /// Adds a stream on which `device` may ask.
    pub fn stream_opened(&mut self, stream: StreamId, device: DeviceId) {
        self.streams.insert(stream, device);
    }

    /// Removes a stream that ended: nothing of it is sent any more.
    pub fn stream_closed(&mut self, stream: StreamId, commands: &mut Vec<Command>) {
        if let Some(device) = self.streams.remove(&stream) {
            if let Some(queue) = self.waiting.get_mut(&device) {
                queue.retain(|upload| upload.stream != stream);
            }
            let ended: Vec<_> = self
                .active
                .iter()
                .filter(|(s, _)| *s == stream)
                .copied()
                .collect();
            ended
                .into_iter()
                .for_each(|(stream, request)| self.free(stream, request, device));
            self.fill(commands);
        }
    }

    /// Queues a request for positions that are all held here.
    pub fn want(
        &mut self,
        stream: StreamId,
        share: ShareId,
        want: Want,
        commands: &mut Vec<Command>,
    ) {
        let Some(device) = self.streams.get(&stream) else {
            return;
        };
        let queue = self.waiting.entry(*device).or_default();
        let request = want.request;
        let known = queue
            .iter()
            .any(|u| u.stream == stream && u.want.request == request);
        if known || self.active.contains(&(stream, request)) {
            return; // A repeated number is the asker's mistake; the first one counts.
        }
        if queue.len() >= QUEUE_PER_DEVICE {
            commands.push(Command::Busy {
                stream,
                request,
                retry_after_ms: BUSY_MS,
            });
            return;
        }
        queue.push_back(Upload {
            stream,
            share,
            want,
        });
        self.fill(commands);
    }

    /// Cancels a request.
    pub fn cancel(&mut self, stream: StreamId, request: u64, commands: &mut Vec<Command>) {
        let Some(device) = self.streams.get(&stream) else {
            return;
        };
        if let Some(queue) = self.waiting.get_mut(device) {
            queue.retain(|u| u.stream != stream || u.want.request != request);
        }
        if self.active.contains(&(stream, request)) {
            commands.push(Command::Abort { stream, request });
        }
    }

    /// Ends a request of which everything was sent, or which was aborted.
    pub fn sent(&mut self, stream: StreamId, request: u64, commands: &mut Vec<Command>) {
        if let Some(device) = self.streams.get(&stream).copied() {
            self.free(stream, request, device);
            self.fill(commands);
        }
    }

    fn free(&mut self, stream: StreamId, request: u64, device: DeviceId) {
        if self.active.remove(&(stream, request))
            && let Some(count) = self.active_of.get_mut(&device)
        {
            *count -= 1;
            if *count == 0 {
                self.active_of.remove(&device);
            }
        }
    }

    /// Gives free slots to the devices that have the fewest.
    fn fill(&mut self, commands: &mut Vec<Command>) {
        while let Some((has, device, index)) = self.next() {
            let most = if has < ASSURED { MOST } else { SLOTS };
            if self.active.len() >= most {
                break;
            }
            let Some(upload) = self
                .waiting
                .get_mut(&device)
                .and_then(|queue| queue.remove(index))
            else {
                break;
            };
            self.active.insert((upload.stream, upload.want.request));
            *self.active_of.entry(device).or_default() += 1;
            commands.push(Command::Serve {
                stream: upload.stream,
                request: upload.want.request,
                share: upload.share,
                space: upload.want.space,
                version: upload.want.version,
                ranges: upload.want.ranges,
            });
        }
        self.waiting.retain(|_, queue| !queue.is_empty());
    }

    /// The device that has the fewest slots of those that may have one more: how many it has, and
    /// which of its requests is next.
    fn next(&self) -> Option<(usize, DeviceId, usize)> {
        self.waiting
            .iter()
            .filter_map(|(device, queue)| {
                let has = self.active_of.get(device).copied().unwrap_or(0);
                let index = queue
                    .iter()
                    .position(|u| self.active_on(u.stream) < PER_STREAM)?;
                (has < PER_DEVICE).then_some((has, *device, index))
            })
            .min()
    }

    fn active_on(&self, stream: StreamId) -> usize {
        self.active.range((stream, 0)..=(stream, u64::MAX)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::device;
    use hither_proto::{ShareSecret, Space};

    fn want(serving: &mut Serving, stream: u64, request: u64) -> Vec<Command> {
        let mut out = Vec::new();
        let want = Want {
            request,
            space: Space::Data,
            version: 1,
            ranges: crate::spans::runs(&[1]),
        };
        serving.want(
            StreamId(stream),
            ShareSecret::new([1; 16]).share_id(),
            want,
            &mut out,
        );
        out
    }

    #[test]
    fn slots_are_bounded_and_shared_fairly() {
        let mut serving = Serving::default();
        for stream in 0..200 {
            serving.stream_opened(StreamId(stream), device((stream / 20) as u8));
        }
        // A device asks for everything it can on all its streams, and gets its part.
        let all = |serving: &mut Serving, device: u64| -> usize {
            let streams = 20 * device..20 * (device + 1);
            streams
                .map(|s| want(serving, s, 0).len() + want(serving, s, 1).len())
                .sum()
        };
        assert_eq!(all(&mut serving, 0), PER_DEVICE);
        let others: usize = (1..4).map(|device| all(&mut serving, device)).sum();
        assert_eq!(PER_DEVICE + others, SLOTS, "four devices fill the slots");
        // A device that comes now and has nothing gets one all the same, and the next free one.
        assert_eq!(all(&mut serving, 4), ASSURED);
        let mut out = Vec::new();
        serving.sent(StreamId(0), 0, &mut out);
        assert!(
            out.is_empty(),
            "more are being sent than there are slots: {out:?}"
        );
        serving.sent(StreamId(0), 1, &mut out);
        assert!(
            matches!(
                &out[..],
                [Command::Serve {
                    stream: StreamId(80..100),
                    ..
                }]
            ),
            "{out:?}"
        );
    }

    #[test]
    fn a_crowd_that_reads_nothing_holds_up_nobody_new() {
        let mut serving = Serving::default();
        let started: usize = (0..MOST as u64 + 20)
            .map(|n| {
                serving.stream_opened(StreamId(n), device(n as u8));
                want(&mut serving, n, 0).len() + want(&mut serving, n, 1).len()
            })
            .sum();
        assert_eq!(started, MOST, "each gets one until there are too many");
    }

    #[test]
    fn one_stream_sends_two_at_a_time_and_a_long_queue_is_refused() {
        let mut serving = Serving::default();
        serving.stream_opened(StreamId(1), device(1));
        let outcomes: Vec<_> = (0..200).map(|r| want(&mut serving, 1, r)).collect();
        assert_eq!(
            outcomes
                .iter()
                .flatten()
                .filter(|c| matches!(c, Command::Serve { .. }))
                .count(),
            PER_STREAM
        );
        assert!(matches!(
            outcomes[199][..],
            [Command::Busy { request: 199, .. }]
        ));
    }

    #[test]
    fn cancelled_and_closed_streams_free_their_slots() {
        let mut serving = Serving::default();
        serving.stream_opened(StreamId(1), device(1));
        (0..3).for_each(|r| drop(want(&mut serving, 1, r)));
        let mut out = Vec::new();
        serving.cancel(StreamId(1), 2, &mut out);
        assert!(out.is_empty());
        serving.cancel(StreamId(1), 0, &mut out);
        assert_eq!(
            out,
            [Command::Abort {
                stream: StreamId(1),
                request: 0
            }]
        );
        serving.stream_closed(StreamId(1), &mut out);
        assert!(
            serving.active.is_empty() && serving.active_of.is_empty() && serving.waiting.is_empty()
        );
    }
}
