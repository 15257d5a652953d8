//! The notices another device has of this one's shares, so that it gets only those that are new to
//! it.
//!
//! Nothing waits in a queue: what is to be told is the difference between what is shared and what
//! was told, made when a message can leave. However long a device is away, it costs one short
//! record here and at most [`MAX_AWAY`] messages at a relay.

use super::notice::{EntryHash, Notice, Own};
use hither_proto::ShareId;
use std::collections::BTreeMap;
use std::time::Duration;

/// Most messages for a device that is away, until it is seen again.
pub(super) const MAX_AWAY: u32 = 16;
/// Shortest time between two tellings to one device.
const PACE: Duration = Duration::from_secs(1);
/// Longest one, for a device that is away.
const LONGEST_PACE: Duration = Duration::from_secs(86_400);
/// Length of the id of a share that ended, in a message, bytes.
const ENDED: usize = 36;
/// Length of one share in a record, bytes.
const SHARE: usize = 16 + 16;

/// The state sent to one reader.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SyncState {
    /// Messages that a relay keeps for it since it was last seen.
    pub away: u32,
    shares: BTreeMap<ShareId, EntryHash>,
}

impl SyncState {
    /// For keeping.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.away.to_be_bytes().to_vec();
        for (share, hash) in &self.shares {
            bytes.extend_from_slice(share.as_bytes());
            bytes.extend_from_slice(hash);
        }
        bytes
    }

    /// Decodes a stored state; `None` when it makes no sense: then everything is sent again.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (away, rest) = bytes.split_at_checked(4)?;
        let shares = rest.chunks(SHARE).map(|one| {
            let (share, hash) = one.split_at_checked(16)?;
            Some((
                ShareId::from_slice(share).ok()?,
                EntryHash::try_from(hash).ok()?,
            ))
        });
        Some(Self {
            away: u32::from_be_bytes(away.try_into().ok()?),
            shares: shares.collect::<Option<_>>()?,
        })
    }
}

/// How long after a telling the next one may follow, when so many messages wait at a relay.
pub(super) fn pace(away: u32) -> Duration {
    PACE.saturating_mul(8_u32.saturating_pow(away))
        .min(LONGEST_PACE)
}

/// The next message for a reader, of at most about `room` bytes, and what it was told then. `None`:
/// it knows everything.
///
/// `told`: what it was told, or `None` when everything is to be told anew. `force`: even when there
/// is nothing to tell.
pub(super) fn next(
    own: &Own,
    told: Option<&SyncState>,
    force: bool,
    room: usize,
) -> Option<(Notice, SyncState)> {
    let mut after = told.cloned().unwrap_or_default();
    let mut notice = Notice {
        whole: told.is_none(),
        ..Notice::default()
    };
    let mut length = 0;
    let mut fits = |more: usize| {
        length += more;
        length <= room
    };
    let ended: Vec<_> = after
        .shares
        .keys()
        .filter(|share| !own.entries.contains_key(share))
        .copied()
        .collect();
    for share in ended {
        if !fits(ENDED) {
            break;
        }
        after.shares.remove(&share);
        notice.ended.push(share.to_string());
    }
    for (share, (hash, entry)) in &own.entries {
        if after.shares.get(share) == Some(hash) {
            continue;
        }
        if !fits(entry.length()) {
            break;
        }
        after.shares.insert(*share, *hash);
        notice.shares.push(entry.clone());
    }
    let nothing = notice.shares.is_empty() && notice.ended.is_empty();
    (!nothing || force).then_some((notice, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::notice::Entry;

    fn own(shares: &[(u8, u64)]) -> Own {
        let entry = |(id, version): &(u8, u64)| {
            let entry = Entry {
                ticket: "hither1x".into(),
                name: format!("share {id}"),
                version: *version,
                files: 1,
                bytes: 2,
                published: 3,
                expires: None,
            };
            (ShareId::new([*id; 16]), entry)
        };
        Own::new(shares.iter().map(entry).collect())
    }

    fn names(notice: &Notice) -> Vec<&str> {
        notice
            .shares
            .iter()
            .map(|entry| entry.name.as_str())
            .collect()
    }

    #[test]
    fn only_what_is_new_is_told() {
        let (notice, told) = next(&own(&[(1, 1), (2, 1)]), None, false, 10_000).unwrap();
        assert_eq!(
            (notice.whole, names(&notice)),
            (true, vec!["share 1", "share 2"])
        );
        assert_eq!(
            next(&own(&[(1, 1), (2, 1)]), Some(&told), false, 10_000),
            None
        );
        let later = own(&[(2, 2), (3, 1)]);
        let (notice, told) = next(&later, Some(&told), false, 10_000).unwrap();
        assert_eq!(
            (notice.whole, names(&notice)),
            (false, vec!["share 2", "share 3"])
        );
        assert_eq!(notice.ended, [ShareId::new([1; 16]).to_string()]);
        assert_eq!(next(&later, Some(&told), false, 10_000), None);
        assert_eq!(SyncState::decode(&told.encode()), Some(told));
    }

    #[test]
    fn what_does_not_fit_follows_in_further_messages() {
        let shares: Vec<_> = (0..100).map(|id| (id, 1)).collect();
        let own = own(&shares);
        let (mut told, mut heard, mut messages) = (None, Vec::new(), 0);
        while let Some((notice, after)) = next(&own, told.as_ref(), false, 2000) {
            assert_eq!(notice.whole, messages == 0, "only the first one forgets");
            assert!(serde_json::to_vec(&notice).unwrap().len() < 2100);
            heard.extend(notice.shares);
            (told, messages) = (Some(after), messages + 1);
        }
        assert!(heard.len() == 100 && messages > 10, "{messages}");
        assert_eq!(next(&own, None, false, 10), None, "not even one fits");
    }

    #[test]
    fn nothing_is_said_of_nothing_unless_asked() {
        assert_eq!(next(&own(&[]), None, false, 1000), None);
        let (notice, told) = next(&own(&[]), None, true, 1000).unwrap();
        assert!(notice.whole && notice.shares.is_empty() && told == SyncState::default());
    }

    #[test]
    fn who_is_away_is_told_less_and_less_often() {
        let paces: Vec<_> = (0..MAX_AWAY).map(pace).collect();
        assert!(paces.is_sorted() && paces[0] == PACE && paces[15] == LONGEST_PACE);
        for broken in [&b""[..], &[0; 3], &[0; 5], &[0; 4 + SHARE + 1]] {
            assert_eq!(SyncState::decode(broken), None);
        }
    }
}
