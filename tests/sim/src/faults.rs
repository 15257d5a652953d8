//! Crashes, returns and broken connections.

use super::event::{At, Local, MS, SECOND};
use super::world::World;

impl World {
    /// A device stops without a word. What was not durable is lost.
    pub fn crash(&mut self, device: usize) {
        if !self.up(device) {
            return;
        }
        self.note(device, "crash", [0; 3]);
        for other in (0..self.devices.len()).filter(|other| *other != device) {
            let slow = self.rng.chance(0.3);
            self.break_sessions(device, other, slow);
            self.break_streams(device, other, slow);
            // Discovery says goodbye for some of those that vanish.
            if self.up(other) && !self.devices[device].store && self.rng.chance(0.3) {
                let at = self.now + self.rng.between(MS, 3 * SECOND);
                self.local(at, other, Local::Gone(device));
            }
        }
        self.drop_sessions_of(device);
        self.drop_streams_of(device);
        self.devices[device].forget();
    }

    /// A device is there again, with what its disk kept, and goes on where it was.
    pub fn come_back(&mut self, device: usize) {
        if self.up(device) {
            return;
        }
        self.note(device, "return", [0; 3]);
        self.start_engine(device);
        self.hold_whole(device);
        self.meet(device);
        let of = &self.devices[device];
        let begins = of.began.max(self.now);
        match (of.wants, of.done) {
            (Some(_), None) => self.local(begins, device, Local::Begin),
            (Some(_), Some(_)) => {
                if let Some(version) = of.disk.whole {
                    self.devices[device].stage = super::device::Stage::Done(version);
                }
            }
            (None, _) => {}
        }
    }

    /// A device sends nothing for a while (asleep, swapping), though its connections live.
    pub fn freeze(&mut self, device: usize, lasts: At) {
        if !self.up(device) {
            return; // It begins anew when it returns; nothing would thaw it then.
        }
        self.note(device, "freeze", [lasts, 0, 0]);
        let until = self.now + lasts;
        let of = &mut self.devices[device];
        of.frozen_until = of.frozen_until.max(until);
        self.local(until, device, Local::Thaw);
    }

    /// Everything between two devices breaks; for a while nothing new gets through either.
    pub fn break_pair(&mut self, a: usize, b: usize, blocked_for: At) {
        self.note(a, "break", [b as u64, blocked_for, 0]);
        let slow = self.rng.chance(0.3);
        self.break_sessions(a, b, slow);
        self.break_streams(a, b, slow);
        if blocked_for > 0 {
            self.blocked
                .insert((a.min(b), a.max(b)), self.now + blocked_for);
        }
    }
}
