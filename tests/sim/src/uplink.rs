//! The bytes: one chunk at a time through the sender's uplink, in turn over its streams, then
//! through the receiver's downlink.
//!
//! Taking turns chunk by chunk shares an uplink fairly among the streams that have something to
//! send; a stream whose receiver is slow holds at most [`CREDIT`] back and then waits, as flow
//! control would make it.

use super::bulk::Job;
use super::device::{Nature, Sending};
use super::event::{Answered, At, Event, Local, MS, SECOND};
use super::world::World;
use hither_engine::{RequestId, StreamId};
use hither_proto::{PositionRange, Ranges, Space};

/// Bytes of one stream that may be sent and not received, on a LAN.
pub(crate) const CREDIT: u64 = 1 << 20;

/// What the next turn of a stream is.
enum Turn {
    Send(Sending),
    /// This position is not there after all.
    Lacks(u64, u32),
    /// Everything of a request is through.
    End(u64),
}

/// Chunks that a device is to send.
#[derive(Debug)]
pub(crate) struct Served {
    pub request: u64,
    pub space: Space,
    pub version: u64,
    pub ranges: Ranges,
}

impl World {
    pub fn start_job(
        &mut self,
        from: usize,
        stream: u64,
        Served {
            request,
            space,
            version,
            ranges,
        }: Served,
    ) {
        if let Some(pipe) = self.streams.get_mut(&stream).filter(|p| p.acceptor_open) {
            pipe.jobs.push_back(Job {
                request,
                space,
                version,
                left: ranges.positions().collect(),
                aborted: false,
            });
            self.pump(from);
        }
    }

    pub fn abort(&mut self, from: usize, stream: u64, request: u64) {
        self.note(from, "abort", [stream, request, 0]);
        let jobs = self.streams.get_mut(&stream).map(|p| p.jobs.iter_mut());
        for job in jobs.into_iter().flatten().filter(|j| j.request == request) {
            job.aborted = true;
        }
        self.pump(from);
    }

    /// Sends the next chunk if the uplink is free.
    pub fn pump(&mut self, from: usize) {
        while self.up(from)
            && self.devices[from].frozen_until <= self.now
            && self.devices[from].sending.is_none()
        {
            let Some(stream) = self.next_stream(from) else {
                return;
            };
            self.devices[from].last_upload = stream;
            match self.turn(from, stream) {
                Turn::Send(sending) => {
                    let of = &mut self.devices[from];
                    of.sending = Some(sending);
                    of.counters.chunks_sent += 1;
                    let takes = u64::from(sending.length).saturating_mul(SECOND) / of.link.up;
                    self.local(self.now + takes, from, Local::UplinkFree);
                }
                Turn::Lacks(request, position) => self.lacks(from, stream, request, position),
                Turn::End(request) => {
                    self.answer(stream, Answered::Served(RequestId(request)));
                    self.local(self.now, from, Local::Sent { stream, request });
                }
            }
        }
    }

    /// The next stream, in turn, that has something to send and room to send it.
    fn next_stream(&self, from: usize) -> Option<u64> {
        let of = &self.devices[from];
        let stalled =
            matches!(of.nature, Nature::Stalls { after } if of.counters.chunks_sent >= after);
        let ready = |stream: &&u64| {
            self.streams.get(*stream).is_some_and(|p| {
                !p.cut
                    && p.jobs.front().is_some_and(|job| job.aborted || !stalled)
                    && p.in_transit < self.credit(from, p.opener)
            })
        };
        let after = of.uploads.range(of.last_upload + 1..);
        after
            .chain(of.uploads.range(..=of.last_upload))
            .find(ready)
            .copied()
    }

    fn turn(&mut self, from: usize, stream: u64) -> Turn {
        let pipe = self
            .streams
            .get_mut(&stream)
            .expect("chosen because it is there");
        let mut job = pipe.jobs.pop_front().expect("chosen because it has a job");
        let (request, space, version) = (job.request, job.space, job.version);
        let Some(position) = job.left.pop_front().filter(|_| !job.aborted) else {
            return Turn::End(request);
        };
        pipe.jobs.push_back(job);
        let of = &self.devices[from];
        if space == Space::Data
            && matches!(of.nature, Nature::Boasts { .. })
            && !of.actual.contains(position)
        {
            return Turn::Lacks(request, position);
        }
        let good = !matches!(of.nature, Nature::Lies { part } if self.rng.chance(part));
        let length = self.contents[&version].lengths(space)[position as usize];
        Turn::Send(Sending {
            stream,
            request,
            version,
            space,
            position,
            length,
            good,
        })
    }

    /// A chunk that was announced is not there; who is honest about that withdraws it.
    fn lacks(&mut self, from: usize, stream: u64, request: u64, position: u32) {
        let ranges = PositionRange::new(position, 1).into_iter().collect();
        self.answer_not_held(stream, RequestId(request), ranges);
        if self.devices[from].nature == (Nature::Boasts { withdraws: true }) {
            self.local(self.now, from, Local::Withdraw(position));
        }
    }

    /// The uplink has sent a chunk: on to the receiver.
    pub fn uplink_free(&mut self, from: usize) {
        let Some(sending) = self.devices[from].sending.take() else {
            return;
        };
        let Sending {
            stream,
            request,
            version,
            space,
            position,
            length,
            good,
        } = sending;
        self.devices[from].counters.sent += u64::from(length);
        if self
            .streams
            .get(&stream)
            .is_some_and(|p| p.acceptor_open && !p.cut)
        {
            let request = RequestId(request);
            let message = Answered::Chunk {
                request,
                space,
                version,
                position,
                length,
                good,
            };
            if let Some(pipe) = self.streams.get_mut(&stream) {
                pipe.in_transit += u64::from(length);
            }
            self.send(stream, message, u64::from(length));
        }
        self.pump(from);
    }

    /// So many bytes of a stream are at the receiver's door: they wait their turn for its downlink.
    pub fn at_the_door(&mut self, stream: u64, message: Answered, length: u64, at: At) {
        let Some(to) = self
            .streams
            .get(&stream)
            .filter(|pipe| !pipe.cut)
            .map(|pipe| pipe.opener)
        else {
            return;
        };
        let receiver = &mut self.devices[to];
        let takes = length.saturating_mul(SECOND) / receiver.link.down;
        receiver.down_free = at.max(receiver.down_free + takes);
        let mut at = receiver.down_free + self.rng.below(self.net.jitter + 1);
        if self.rng.chance(self.net.loss) {
            at += self.rng.between(20 * MS, 200 * MS);
        }
        if let Some(pipe) = self.streams.get_mut(&stream) {
            pipe.last_answer = pipe.last_answer.max(at);
            let at = pipe.last_answer;
            self.at(at, Event::Answer { stream, message });
        }
    }

    /// Everything of a request was handed to the network.
    pub fn sent(&mut self, from: usize, stream: u64, request: u64) {
        self.with(from, |engine, _| {
            engine.request_sent(StreamId(stream), request)
        });
        self.pump(from);
    }
}
