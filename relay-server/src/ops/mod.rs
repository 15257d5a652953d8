//! What an operator sees of a running node: metrics, health, logs.

mod bounded;
mod family;
mod gate;
mod health;
mod http;
mod inspect;
pub mod labels;
mod log;
mod metrics;
mod sample;
mod upkeep;

pub(crate) use bounded::Bounded;
pub use family::{By, ByPair, Counted, Counter, Timing};
pub use gate::{Gate, Gates};
pub use health::{Inspect, Problem};
pub use http::serve_http;
pub(crate) use inspect::sample_mail;
pub use log::{LogError, start_log};
pub use metrics::{CONTENT_TYPE, Metrics};
pub use sample::{MailSample, Sample, StoreSample};
pub use upkeep::{OpsError, start};
