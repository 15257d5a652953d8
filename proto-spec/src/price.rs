//! What moving bytes costs.

use crate::limits::MAX_PRICE;
use std::str::FromStr;

/// A price of data: billionths of one unit of currency ("nanos") for each GiB, at most
/// [`MAX_PRICE`]. Which currency it is the users of one network agree on; nothing here depends on
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Price(u64);

/// Nanos in one unit.
const UNIT: f64 = 1e9;
const GIB: u128 = 1 << 30;

/// Text that is no price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a price is a number from 0 to {} for each GiB", MAX_PRICE as f64 / UNIT)]
pub struct PriceError;

impl Price {
    /// Costs nothing.
    pub const FREE: Self = Self(0);

    /// So many nanos for each GiB; `None` above [`MAX_PRICE`].
    pub const fn from_nanos(nanos: u64) -> Option<Self> {
        if nanos <= MAX_PRICE {
            Some(Self(nanos))
        } else {
            None
        }
    }

    /// So many units for each GiB; `None` when it is negative, no number, or above [`MAX_PRICE`].
    pub fn per_gib(units: f64) -> Option<Self> {
        let nanos = units * UNIT;
        (nanos >= 0.0 && nanos <= MAX_PRICE as f64).then_some(Self(nanos.round() as u64))
    }

    /// Nanos for each GiB.
    pub const fn nanos_per_gib(self) -> u64 {
        self.0
    }

    /// Units for each GiB.
    pub fn units_per_gib(self) -> f64 {
        self.0 as f64 / UNIT
    }

    /// Whether it costs nothing.
    pub const fn is_free(self) -> bool {
        self.0 == 0
    }

    /// Both together, at most [`MAX_PRICE`].
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0).min(MAX_PRICE))
    }

    /// What so many bytes cost, nanos.
    pub fn of(self, bytes: u64) -> u64 {
        u64::try_from(u128::from(self.0) * u128::from(bytes) / GIB).unwrap_or(u64::MAX)
    }
}

impl FromStr for Price {
    type Err = PriceError;

    fn from_str(text: &str) -> Result<Self, PriceError> {
        text.trim()
            .parse()
            .ok()
            .and_then(Self::per_gib)
            .ok_or(PriceError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_and_bounded() {
        let store = Price::per_gib(0.09).unwrap();
        assert_eq!(
            (store.nanos_per_gib(), store.of(1 << 30), store.of(64 << 10)),
            (90_000_000, 90_000_000, 5493)
        );
        assert_eq!(Price::from_nanos(MAX_PRICE).unwrap().of(u64::MAX), u64::MAX);
        assert_eq!(Price::from_nanos(MAX_PRICE + 1), None);
        assert_eq!(
            Price::from_nanos(MAX_PRICE)
                .unwrap()
                .plus(store)
                .nanos_per_gib(),
            MAX_PRICE
        );
    }

    #[test]
    fn only_prices_are_read() {
        assert_eq!("0.09".parse(), Price::per_gib(0.09).ok_or(PriceError));
        assert_eq!(" 2 ".parse::<Price>().unwrap().units_per_gib(), 2.0);
        for text in ["", "-1", "nan", "inf", "1e9", "two"] {
            assert_eq!(text.parse::<Price>(), Err(PriceError), "{text}");
        }
    }
}
