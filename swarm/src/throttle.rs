//! The limits on what this device sends and receives: so many bytes a second over all streams
//! together, besides over all streams of one device, and others at certain times of the week.
//!
//! A stream waits before it moves the next chunk, so that a chunk is never interrupted; the streams
//! take turns in the order in which they came. How fast it goes is looked at before every chunk,
//! and while one waits: a limit that begins or ends counts at once for what is going on. What stays
//! on the local network is not limited unless the user wants it.

use crate::links;
use chrono::{Datelike, Local, Timelike};
use hither_api::{LimitsInfo, RateLimits, ScheduleRule, WeekTime};
use hither_proto::{DeviceId, DeviceName};
use hither_util::sync::RwLock;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

/// How much of a pause may be made up for.
const BURST: Duration = Duration::from_millis(200);
/// How often somebody who waits looks whether other limits are in force: clocks are set, and
/// laptops sleep.
const LOOK: Duration = Duration::from_secs(2);

/// Tells the day and the time of day.
type Clock = Box<dyn Fn() -> WeekTime + Send + Sync>;

/// The bytes that were moved and are not paid for yet, at the rate of the moment.
#[derive(Debug)]
struct Debt {
    /// Below zero: so much may be moved at once.
    bytes: f64,
    at: Instant,
}

/// One direction, in all or of one device.
#[derive(Debug)]
struct Throttle(Mutex<Debt>);

impl Throttle {
    fn new() -> Self {
        Self(Mutex::new(Debt {
            bytes: 0.0,
            at: Instant::now(),
        }))
    }

    /// Waits until `bytes` may be moved at the rate that `rate` gives. A task that gives up
    /// waiting has taken nothing.
    async fn take(&self, bytes: usize, rate: impl Fn() -> Option<NonZeroU64>) {
        let mut debt = self.0.lock().await;
        loop {
            let now = Instant::now();
            let Some(rate) = rate() else {
                *debt = Debt {
                    bytes: 0.0,
                    at: now,
                };
                return;
            };
            let rate = rate.get() as f64;
            let paid = debt.bytes - rate * (now - debt.at).as_secs_f64();
            *debt = Debt {
                bytes: paid.max(-rate * BURST.as_secs_f64()),
                at: now,
            };
            if debt.bytes < 1.0 {
                debt.bytes += bytes as f64;
                return;
            }
            sleep(Duration::from_secs_f64(
                (debt.bytes / rate).min(LOOK.as_secs_f64()),
            ))
            .await;
        }
    }
}

/// Which direction bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// Both ways of one limit.
#[derive(Debug)]
struct Both {
    up: Throttle,
    down: Throttle,
}

impl Both {
    fn new() -> Self {
        Self {
            up: Throttle::new(),
            down: Throttle::new(),
        }
    }

    const fn of(&self, direction: Direction) -> &Throttle {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }
}

/// The limits in force, and what was moved under those of single devices.
struct State {
    limits: RateLimits,
    /// One for each of `limits.devices`.
    devices: Vec<Arc<Both>>,
}

impl State {
    fn new(limits: &RateLimits) -> Self {
        let devices = limits.devices.iter();
        Self {
            devices: devices.map(|_| Arc::new(Both::new())).collect(),
            limits: limits.clone(),
        }
    }

    fn is_free(&self) -> bool {
        let RateLimits {
            upload,
            download,
            lan: _,
            devices,
            schedule,
        } = &self.limits;
        upload.is_none() && download.is_none() && devices.is_empty() && schedule.is_empty()
    }

    /// The limit that means a device.
    fn of(&self, who: &Who) -> Option<usize> {
        let name = who.name.as_deref();
        let mut devices = self.limits.devices.iter();
        devices.position(|limit| limit.means(&who.id, &who.short, name))
    }

    /// The rule of the schedule that is in force.
    fn rule(&self, clock: &Clock) -> Option<&ScheduleRule> {
        if self.limits.schedule.is_empty() {
            return None;
        }
        let now = clock();
        let mut rules = self.limits.schedule.iter();
        rules.find(|rule| rule.is_in_force(now))
    }

    /// The limit of all devices together, now.
    fn rate(&self, clock: &Clock, direction: Direction) -> Option<NonZeroU64> {
        let rule = self.rule(clock);
        let (upload, download) = (self.limits.upload, self.limits.download);
        match direction {
            Direction::Up => rule.map_or(upload, |rule| rule.upload(upload)),
            Direction::Down => rule.map_or(download, |rule| rule.download(download)),
        }
    }

