//! The node that keeps the state tidies it now and then: invitations that nobody can use,
//! pages that did not come for a month, visitors and askers that are gone.

use super::visit::{askers, forget};
use crate::config::Role;
use crate::node::{Node, now_ms};
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(600);

/// Begins to look, where this node keeps the state.
pub(super) fn start(node: &Arc<Node>) {
    if !node.plays(Role::Control) {
        return;
    }
    node.spawn_every(LOOK, |node| async move { sweep(&node, now_ms()).await });
}

/// Looks once through everything.
pub(crate) async fn sweep(node: &Node, now_ms: u64) {
    let state = node.state.as_ref();
    let told = |what: &str, swept: Result<usize, String>| match swept {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "{what} were forgotten"),
        Err(error) => tracing::debug!(%error, "{what} could not be looked through"),
    };
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let swept = node.registry.sweep_invitations().await;
    told("invitations", swept.map_err(|error| text(&error)));
    let swept = node.registry.sweep_pages(now_ms).await;
    told(
        "pages that did not come for a month",
        swept.map_err(|error| text(&error)),
    );
    let swept = forget::sweep(state, now_ms).await;
    told("visitors", swept.map_err(|error| text(&error)));
    let swept = askers::sweep(state, now_ms).await;
    told("askers", swept.map_err(|error| text(&error)));
}
