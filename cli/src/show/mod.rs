//! Data as text for people.

mod count;
mod money;
mod names;
mod offer;
mod progress;
mod qr;
mod source;
mod summary;
mod table;
mod time;
mod transfer;
mod wrap;

pub use count::{bytes, count, grouped};
pub use money::{amount, cost};
pub use names::names;
pub use offer::{Offer, conflict, exists, offer};
pub use progress::{Progress, ProgressState};
pub use qr::{Drawing, qr, qr_exact};
pub use source::{device, kind_words};
pub use summary::{already, fetched};
pub use table::{Align, Column, Table};
pub use time::{ago, duration, now, until};
pub use transfer::{followed, phase_words, state};
pub use wrap::wrap;
