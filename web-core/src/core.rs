//! All shares of a page, and its device.

use crate::context::{Context, Endpoint, Numbers};
use crate::error::{ErrorCode, ShareError};
use crate::input::Input;
use crate::output::{Outputs, WHOLE_SHARE};
use crate::share::Share;
use crate::tls::Identity;
use hither_engine::Time;
use hither_proto::DeviceId;
use std::collections::BTreeMap;
use std::time::Duration;

/// Shares that may be open at once.
const MAX_SHARES: usize = 16;
/// Relays that the page may have pipes to.
const MAX_ENDPOINTS: usize = 16;

/// The page's side of the protocol. See the crate's description.
#[derive(Debug, Default)]
pub struct Core {
    identity: Option<Identity>,
    open_here: bool,
    endpoints: Vec<Endpoint>,
    shares: BTreeMap<u32, Share>,
    numbers: Numbers,
    out: Outputs,
    now: Time,
    #[cfg(feature = "device")]
    device: crate::device::Device,
}

impl Core {
    /// A core without a device: the page's first message gives it its key.
    pub fn new() -> Self {
        Self::default()
    }

    /// Handles a message of the page at `now_ms` (milliseconds of a clock that does not go back;
    /// what goes back stands still). Returns what is to be done, as [`output`](crate::output) says.
    pub fn handle(&mut self, now_ms: f64, message: &[u8]) -> Vec<u8> {
        // A negative number or none becomes 0, a huge one the largest.
        let now = Time::from_start(Duration::from_micros((now_ms * 1000.0) as u64));
        self.now = self.now.max(now);
        match Input::parse(message) {
            Some(input) => self.react(input),
            None => self.out.malformed(),
        }
        self.end_failed();
        let due = self.shares.values().filter_map(|s| s.due(self.now)).min();
        #[cfg(feature = "device")]
        let due = due.into_iter().chain(self.device.due()).min();
        let after = due.map_or(u32::MAX, |due| {
            let after = due.since(self.now).as_micros().div_ceil(1000);
            u32::try_from(after).unwrap_or(u32::MAX - 1)
        });
        self.out.wake(after);
        self.out.take()
    }

    fn react(&mut self, input: Input<'_>) {
        #[cfg(feature = "device")]
        self.device_reacts(&input);
        match input {
            #[cfg(feature = "device")]
            Input::Command { .. } => {}
            Input::Start { seed, open_here } => self.start(&seed, open_here),
            Input::Endpoint { number, relay } => self.add_endpoint(number, relay),
            Input::Open { share, ticket } => self.open(share, ticket),
            Input::PipeOpened { pipe } => {
                self.with_pipe(pipe, |share, context| share.pipe_opened(pipe, context));
            }
            Input::PipeBytes { pipe, bytes } => {
                self.with_pipe(pipe, |share, context| {
                    share.pipe_bytes(pipe, bytes, context)
                });
            }
            Input::PipeClosed { pipe } => {
                self.with_pipe(pipe, |share, context| share.pipe_closed(pipe, context));
            }
            Input::Answer {
                get,
                status,
                retry_after_ms,
            } => self.with_get(get, |share, context| {
                share.answer(get, status, retry_after_ms, context);
            }),
            Input::AnswerBytes { get, bytes } => {
                self.with_get(get, |share, context| {
                    share.answer_bytes(get, bytes, context)
                });
            }
            Input::AnswerEnd { get, complete } => {
                self.with_get(get, |share, context| {
                    share.answer_end(get, complete, context)
                });
            }
            Input::Time => self.with_all(Share::time),
            Input::Read {
                share,
                reading,
                entry,
                offset,
            } => self.with_share(share, |s, context| s.read(reading, entry, offset, context)),
            Input::Taken {
                share,
                reading,
                bytes,
            } => self.with_share(share, |s, context| s.taken(reading, bytes, context)),
            Input::ReadNoMore { share, reading } => {
                self.with_share(share, |s, context| s.read_no_more(reading, context));
            }
            Input::Close { share } => {
                self.with_share(share, Share::close);
                self.shares.remove(&share);
            }
            Input::Back => self.with_all(Share::back),
            Input::DoesNotOpen { share } => {
                self.with_share(share, |s, _| s.does_not_open());
            }
        }
    }

