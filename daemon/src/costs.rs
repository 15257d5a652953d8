//! The cost of data, between the units of people and those of the engine.

use crate::transfer::{Transfer, TransferService};
use hither_api::CostMode;
use hither_engine::{Budget, Mode};

/// The engine counts in billionths.
const UNIT: f64 = 1e9;

/// Units of currency of so many nanos.
pub(crate) fn units(nanos: u64) -> f64 {
    nanos as f64 / UNIT
}

/// The other way round; what is no amount is nothing.
pub(crate) fn nanos(units: f64) -> u64 {
    // A cast saturates, and makes nothing of what is no number.
    (units * UNIT).round() as u64
}

const fn mode(mode: CostMode) -> Mode {
    match mode {
        CostMode::Saver => Mode::Saver,
        CostMode::Balanced => Mode::Balanced,
        CostMode::Fast => Mode::Fast,
    }
}

/// Returns the budget of a transfer, given the cost of its earlier runs.
pub(crate) fn budget(service: &TransferService, transfer: &Transfer) -> Budget {
    let record = transfer.record();
    Budget {
        mode: mode(record.mode.unwrap_or_else(|| service.mode.get())),
        max_cost: record.max_cost.map(nanos),
        spent: record
            .sources
            .iter()
            .fold(0, |sum, source| sum.saturating_add(nanos(source.cost))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_keep_their_size() {
        assert_eq!((nanos(0.09), units(90_000_000)), (90_000_000, 0.09));
        assert_eq!(
            (nanos(f64::NAN), nanos(-1.0), nanos(1e300)),
            (0, 0, u64::MAX)
        );
    }
}
