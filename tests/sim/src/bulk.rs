//! Bulk streams: lanes on the asking side, uploads on the giving side, messages in order on each.

use super::device::{Lane, Nature};
use super::event::{Answered, Asked, At, End, Event, Local, MS, Received, SECOND};
use super::world::World;
use hither_engine::{Arrival, Carrier, RequestId, StreamId};
use hither_proto::{Ranges, Space};
use std::collections::VecDeque;
use std::time::Duration;

/// Streams of a TCP lane.
const TCP_STREAMS: usize = 2;

/// A request that is being sent.
#[derive(Debug)]
pub(crate) struct Job {
    pub request: u64,
    pub space: Space,
    pub version: u64,
    pub left: VecDeque<u32>,
    pub aborted: bool,
}

/// One bulk stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub opener: usize,
    pub acceptor: usize,
    pub carrier: Carrier,
    pub opener_open: bool,
    pub acceptor_open: bool,
    pub cut: bool,
    pub last_ask: At,
    pub last_answer: At,
    pub jobs: VecDeque<Job>,
    /// Payload bytes sent and not yet arrived.
    pub in_transit: u64,
}

impl World {
    // --- asking ---

    /// Sends a want or cancel over a lane, opening the lane when it is first used.
    pub fn ask(&mut self, from: usize, to: usize, carrier: Carrier, message: Asked) {
        self.open_lane(from, to, carrier);
        let Some(lane) = self.devices[from].lanes.get_mut(&(to, carrier)) else {
            return;
        };
        let streams: Vec<u64> = match message {
            Asked::Want(_) => {
                lane.turn = (lane.turn + 1) % lane.streams.len();
                vec![lane.streams[lane.turn]]
            }
            Asked::Cancel(_) => lane.streams.clone(),
        };
        for stream in streams {
            let latency = self.latency(from, to);
            let Some(pipe) = self.streams.get_mut(&stream) else {
                continue;
            };
            let at = (self.now + latency).max(pipe.last_ask);
            pipe.last_ask = at;
            self.at(
                at,
                Event::Ask {
                    stream,
                    message: message.clone(),
                },
            );
        }
    }

    fn open_lane(&mut self, from: usize, to: usize, carrier: Carrier) {
        if self.devices[from].lanes.contains_key(&(to, carrier)) {
            return;
        }
        let mut lane = Lane::default();
        for _ in 0..if carrier == Carrier::Tcp {
            TCP_STREAMS
        } else {
            1
        } {
            let stream = self.fresh();
            let opens = self.now + 3 * self.latency(from, to);
            let pipe = Stream {
                opener: from,
                acceptor: to,
                carrier,
                opener_open: true,
                acceptor_open: false,
                cut: false,
                last_ask: opens,
                last_answer: 0,
                jobs: VecDeque::new(),
                in_transit: 0,
            };
            self.streams.insert(stream, pipe);
            self.at(opens, Event::StreamOpens { stream });
            lane.streams.push(stream);
        }
        self.devices[from].lanes.insert((to, carrier), lane);
    }

    /// A new bulk stream reaches the giving side.
    pub fn stream_opens(&mut self, stream: u64) {
        let Some(pipe) = self.streams.get_mut(&stream) else {
            return;
        };
        let (from, to) = (pipe.opener, pipe.acceptor);
        if !pipe.opener_open {
            return drop(self.streams.remove(&stream));
        }
        if pipe.cut || self.devices[to].engine.is_none() {
            let at = self.now + self.rng.between(MS, 5 * SECOND);
            return self.at(
                at,
                Event::StreamEnds {
                    stream,
                    end: End::Opener,
                },
            );
        }
        pipe.acceptor_open = true;
        self.devices[to].uploads.insert(stream);
        let device = self.devices[from].id;
        self.with(to, |engine, _| {
            engine.handle_stream_opened(StreamId(stream), device)
        });
    }

