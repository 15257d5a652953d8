//! Another branch of a forked log, shown to a relay: by whom, which, and when the node dies in the
//! middle of taking it.

use crate::groups_common::{Answer, Caller, INVALID, NOT_FOUND, Place, mark, sealed};
use bytes::Bytes;
use hither_proto::{
    Action, DeviceId, GroupAnswer, GroupBranch, GroupId, GroupRequest, GroupStanding, Membership,
    Policy, SignedEntry,
};
use hither_relay::state::Expect;

/// A branch of what some do one after the other, by the keys of `callers`.
fn branch(base: &Membership, acts: &[(&Caller, Action)]) -> GroupBranch {
    let (mut at, mut entries) = (base.clone(), Vec::new());
    for (author, action) in acts {
        let entry = author.entry(&at, action.clone());
        at.apply(&entry).unwrap();
        entries.push(entry);
    }
    GroupBranch::follow(base, entries).unwrap()
}

fn bytes(entries: &[SignedEntry]) -> Vec<Bytes> {
    entries
        .iter()
        .map(|entry| Bytes::copy_from_slice(entry.bytes()))
        .collect()
}

async fn shows(caller: &mut Caller, group: GroupId, branch: &GroupBranch) -> Answer {
    caller
        .ask(GroupRequest::Branch {
            group,
            entries: bytes(branch.entries()),
        })
        .await
}

/// The relay has this log now, and everything that follows from it.
async fn has(caller: &mut Caller, base: u64, branch: &GroupBranch) {
    let group = branch.after().group();
    let Ok(GroupAnswer::Log { total, entries, .. }) =
        caller.ask(GroupRequest::Log { group, from: base }).await
    else {
        panic!()
    };
    assert_eq!(
        (total, entries),
        (branch.after().entries(), bytes(branch.entries()))
    );
    let Ok(GroupAnswer::Members { members, .. }) = caller.ask(GroupRequest::Roll { group }).await
    else {
        panic!()
    };
    let found: Vec<DeviceId> = members.iter().map(|member| member.device).collect();
    assert_eq!(
        found,
        branch.after().members().keys().copied().collect::<Vec<_>>()
    );
}

fn add(device: &Caller) -> Action {
    Action::Add {
        device: device.id(),
    }
}

