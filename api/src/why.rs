//! Why the bytes of a transfer came from where they came.

use crate::event::{SourceBytes, SourceKind, is_free};
use crate::types::TransferInfo;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Why a transfer's bytes came from where they came (`GET /v1/transfers/{id}/why`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Why {
    /// The transfer.
    pub transfer: TransferInfo,
    /// Every source, the largest first.
    pub sources: Vec<WhySource>,
    /// What happened to sources on the way, oldest first (the most recent 256).
    pub notes: Vec<WhyNote>,
    /// Where single spans came from, in the order in which they came (the most recent 1,000).
    pub spans: Vec<WhySpan>,
    /// What people call the devices and stores in it, by device id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<String, String>,
}

/// One source in a [`Why`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhySource {
    /// Who, how and how much.
    #[serde(flatten)]
    pub source: SourceBytes,
    /// Plaintext bytes that arrived and were not needed.
    pub wasted: u64,
    /// Times it stalled, broke off, lied or lacked what it had announced.
    pub faults: u64,
    /// Spans by the rule that chose it.
    pub rules: BTreeMap<String, u64>,
    /// The same rules in words, the most frequent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<WhyRule>,
    /// How long a span was expected to take, milliseconds: the median of its spans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_ms: Option<f64>,
    /// How long a span took, milliseconds: the median of its spans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual_ms: Option<f64>,
    /// Who mostly was the second choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_up: Option<UsualRunnerUp>,
    /// Round-trip time of its link, milliseconds, when known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f64>,
    /// Why it was paid for although somebody cheaper had something; of the first such span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid: Option<PaidBecause>,
    /// The same in words.
    pub words: String,
}

/// How often a rule chose a source (in [`WhySource`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhyRule {
    /// The rule.
    pub rule: String,
    /// Spans that it chose.
    pub spans: u64,
    /// What it says.
    pub words: String,
}

/// Who mostly would have been taken instead (in [`WhySource`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UsualRunnerUp {
    /// Device id.
    pub device: String,
    /// What the device calls itself; may be empty.
    pub name: String,
    /// How it would have given.
    pub kind: SourceKind,
    /// Spans of which it was the second choice.
    pub spans: u64,
    /// How long a span of them was expected to take, milliseconds: the median.
    pub expected_ms: f64,
    /// What it asked for each GiB, lately; absent when it was free.
    #[serde(default, skip_serializing_if = "is_free")]
    pub price: f64,
    /// What all that the source gave would have cost there; absent when it was free.
    #[serde(default, skip_serializing_if = "is_free")]
    pub cost: f64,
}

/// One thing that happened to a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhyNote {
    /// Seconds that the transfer had been at work when it happened: since it began, pauses left
    /// out, also over restarts.
    pub at: f64,
    /// Device id.
    pub device: String,
    /// `stalled`, `lost`, `lied` or `not_held`.
    pub what: String,
    /// The same in words.
    pub words: String,
}

/// One span in a [`Why`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhySpan {
    /// First chunk.
    pub start: u32,
    /// Device id of its source.
    pub device: String,
    /// The rule that chose it.
    pub rule: String,
    /// How long it was expected to take, milliseconds.
    pub expected_ms: f64,
    /// How long it took, milliseconds.
    pub actual_ms: f64,
    /// What it cost for each GiB; absent when it was free.
    #[serde(default, skip_serializing_if = "is_free")]
    pub price: f64,
    /// The next best sources, at most two, best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runners_up: Vec<RunnerUp>,
    /// Why it was paid for although somebody cheaper had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid: Option<PaidBecause>,
    /// How many devices on the same network had more right to this part; absent when it was no
    /// first copy among neighbours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    /// Device id of the neighbour that had meant to get it, when that was taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimer: Option<String>,
}

/// A source that was not chosen (in [`WhySpan`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunnerUp {
    /// Device id.
    pub device: String,
    /// How long it was expected to take, milliseconds.
    pub expected_ms: f64,
    /// What it would have cost for each GiB; absent when it was free.
    #[serde(default, skip_serializing_if = "is_free")]
    pub price: f64,
}

/// What made a source worth its price (in [`WhySpan`] and [`WhySource`]).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PaidBecause {
    /// Bytes per second that cheaper sources gave to all who waited on this network.
    pub cheaper_rate: f64,
    /// Bytes per second below which the mode of the transfer finds the price worth it.
    pub threshold: f64,
}