    pub fn ask_arrives(&mut self, stream: u64, message: Asked) {
        let Some(pipe) = self
            .streams
            .get(&stream)
            .filter(|p| p.acceptor_open && !p.cut)
        else {
            return;
        };
        let (to, share) = (pipe.acceptor, self.share);
        match message {
            Asked::Want(want) => {
                if matches!(self.devices[to].nature, Nature::Busy { part } if self.rng.chance(part))
                {
                    let pause = self.rng.between(20, 1500) as u32;
                    return self.answer_busy(stream, RequestId(want.request), pause);
                }
                self.with(to, |engine, _| {
                    engine.handle_want(StreamId(stream), share, want)
                });
            }
            Asked::Cancel(request) => self.with(to, |engine, _| {
                engine.handle_cancel(StreamId(stream), request.0)
            }),
        }
    }

    // --- answering ---

    /// Sends a small answer behind what was sent before.
    pub fn answer(&mut self, stream: u64, message: Answered) {
        let Some(pipe) = self.streams.get(&stream).filter(|p| !p.cut) else {
            return;
        };
        let (from, to) = (pipe.acceptor, pipe.opener);
        if self.devices[from].site != self.devices[to].site {
            return self.send(stream, message, 0);
        }
        let latency = self.latency(from, to);
        let now = self.now;
        let Some(pipe) = self.streams.get_mut(&stream) else {
            return;
        };
        pipe.last_answer = pipe.last_answer.max(now + latency);
        let at = pipe.last_answer;
        self.at(at, Event::Answer { stream, message });
    }

    pub fn answer_busy(&mut self, stream: u64, request: RequestId, pause: u32) {
        self.answer(stream, Answered::Busy(request, pause));
    }

    pub fn answer_not_held(&mut self, stream: u64, request: RequestId, ranges: Ranges) {
        self.answer(stream, Answered::NotHeld(request, ranges));
    }

    pub fn answer_arrives(&mut self, stream: u64, message: Answered) {
        let Some(pipe) = self.streams.get_mut(&stream) else {
            return;
        };
        let (from, to, carrier) = (pipe.opener, pipe.acceptor, pipe.carrier);
        if let Answered::Chunk { length, .. } = message {
            pipe.in_transit -= u64::from(length);
        }
        if pipe.cut || !pipe.opener_open {
            return;
        }
        if let Answered::Chunk { .. } = message {
            self.chunk_arrives(stream, from, to, carrier, message);
            return self.pump(to);
        }
        let (share, device) = (self.share, self.devices[to].id);
        let book = &mut self.devices[from].book;
        match message {
            Answered::Chunk { .. } => {}
            Answered::Served(request) => {
                book.ended(request);
                self.with(from, |engine, now| {
                    engine.handle_served(share, device, request, now)
                });
            }
            Answered::NotHeld(request, ranges) => {
                // All versions have the same lengths here.
                book.not_held(request, &ranges.to_bitmap(), &self.contents[&1]);
                self.with(from, |engine, now| {
                    engine.handle_not_held(share, device, request, &ranges, now)
                });
            }
            Answered::Busy(request, pause) => {
                book.ended(request);
                let pause = Duration::from_millis(pause.into());
                self.with(from, |engine, now| {
                    engine.handle_busy(share, device, request, pause, now)
                });
            }
        }
    }

    fn chunk_arrives(
        &mut self,
        stream: u64,
        from: usize,
        to: usize,
        carrier: Carrier,
        message: Answered,
    ) {
        let Answered::Chunk {
            request,
            space,
            version,
            position,
            length,
            good,
        } = message
        else {
            return;
        };
        let of = &mut self.devices[from];
        of.counters.received += u64::from(length);
        *of.counters.received_from.entry(to).or_default() += u64::from(length);
        of.book.arrived(request, position, length);
        let (share, device) = (self.share, self.devices[to].id);
        let arrival = self.with(from, |engine, now| {
            engine.handle_arrival(share, device, request, position, now)
        });
        self.note(from, "chunk", [stream, u64::from(position), arrival as u64]);
        match arrival {
            Arrival::Wanted => {
                let at = self.now + self.rng.between(MS / 5, self.net.disk);
                let liar = (!good).then_some(to);
                self.local(
                    at,
                    from,
                    Local::Arrived(Received {
                        version,
                        space,
                        request,
                        position,
                        liar,
                    }),
                );
            }
            Arrival::Unneeded => {}
            Arrival::Unsolicited => {
                self.fail(
                    from,
                    format!("takes position {position} of d{to} over {carrier:?} for a breach of protocol"),
                );
            }
        }
    }