    fn device_rate(&self, who: &Who, direction: Direction) -> Option<NonZeroU64> {
        let limit = self.limits.devices.get(self.of(who)?)?;
        match direction {
            Direction::Up => limit.upload,
            Direction::Down => limit.download,
        }
    }
}

struct Inner {
    state: RwLock<State>,
    clock: Clock,
    all: Both,
}

/// All limits, as the configuration has them.
pub struct Throttles(Arc<Inner>);

impl Throttles {
    pub(crate) fn new(limits: &RateLimits) -> Self {
        Self::by(limits, Box::new(wall))
    }

    /// The same by another clock.
    fn by(limits: &RateLimits, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            state: RwLock::new(State::new(limits)),
            clock,
            all: Both::new(),
        }))
    }

    /// Puts other limits into force, also for what is under way.
    pub fn set(&self, limits: &RateLimits) {
        *self.0.state.write() = State::new(limits);
    }

    /// Returns the limit for sending to a device or store of that name, if it is known, at an
    /// address (or behind a relay).
    pub fn up(&self, to: DeviceId, name: Option<&DeviceName>, at: Option<IpAddr>) -> Limit {
        self.limit(Direction::Up, to, name, at)
    }

    /// Returns the limit for receiving from it.
    pub(crate) fn down(
        &self,
        from: DeviceId,
        name: Option<&DeviceName>,
        at: Option<IpAddr>,
    ) -> Limit {
        self.limit(Direction::Down, from, name, at)
    }

    fn limit(
        &self,
        direction: Direction,
        device: DeviceId,
        name: Option<&DeviceName>,
        at: Option<IpAddr>,
    ) -> Limit {
        Limit {
            inner: Arc::clone(&self.0),
            direction,
            who: Arc::new(Who {
                id: device.to_string(),
                short: device.short(),
                name: name.map(ToString::to_string),
                at,
                near: OnceLock::new(),
            }),
        }
    }

    /// Returns the limits in force now.
    pub fn info(&self) -> LimitsInfo {
        let state = self.0.state.read();
        let rate = |direction| state.rate(&self.0.clock, direction).map(NonZeroU64::get);
        LimitsInfo {
            upload: rate(Direction::Up),
            download: rate(Direction::Down),
            lan: state.limits.lan,
            schedule: state.rule(&self.0.clock).map(ToString::to_string),
            devices: state
                .limits
                .devices
                .iter()
                .map(ToString::to_string)
                .collect(),
        }
    }
}

/// The clock on the wall: the user's own time.
fn wall() -> WeekTime {
    let now = Local::now();
    let minute = (now.hour() * 60 + now.minute()) as u16;
    WeekTime {
        day: now.weekday().num_days_from_monday() as u8,
        minute,
    }
}

/// The device at the other end of a stream.
struct Who {
    id: String,
    short: String,
    name: Option<String>,
    at: Option<IpAddr>,
    near: OnceLock<bool>,
}

impl Who {
    /// Returns whether it is on the local network; looked up only when it matters.
    fn is_near(&self) -> bool {
        *self
            .near
            .get_or_init(|| self.at.is_some_and(links::is_near))
    }
}

/// The limit of one stream, whatever it is at the moment.
#[derive(Clone)]
pub struct Limit {
    inner: Arc<Inner>,
    direction: Direction,
    who: Arc<Who>,
}

impl Limit {
    /// Waits until so many bytes may be moved.
    pub async fn take(&self, bytes: usize) {
        let Self {
            inner,
            direction,
            who,
        } = self;
        let own = {
            let state = inner.state.read();
            if state.is_free() || (!state.limits.lan && who.is_near()) {
                return;
            }
            let own = state.of(who).and_then(|of| state.devices.get(of));
            own.map(Arc::clone)
        };
        // Its own limit first: whoever waits for that holds up nobody else.
        if let Some(own) = own {
            let rate = || inner.state.read().device_rate(who, *direction);
            own.of(*direction).take(bytes, rate).await;
        }
        let rate = || inner.state.read().rate(&inner.clock, *direction);
        inner.all.of(*direction).take(bytes, rate).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicU16, Ordering};

