//! A notice on the desktop, which need not be there.

use crate::desktop;

/// Shows a sentence; what is missing for that is only logged.
pub(super) async fn show(title: &str) {
    if let Err(error) = desktop::tell(title).await {
        tracing::debug!(%error, "a notice is not shown on the desktop");
    }
}