    // --- ending ---

    /// The lanes to a device are closed because their session ended.
    pub fn close_lanes(&mut self, from: usize, to: usize) {
        for carrier in [Carrier::Quic, Carrier::Tcp] {
            self.close_lane(from, to, carrier);
        }
    }

    fn close_lane(&mut self, from: usize, to: usize, carrier: Carrier) {
        let Some(lane) = self.devices[from].lanes.remove(&(to, carrier)) else {
            return;
        };
        self.devices[from].book.lost(to, Some(carrier));
        for stream in lane.streams {
            let Some(pipe) = self.streams.get_mut(&stream) else {
                continue;
            };
            pipe.opener_open = false;
            let latency = self.latency(from, to);
            self.at(
                self.now + latency,
                Event::StreamEnds {
                    stream,
                    end: End::Acceptor,
                },
            );
        }
    }

    /// One end notices that a bulk stream is over. On the asking side the whole lane starts over.
    pub fn stream_ends(&mut self, stream: u64, end: End) {
        let Some(pipe) = self.streams.get_mut(&stream) else {
            return;
        };
        let (from, to, carrier) = (pipe.opener, pipe.acceptor, pipe.carrier);
        if end == End::Acceptor {
            let was = std::mem::replace(&mut pipe.acceptor_open, false);
            pipe.jobs.clear();
            if !pipe.opener_open {
                self.streams.remove(&stream);
            }
            if was && self.up(to) {
                self.devices[to].uploads.remove(&stream);
                self.with(to, |engine, _| {
                    engine.handle_stream_closed(StreamId(stream))
                });
                self.pump(to);
            }
            return;
        }
        if !pipe.opener_open || !self.up(from) {
            return;
        }
        self.note(from, "lane-lost", [to as u64, stream, carrier as u64]);
        self.close_lane(from, to, carrier);
        let (share, device) = (self.share, self.devices[to].id);
        self.with(from, |engine, now| {
            engine.handle_carrier_failed(share, device, carrier, now)
        });
    }

    /// A lane breaks although its session goes on.
    pub fn break_lane(&mut self, from: usize, to: usize, carrier: Carrier) {
        let streams = self.devices[from]
            .lanes
            .get(&(to, carrier))
            .map(|l| l.streams.clone())
            .unwrap_or_default();
        for stream in streams {
            self.cut_stream(stream, 50 * MS);
        }
    }

    fn cut_stream(&mut self, stream: u64, longest: At) {
        if let Some(pipe) = self.streams.get_mut(&stream) {
            pipe.cut = true;
        }
        for end in [End::Opener, End::Acceptor] {
            let at = self.now + self.rng.between(MS, longest);
            self.at(at, Event::StreamEnds { stream, end });
        }
    }

    pub fn break_streams(&mut self, a: usize, b: usize, slow: bool) {
        let between: Vec<u64> = self
            .streams
            .iter()
            .filter(|(_, s)| (s.opener, s.acceptor) == (a, b) || (s.opener, s.acceptor) == (b, a))
            .map(|(id, _)| *id)
            .collect();
        for stream in between {
            self.cut_stream(stream, if slow { 15 * SECOND } else { 50 * MS });
        }
    }

    /// A device is gone: its own ends are forgotten at once.
    pub fn drop_streams_of(&mut self, device: usize) {
        for pipe in self.streams.values_mut() {
            if pipe.opener == device {
                pipe.opener_open = false;
            }
            if pipe.acceptor == device {
                pipe.acceptor_open = false;
                pipe.jobs.clear();
            }
        }
        self.streams.retain(|_, p| p.opener_open || p.acceptor_open);
    }
}
