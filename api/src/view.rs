//! A transfer as somebody watches it: who gives how fast, and which part came from whom.

use crate::event::{SourceKind, is_free};
use crate::types::TransferInfo;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Most cells of a map.
pub const MAX_CELLS: u32 = 4096;

/// A transfer as it is now (`GET /v1/transfers/{id}/view`: told again a few times a second while it
/// changes).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TransferView {
    /// The transfer.
    pub transfer: TransferInfo,
    /// Expected seconds left, when that can be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<u64>,
    /// Bytes that came in each of the last seconds, the oldest first (at most 60).
    pub history: Vec<u64>,
    /// Who gave something, is asked for something, or could be; the largest givers first.
    pub sources: Vec<ViewSource>,
    /// What is here, from whom, and what is missing; absent while that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<SpanMap>,
}

/// One source in a [`TransferView`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ViewSource {
    /// Device id; this device's own for `local`.
    pub device: String,
    /// What the device calls itself; may be empty.
    pub name: String,
    /// How its bytes come.
    pub kind: SourceKind,
    /// Whether it can be asked now.
    pub open: bool,
    /// Plaintext bytes it gave, earlier runs included.
    pub bytes: u64,
    /// Bytes per second now.
    pub rate: u64,
    /// Bytes asked of it and not yet here.
    pub in_flight: u64,
    /// Round-trip time of its link, milliseconds, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f64>,
    /// What it asks for each GiB; absent when it is free.
    #[serde(default, skip_serializing_if = "is_free")]
    pub price: f64,
    /// What its bytes cost so far; absent when they were free.
    #[serde(default, skip_serializing_if = "is_free")]
    pub cost: f64,
    /// Times it stalled, broke off, lied or lacked what it had announced, in this run.
    pub faults: u64,
}

/// The data of a share from its beginning to its end, as cells of equally many spans each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SpanMap {
    /// Number of cells: at most as many as were asked for.
    pub cells: u32,
    /// What they show, in order: runs of equal cells.
    pub runs: Vec<MapRun>,
}

/// Equal cells in a row (in [`SpanMap`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MapRun {
    /// How many.
    pub cells: u32,
    /// What they show.
    pub state: MapState,
    /// Of `in_flight` and `source`: whose, as a position in [`TransferView::sources`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<u32>,
}

/// What a cell shows (in [`MapRun`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MapState {
    /// Most of it is missing.
    Missing,
    /// Some of it is asked for.
    InFlight,
    /// It was here before this run began.
    Earlier,
    /// It was copied from something else on this device.
    Local,
    /// Most of it came from a source.
    Source,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nothing_is_not_told() {
        let source = ViewSource {
            device: "d".into(),
            name: "laptop".into(),
            kind: SourceKind::Lan,
            open: true,
            bytes: 4,
            rate: 2,
            in_flight: 1,
            rtt_ms: None,
            price: 0.0,
            cost: 0.0,
            faults: 0,
        };
        let told = serde_json::json!({
            "device": "d", "name": "laptop", "kind": "lan", "open": true, "bytes": 4, "rate": 2, "in_flight": 1, "faults": 0,
        });
        assert_eq!(serde_json::to_value(&source).unwrap(), told);
        assert_eq!(serde_json::from_value::<ViewSource>(told).unwrap(), source);
        let run = MapRun {
            cells: 3,
            state: MapState::InFlight,
            source: Some(0),
        };
        assert_eq!(
            serde_json::to_value(run).unwrap(),
            serde_json::json!({"cells": 3, "state": "in_flight", "source": 0})
        );
    }
}
