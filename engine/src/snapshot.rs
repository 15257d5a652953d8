//! Read-only borrows of a fetch at one moment, for the decisions that need several of its parts.

use crate::sources::Sources;
use crate::spans::SpanTable;
use crate::target::Target;
use crate::time::Time;

/// The sources and spans of a fetch at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Snapshot<'a> {
    pub sources: &'a Sources,
    pub spans: &'a SpanTable,
    /// The space that is being got; `None` before and between spaces.
    pub target: Option<Target>,
    pub now: Time,
}

impl<'a> Snapshot<'a> {
    /// A snapshot at `now`.
    pub const fn new(
        sources: &'a Sources,
        spans: &'a SpanTable,
        target: Option<Target>,
        now: Time,
    ) -> Self {
        Self {
            sources,
            spans,
            target,
            now,
        }
    }
}
