//! Devices that matter to whoever looks around: they keep their places among what is seen when
//! made-up ones come in crowds.

use hither_proto::DeviceId;
use std::fmt;
use std::sync::Arc;

/// Decides whether a device matters here: it proved something, was named by a ticket, or belongs to
/// the user or a group. It is asked whenever a device is announced, and must not block. Cheap to
/// clone; by default nobody matters.
#[derive(Clone)]
pub struct Familiar(Arc<dyn Fn(&DeviceId) -> bool + Send + Sync>);

impl Familiar {
    /// Asks `matters`.
    pub fn new(matters: impl Fn(&DeviceId) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(matters))
    }

    pub(crate) fn contains(&self, device: &DeviceId) -> bool {
        (self.0)(device)
    }
}

impl Default for Familiar {
    fn default() -> Self {
        Self::new(|_| false)
    }
}

impl fmt::Debug for Familiar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Familiar").finish_non_exhaustive()
    }
}