    /// Handles messages about the device: the shares then find nothing of theirs in them.
    #[cfg(feature = "device")]
    fn device_reacts(&mut self, input: &Input<'_>) {
        let Some(identity) = &self.identity else {
            return;
        };
        let mut context = Context {
            identity,
            endpoints: &self.endpoints,
            numbers: &mut self.numbers,
            out: &mut self.out,
            now: self.now,
            open_here: self.open_here,
        };
        let device = &mut self.device;
        match *input {
            Input::Command { json, bytes } => device.command(json, bytes, &mut context),
            Input::PipeOpened { pipe } => device.pipe_opened(pipe, &mut context),
            Input::PipeBytes { pipe, bytes } => device.pipe_bytes(pipe, bytes, &mut context),
            Input::PipeClosed { pipe } => device.pipe_closed(pipe, &mut context),
            Input::Time => device.time(&mut context),
            Input::Back => device.back(&mut context),
            _ => {}
        }
    }

    fn start(&mut self, seed: &[u8; 32], open_here: bool) {
        self.open_here = open_here;
        match Identity::new(seed) {
            Ok(identity) if self.identity.is_none() => {
                self.out.started(&identity.device());
                self.identity = Some(identity);
            }
            Ok(_) | Err(_) => self.out.malformed(),
        }
    }

    fn add_endpoint(&mut self, number: u32, relay: &str) {
        match relay.parse::<DeviceId>() {
            Ok(relay) if self.endpoints.len() < MAX_ENDPOINTS => {
                self.endpoints.retain(|known| known.relay != relay);
                self.endpoints.push(Endpoint { relay, number });
            }
            Ok(_) | Err(_) => self.out.malformed(),
        }
    }

    fn open(&mut self, number: u32, ticket: &str) {
        if self.shares.contains_key(&number) || self.shares.len() >= MAX_SHARES {
            let error = ShareError::new(ErrorCode::Busy, "too many shares are open");
            return self.out.failed(number, WHOLE_SHARE, &error);
        }
        match Share::new(number, ticket) {
            Ok(share) => {
                self.shares.insert(number, share);
                self.with_share(number, Share::begin);
            }
            Err(error) => self.out.failed(number, WHOLE_SHARE, &error),
        }
    }

    /// Tells the page of shares that have ended in trouble, and forgets them.
    fn end_failed(&mut self) {
        let failed = |(number, share): (&u32, &Share)| Some((*number, share.failure()?.clone()));
        let failed: Vec<(u32, ShareError)> = self.shares.iter().filter_map(failed).collect();
        for (number, error) in failed {
            self.with_share(number, Share::close);
            self.shares.remove(&number);
            self.out.failed(number, WHOLE_SHARE, &error);
        }
    }

    fn with_pipe(&mut self, pipe: u32, change: impl FnOnce(&mut Share, &mut Context<'_>)) {
        let mut shares = self.shares.iter();
        if let Some(number) = shares.find(|(_, s)| s.has_pipe(pipe)).map(|(n, _)| *n) {
            self.with_share(number, change);
        }
    }

    fn with_get(&mut self, get: u32, change: impl FnOnce(&mut Share, &mut Context<'_>)) {
        let mut shares = self.shares.iter();
        if let Some(number) = shares.find(|(_, s)| s.has_get(get)).map(|(n, _)| *n) {
            self.with_share(number, change);
        }
    }

    fn with_all(&mut self, change: impl Fn(&mut Share, &mut Context<'_>)) {
        for number in self.shares.keys().copied().collect::<Vec<_>>() {
            self.with_share(number, &change);
        }
    }

    fn with_share(&mut self, number: u32, change: impl FnOnce(&mut Share, &mut Context<'_>)) {
        let Some(identity) = &self.identity else {
            return self.out.malformed();
        };
        let mut context = Context {
            identity,
            endpoints: &self.endpoints,
            numbers: &mut self.numbers,
            out: &mut self.out,
            now: self.now,
            open_here: self.open_here,
        };
        if let Some(share) = self.shares.get_mut(&number) {
            change(share, &mut context);
        }
    }
}
