//! What data costs this device, and how readily it is paid for.

use hither_proto::Price;
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use utoipa::ToSchema;

/// How readily sources that cost something are used: what an hour of waiting is worth
/// (source-selection design, rule 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CostMode {
    /// 0.36 an hour: only where hardly anything comes from sources that cost nothing.
    Saver,
    /// 3.60 an hour.
    #[default]
    Balanced,
    /// 36 an hour: unless the others are fast.
    Fast,
}

impl CostMode {
    /// Every mode with its name.
    pub const ALL: [(&'static str, Self); 3] = [
        ("saver", Self::Saver),
        ("balanced", Self::Balanced),
        ("fast", Self::Fast),
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}

/// Text that names no mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a mode is saver, balanced or fast")]
pub struct CostModeError;

impl FromStr for CostMode {
    type Err = CostModeError;

    fn from_str(text: &str) -> Result<Self, CostModeError> {
        Self::ALL
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, mode)| *mode)
            .ok_or(CostModeError)
    }
}

/// `cost.*` of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Costs {
    /// How readily paid sources are used.
    pub mode: CostMode,
    /// Price of what comes from a store (its owner pays for traffic, mostly).
    pub store: Price,
    /// Price of what comes from a device through a relay (its owner pays for that traffic too).
    pub relayed: Price,
    /// Price of what goes over a metered connection.
    pub metered: Price,
    /// The user has set at least one of the prices: amounts are told. Usual prices alone only choose
    /// between sources, and nobody hears of them.
    pub configured: bool,
}

/// Prices that are usual in 2026 (source-selection design, rule 4).
impl Default for Costs {
    fn default() -> Self {
        Self {
            mode: CostMode::Balanced,
            store: Price::per_gib(0.09).unwrap_or_default(),
            relayed: Price::per_gib(0.09).unwrap_or_default(),
            metered: Price::per_gib(2.0).unwrap_or_default(),
            configured: false,
        }
    }
}

/// Most characters of `cost.currency`.
const MAX_CURRENCY: usize = 8;

/// A currency as it stands behind amounts: at most 8 printable characters; empty for none.
pub(crate) fn parse_currency(text: &str) -> Option<String> {
    let text = text.trim();
    let is_short = text.chars().count() <= MAX_CURRENCY;
    // A text that is shown as it is has nothing to make visible.
    (is_short && hither_proto::display_name(text) == text).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_have_names() {
        for (name, mode) in CostMode::ALL {
            assert_eq!((name.parse(), mode.name()), (Ok(mode), name));
            assert_eq!(serde_json::to_value(mode).unwrap(), name);
        }
        assert_eq!("dear".parse::<CostMode>(), Err(CostModeError));
    }

    #[test]
    fn a_currency_is_short_and_printable() {
        for good in ["", "EUR", "€", "US-$", " CHF "] {
            assert_eq!(parse_currency(good).as_deref(), Some(good.trim()));
        }
        for bad in ["too long a name", "a\u{1b}[m", "a\nb", "\u{202e}EUR"] {
            assert_eq!(parse_currency(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn usual_prices_are_prices() {
        let costs = Costs::default();
        assert_eq!(
            (costs.store.units_per_gib(), costs.metered.units_per_gib()),
            (0.09, 2.0)
        );
    }
}