    /// An address that nobody has (240.0.0.0/4), so that no machine that this runs on is near it.
    const FAR: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(240, 0, 0, 1)));

    fn device() -> DeviceId {
        hither_carrier::Identity::generate().unwrap().device_id()
    }

    fn throttles(lan: bool) -> Throttles {
        let upload = NonZeroU64::new(1_000_000);
        Throttles::new(&RateLimits {
            upload,
            lan,
            ..RateLimits::default()
        })
    }

    /// How long it takes to move ten chunks of 100 kB.
    async fn takes(limit: Limit) -> f64 {
        let began = Instant::now();
        for _ in 0..10 {
            limit.take(100_000).await;
        }
        began.elapsed().as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn streams_together_keep_to_the_rate() {
        let limit = throttles(true).up(device(), None, FAR);
        // The last chunk is let go when the others are through; a pause of 0.2 s before is made up
        // for.
        let (one, other) = tokio::join!(takes(limit.clone()), takes(limit));
        assert!((1.65..1.95).contains(&one.max(other)), "{one} {other}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_limited_never_waits() {
        let began = Instant::now();
        throttles(true)
            .down(device(), None, FAR)
            .take(1 << 30)
            .await;
        throttles(false)
            .up(device(), None, Some([127, 0, 0, 1].into()))
            .take(1 << 30)
            .await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        throttles(false).up(device(), None, FAR).take(1).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_has_a_limit_of_its_own_within_that_of_all() {
        let devices = vec![
            "phone=500kB".parse().unwrap(),
            "tablet download=200kB".parse().unwrap(),
        ];
        let upload = NonZeroU64::new(1_000_000);
        let throttles = Throttles::new(&RateLimits {
            upload,
            devices,
            ..RateLimits::default()
        });
        let (phone, tablet) = (DeviceName::clean("phone"), DeviceName::clean("Tablet"));
        let up = |name| throttles.up(device(), name, FAR);
        let slow = takes(up(Some(&phone))).await;
        assert!((1.7..1.9).contains(&slow), "{slow}");
        let other = takes(up(None)).await;
        assert!((0.6..0.9).contains(&other), "{other}");
        // Two streams, to one phone and another one that is called so too, share its limit; the
        // rest goes to others.
        let (a, b, rest) = tokio::join!(
            takes(up(Some(&phone))),
            takes(up(Some(&phone))),
            takes(up(None))
        );
        assert!(
            (3.5..3.95).contains(&a.max(b)) && rest < 2.4,
            "{a} {b} {rest}"
        );
        let down = takes(throttles.down(device(), Some(&tablet), FAR)).await;
        assert!((4.2..4.6).contains(&down), "{down}");
        assert!(
            takes(throttles.down(device(), Some(&phone), FAR)).await < 0.01,
            "one direction only"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn other_limits_are_for_what_is_under_way() {
        let throttles = throttles(true);
        let limit = throttles.up(device(), None, FAR);
        limit.take(100_000_000).await;
        let of = limit.clone();
        let waiting = tokio::spawn(async move { of.take(1).await });
        sleep(Duration::from_secs(10)).await;
        assert!(!waiting.is_finished());
        throttles.set(&RateLimits::default());
        let lifted = Instant::now();
        waiting.await.unwrap();
        assert!(lifted.elapsed() <= LOOK);
        assert!(takes(limit.clone()).await < 0.01);
        throttles.set(&RateLimits {
            upload: NonZeroU64::new(100_000),
            ..RateLimits::default()
        });
        let slow = takes(limit).await;
        assert!((8.5..9.1).contains(&slow), "{slow}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_schedule_begins_and_ends_in_the_middle() {
        let minute = Arc::new(AtomicU16::new(7 * 60 + 59));
        let of = Arc::clone(&minute);
        let clock: Clock = Box::new(move || WeekTime {
            day: 2,
            minute: of.load(Ordering::Relaxed),
        });
        let schedule = vec![
            "mon-fri 08:00-18:00 upload=100kB".parse().unwrap(),
            "08:00-20:00 upload=200kB download=any".parse().unwrap(),
        ];
        let limits = RateLimits {
            download: NonZeroU64::new(50_000),
            schedule,
            ..RateLimits::default()
        };
        let throttles = Throttles::by(&limits, clock);
        let limit = throttles.up(device(), None, FAR);
        assert!(takes(limit.clone()).await < 0.01);
        assert_eq!(
            (throttles.info().schedule, throttles.info().download),
            (None, Some(50_000))
        );
        minute.store(8 * 60, Ordering::Relaxed);
        let slow = takes(limit.clone()).await;
        assert!((8.5..9.1).contains(&slow), "{slow}");
        assert_eq!(
            throttles.info().upload,
            Some(100_000),
            "the first that is in force"
        );
        // A task that waits for a long time already goes on soon after the end.
        limit.take(100_000_000).await;
        let waiting = tokio::spawn(async move { limit.take(1).await });
        sleep(Duration::from_secs(60)).await;
        assert!(!waiting.is_finished());
        minute.store(20 * 60, Ordering::Relaxed);
        let ended = Instant::now();
        waiting.await.unwrap();
        assert!(ended.elapsed() <= LOOK);
    }
}
