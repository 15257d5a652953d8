//! Prices of bytes, the worth of waiting, and the budget of a fetch.
//!
//! Amounts are in billionths of one unit of the user's currency ("nanos"), so that sums stay exact;
//! the engine does not care which currency it is. All of it comes from the user or from a source:
//! it decides which source is asked, never what is believed.

use hither_proto::Price;

/// The worth of an hour of waiting (source-selection design, rule 4): how readily paid sources are
/// used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Mode {
    /// 0.36 an hour: paid sources only where hardly anything comes from others.
    Saver,
    /// 3.60 an hour.
    #[default]
    Balanced,
    /// 36 an hour: paid sources unless the others are fast.
    Fast,
}

impl Mode {
    /// Worth of one second of waiting, nanos.
    pub const fn worth(self) -> u64 {
        match self {
            Self::Saver => 100_000,
            Self::Balanced => 1_000_000,
            Self::Fast => 10_000_000,
        }
    }

    /// The stable name used in the configuration and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Saver => "saver",
            Self::Balanced => "balanced",
            Self::Fast => "fast",
        }
    }

    /// The mode of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Saver, Self::Balanced, Self::Fast]
            .into_iter()
            .find(|mode| mode.name() == name)
    }
}

/// The prices of sources here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prices {
    /// The price of a store, on top of the one that it announces.
    pub store: Price,
    /// The price of bytes through a relay, on top of the one that the device announces.
    pub relayed: Price,
    /// The price of this device's own link, for everything that does not come from its own network.
    pub link: Price,
}

/// The budget of one fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    /// The worth of waiting for it.
    pub mode: Mode,
    /// Most nanos that it may cost in all; `None`: as the mode decides.
    pub max_cost: Option<u64>,
    /// Nanos that earlier runs of it have cost.
    pub spent: u64,
}

/// The limits of a decision about paid sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpendingLimit {
    /// Devices that wait for what is fetched here: this one and its neighbours.
    pub waiting: u32,
    /// Worth of one second of one device's waiting, nanos.
    pub worth: u64,
    /// Nanos that may still be spent; `None`: no limit.
    pub left: Option<u64>,
    /// Nothing has moved for too long: prices count no more (rule 7).
    pub urgent: bool,
}

impl SpendingLimit {
    /// The rate, bytes per second, below which what is cheaper is too slow to be waited for: `N · v
    /// / p`. With linear worth of time this all-or-nothing rule is optimal (source-selection
    /// design, rule 4).
    pub fn threshold(&self, price: Price) -> f64 {
        match price.nanos_per_gib() {
            0 => f64::INFINITY,
            nanos => {
                f64::from(self.waiting) * self.worth as f64 / nanos as f64 * (1u64 << 30) as f64
            }
        }
    }

    /// Returns whether the budget covers `bytes`.
    pub fn affords(&self, price: Price, bytes: u64) -> bool {
        self.left.is_none_or(|left| price.of(bytes) <= left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(mode: Mode, waiting: u32) -> SpendingLimit {
        SpendingLimit {
            waiting,
            worth: mode.worth(),
            left: None,
            urgent: false,
        }
    }

    #[test]
    fn thresholds_are_those_of_the_design() {
        let (store, phone) = (Price::per_gib(0.09).unwrap(), Price::per_gib(2.0).unwrap());
        let mbit =
            |mode, waiting, price| (limit(mode, waiting).threshold(price) * 8.0 / 1e6).round();
        assert_eq!(mbit(Mode::Balanced, 1, store), 95.0);
        assert_eq!(mbit(Mode::Saver, 1, store), 10.0);
        assert_eq!(mbit(Mode::Fast, 1, store), 954.0);
        assert_eq!(mbit(Mode::Balanced, 8, store), 764.0);
        assert_eq!(mbit(Mode::Balanced, 1, phone), 4.0);
        assert_eq!(limit(Mode::Saver, 1).threshold(Price::FREE), f64::INFINITY);
    }

    #[test]
    fn what_is_not_left_cannot_be_spent() {
        let price = Price::per_gib(1.0).unwrap();
        let limit = SpendingLimit {
            left: Some(1_000_000),
            ..limit(Mode::Fast, 1)
        };
        assert!(limit.affords(price, 1 << 20) && !limit.affords(price, 1 << 21));
        assert!(limit.affords(Price::FREE, u64::MAX));
    }

    #[test]
    fn modes_are_known_by_name() {
        for mode in [Mode::Saver, Mode::Balanced, Mode::Fast] {
            assert_eq!(Mode::named(mode.name()), Some(mode));
        }
        assert_eq!(Mode::named("greedy"), None);
    }
}
