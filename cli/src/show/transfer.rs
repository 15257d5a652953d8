//! What a transfer is doing.

use hither_api::{FollowInfo, FollowState, Phase, TransferInfo};
use hither_proto::display_name;

/// A phase in one word.
pub const fn phase_words(phase: Phase) -> &'static str {
    match phase {
        Phase::Reading => "reading",
        Phase::Connecting => "connecting",
        Phase::Offered => "offered",
        Phase::Comparing => "comparing",
        Phase::Fetching => "fetching",
        Phase::Writing => "writing",
        Phase::Uploading => "uploading",
        Phase::Waiting => "waiting",
        Phase::Following => "following",
        Phase::Paused => "paused",
        Phase::Done => "done",
        Phase::Failed => "failed",
    }
}

/// How a followed copy stands, in a few words.
pub fn followed(follow: &FollowInfo) -> String {
    let at = match follow.version {
        Some(version) => format!("version {version}"),
        None => "no version yet".into(),
    };
    let newest = match follow.newest {
        newest if Some(newest) > follow.version && newest > 0 => format!(" of {newest}"),
        _ => String::new(),
    };
    let state = match follow.state {
        FollowState::UpToDate => format!("up to date, {at}"),
        FollowState::Behind => format!("behind, {at}{newest}"),
        FollowState::Waiting => {
            let whom = follow.waiting_for.as_deref().map(display_name);
            let whom = whom.map(|whom| format!(" for {whom}")).unwrap_or_default();
            format!("waiting{whom}, {at}{newest}")
        }
        FollowState::Paused => format!("paused, {at}"),
        FollowState::TargetMissing => format!("target missing, {at}"),
        FollowState::Failed => format!("failed, {at}"),
    };
    match follow.conflicts {
        0 => state,
        1 => state + ", 1 conflict",
        number => format!("{state}, {number} conflicts"),
    }
}

/// A phase with how much of it is done; how a copy that is followed stands.
pub fn state(transfer: &TransferInfo) -> String {
    let standing = matches!(
        transfer.phase,
        Phase::Following | Phase::Waiting | Phase::Paused | Phase::Failed
    );
    if let Some(follow) = transfer
        .follow
        .as_ref()
        .filter(|follow| standing && follow.version.is_some())
    {
        return followed(follow);
    }
    let words = phase_words(transfer.phase);
    let counts = matches!(
        transfer.phase,
        Phase::Comparing | Phase::Fetching | Phase::Waiting | Phase::Paused
    );
    match transfer
        .bytes
        .saturating_mul(100)
        .checked_div(transfer.total)
    {
        Some(percent) if counts => format!("{words} {}%", percent.min(100)),
        _ => words.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_followed_copy_says_how_it_stands() {
        let follow = FollowInfo {
            transfer: "t".into(),
            state: FollowState::UpToDate,
            version: Some(3),
            newest: 3,
            waiting_for: None,
            conflicts: 0,
            reason: None,
        };
        assert_eq!(followed(&follow), "up to date, version 3");
        let waiting = FollowInfo {
            state: FollowState::Waiting,
            newest: 5,
            waiting_for: Some("de\u{1b}sk".into()),
            conflicts: 2,
            ..follow
        };
        assert_eq!(
            followed(&waiting),
            "waiting for de\u{fffd}sk, version 3 of 5, 2 conflicts"
        );
    }
}