fn remove(device: &Caller, key: u8) -> Action {
    Action::Remove {
        device: device.id(),
        key: mark(key),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_branch_that_prevails_is_kept_whoever_shows_it() {
    let mut place = Place::new(Policy::Open).await;
    let (group, from) = (place.group.group(), place.group.entries());
    let kept = branch(&place.group, &[(&place.member, add(&place.asker))]);
    assert_eq!(
        place.member.append(&kept.entries()[0], &[]).await,
        Ok(GroupAnswer::Done)
    );
    let shown = branch(
        &place.group,
        &[
            (&place.admin, remove(&place.member, 2)),
            (&place.admin, Action::Rotate { key: mark(3) }),
        ],
    );
    // Not by who is a member in neither, nor a part that follows nothing here, nor of another
    // group.
    assert_eq!(shows(&mut place.stranger, group, &shown).await, NOT_FOUND);
    let entries = bytes(&shown.entries()[1..]);
    assert_eq!(
        place
            .admin
            .ask(GroupRequest::Branch { group, entries })
            .await,
        Ok(GroupAnswer::Behind { next: from + 1 })
    );
    let nowhere = GroupId::new([9; 32]);
    assert_eq!(shows(&mut place.admin, nowhere, &shown).await, INVALID);
    assert_eq!(
        place
            .admin
            .ask(GroupRequest::Branch {
                group,
                entries: vec![]
            })
            .await,
        INVALID
    );
    // Nor forged, nor what the rules forbid.
    let mut forged = bytes(shown.entries());
    forged[0] = {
        let mut bytes = forged[0].to_vec();
        bytes[40] ^= 1;
        bytes.into()
    };
    assert_eq!(
        place
            .admin
            .ask(GroupRequest::Branch {
                group,
                entries: forged
            })
            .await,
        INVALID
    );
    let forbidden = place.member.entry(&place.group, remove(&place.admin, 9));
    let entries = bytes(&[forbidden]);
    assert_eq!(
        place
            .member
            .ask(GroupRequest::Branch { group, entries })
            .await,
        INVALID
    );
    has(&mut place.admin, from, &kept).await;
    // The admin's, with a removal, prevails; also when it is the removed one that shows it.
    assert_eq!(
        shows(&mut place.member, group, &shown).await,
        Ok(GroupAnswer::Done)
    );
    has(&mut place.admin, from, &shown).await;
    assert_eq!(place.member.standing(group).await, GroupStanding::Removed);
    assert_eq!(
        place.asker.standing(group).await,
        GroupStanding::None,
        "its joining was lost"
    );
    assert_eq!(
        place.member.ask(GroupRequest::Mine).await,
        Ok(GroupAnswer::Mine(vec![]))
    );
    // Shown again it is there; the other one is not taken back, however much longer it has become.
    assert_eq!(
        shows(&mut place.admin, group, &shown).await,
        Ok(GroupAnswer::Done)
    );
    let longer = branch(
        &place.group,
        &[
            (&place.member, add(&place.asker)),
            (&place.member, add(&place.stranger)),
            (&place.asker, Action::Leave),
        ],
    );
    for caller in [&mut place.member, &mut place.admin] {
        assert_eq!(
            shows(caller, group, &longer).await,
            Ok(GroupAnswer::Behind { next: from + 2 })
        );
    }
    has(&mut place.admin, from, &shown).await;
    // Secrets of the branch that was given up are not taken for those of this one.
    let own = place.admin.id();
    let stale = GroupRequest::Keys {
        group,
        mark: mark(1),
        keys: vec![sealed(own)],
    };
    assert_eq!(
        place.admin.ask(stale).await,
        Ok(GroupAnswer::Behind { next: from + 2 })
    );
    let Ok(GroupAnswer::Log { sealed: none, .. }) =
        place.admin.ask(GroupRequest::Log { group, from }).await
    else {
        panic!()
    };
    assert_eq!(none, None);
    let right = GroupRequest::Keys {
        group,
        mark: mark(3),
        keys: vec![sealed(own)],
    };
    assert_eq!(place.admin.ask(right).await, Ok(GroupAnswer::Done));
    // It goes on from there.
    let mut after = shown.after().clone();
    assert_eq!(
        place.asker.asks(group, place.admin.id()).await,
        Ok(GroupAnswer::Done)
    );
    let back = place.admin.entry(&after, add(&place.asker));
    let new = place.asker.id();
    assert_eq!(
        place.admin.append(&back, &[new]).await,
        Ok(GroupAnswer::Done)
    );
    after.apply(&back).unwrap();
    assert_eq!(
        place.asker.ask(GroupRequest::Mine).await,
        Ok(GroupAnswer::Mine(vec![group]))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_decides_between_admins_that_have_removed_each_other() {
    let mut place = Place::new(Policy::Open).await;
    let group = place.group.group();
    let promote = place.admin.entry(
        &place.group,
        Action::Promote {
            device: place.member.id(),
        },
    );
    assert_eq!(
        place.admin.append(&promote, &[]).await,
        Ok(GroupAnswer::Done)
    );
    place.group.apply(&promote).unwrap();
    let from = place.group.entries();
    let kept = branch(&place.group, &[(&place.member, remove(&place.admin, 2))]);
    assert_eq!(
        place.member.append(&kept.entries()[0], &[]).await,
        Ok(GroupAnswer::Done)
    );
    let shown = branch(
        &place.group,
        &[
            (&place.admin, remove(&place.member, 3)),
            (&place.admin, add(&place.asker)),
        ],
    );
    assert_eq!(shows(&mut place.admin, group, &shown).await, INVALID);
    has(&mut place.member, from, &kept).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_had_begun_to_exchange_when_it_died_is_taken_up() {
    let mut place = Place::new(Policy::Open).await;
    let (group, from) = (place.group.group(), place.group.entries());
    let kept = branch(
        &place.group,
        &[
            (&place.member, add(&place.asker)),
            (&place.asker, Action::Leave),
        ],
    );
    for (author, entry) in [(&mut place.member, 0), (&mut place.asker, 1)] {
        assert_eq!(
            author.append(&kept.entries()[entry], &[]).await,
            Ok(GroupAnswer::Done)
        );
    }
    let shown = branch(&place.group, &[(&place.admin, remove(&place.member, 2))]);
    let state = &place.relay.running.node.state;
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let (id, last) = (hex(group.as_bytes()), hex(shown.after().last()));
    // It had staged the entries and said so, and put none of them in place.
    for entry in shown.entries() {
        let key = format!("{id}/{last}/{:016x}", entry.entry().number);
        state
            .put(
                "group_branches",
                &key,
                Bytes::copy_from_slice(entry.bytes()),
                Expect::Absent,
            )
            .await
            .unwrap();
    }
    let record = [&[0xff][..], &from.to_be_bytes(), &shown.after().encode()].concat();
    state
        .put("groups", &id, record.into(), Expect::Any)
        .await
        .unwrap();
    has(&mut place.admin, from, &shown).await;
    assert!(
        state
            .list("group_branches", "", None, 10)
            .await
            .unwrap()
            .records
            .is_empty()
    );
    let log = state
        .list("group_log", &format!("{id}/"), None, 100)
        .await
        .unwrap();
    assert_eq!(
        log.records.len() as u64,
        shown.after().entries(),
        "nothing of the other branch is left"
    );
}
