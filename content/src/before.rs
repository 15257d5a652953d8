//! What was shared at the same places before, which what is there now is compared with.

use crate::root::RootId;
use hither_proto::Manifest;
use std::collections::HashSet;
use std::sync::Arc;

/// What was shared at the same places before; what is there now must be that.
#[derive(Debug, Clone, Copy)]
pub struct Before<'a> {
    /// What the parts were of, in their order; none where that is not known.
    pub roots: &'a [RootId],
    /// Folders below the top on which something was mounted.
    pub mounts: &'a [String],
    /// What was in it and could be read: it must not be left out because it cannot be read now.
    pub manifest: &'a Arc<Manifest>,
}

impl Before<'_> {
    /// Every path below the top that the version before had.
    pub(crate) fn paths(&self) -> HashSet<String> {
        let mut open: Vec<&str> = Vec::new();
        let entries = self.manifest.entries().iter().skip(1);
        entries
            .map(|entry| {
                // The top has depth 0 and is in no path.
                open.truncate((entry.depth as usize).saturating_sub(1));
                open.push(entry.name.as_str());
                open.join("/")
            })
            .collect()
    }
}
