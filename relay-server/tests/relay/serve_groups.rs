//! Groups at a relay: who may ask what, what is kept, and who is told (B2–B4).

use crate::groups_common::{Answer, Caller, INVALID, NOT_FOUND, Place, first, mark, sealed};
use crate::serve_common::{Device, Relay};
use bytes::Bytes;
use hither_proto::limits::{MAX_GROUP_NOTE, MAX_GROUPS};
use hither_proto::{
    Action, GroupAnswer, GroupChange, GroupEntry, GroupId, GroupNo, GroupRequest, GroupSealed,
    GroupStanding, Membership, Policy, RelayMessage, RelayRefusalCode,
};
use hither_relay::config::Rate;
use hither_relay::state::Expect;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_by_everyone_who_may_not() {
    let mut place = Place::new(Policy::Approval).await;
    let group = place.group.group();
    let (admin, member, asker) = (place.admin.id(), place.member.id(), place.asker.id());
    for caller in [&mut place.stranger, &mut place.asker] {
        let own = caller.id();
        let closed = [
            GroupRequest::Roll { group },
            GroupRequest::Notes {
                group,
                devices: vec![admin],
            },
            GroupRequest::Note {
                group,
                sealed: Bytes::from_static(b"mine"),
            },
            GroupRequest::Keys {
                group,
                mark: mark(1),
                keys: vec![sealed(admin)],
            },
            GroupRequest::Refuse {
                group,
                sealed: sealed(asker),
            },
        ];
        for what in closed {
            assert_eq!(caller.ask(what.clone()).await, NOT_FOUND, "{what:?}");
        }
        // An entry of its own hand, for itself; and of another's.
        let add = caller.entry(&place.group, Action::Add { device: own });
        assert_eq!(caller.append(&add, &[]).await, NOT_FOUND);
        let stolen = place.admin.signed(place.group.next_entry(
            admin,
            1,
            Action::Promote { device: member },
        ));
        assert_eq!(
            caller.append(&stolen, &[]).await,
            NOT_FOUND,
            "also what an admin has signed"
        );
        assert_eq!(
            caller.ask(GroupRequest::Mine).await,
            Ok(GroupAnswer::Mine(vec![]))
        );
    }
    assert_eq!(place.stranger.standing(group).await, GroupStanding::None);
    assert_eq!(place.asker.standing(group).await, GroupStanding::Asking);
    // "Not yours" and "not there" are one answer.
    let nowhere = GroupId::new([9; 32]);
    assert_eq!(
        place
            .stranger
            .ask(GroupRequest::Roll { group: nowhere })
            .await,
        NOT_FOUND
    );
    assert_eq!(place.stranger.standing(nowhere).await, GroupStanding::None);
    assert_eq!(place.stranger.asks(nowhere, admin).await, NOT_FOUND);
    assert_eq!(
        place
            .stranger
            .ask(GroupRequest::Look { group: nowhere })
            .await,
        NOT_FOUND
    );

    // A member may do what the log's rules let it, and is told of nobody who asks.
    let refuse = GroupRequest::Refuse {
        group,
        sealed: sealed(asker),
    };
    assert_eq!(place.member.ask(refuse).await, NOT_FOUND);
    for action in [
        Action::Add { device: asker },
        Action::Remove {
            device: admin,
            key: mark(2),
        },
        Action::Promote { device: member },
        Action::SetPolicy {
            policy: Policy::Open,
        },
        Action::Rotate { key: mark(2) },
    ] {
        let entry = place.member.entry(&place.group, action);
        assert_eq!(place.member.append(&entry, &[]).await, INVALID, "{entry:?}");
    }
    let Ok(GroupAnswer::Members { members, askers }) =
        place.member.ask(GroupRequest::Roll { group }).await
    else {
        panic!()
    };
    assert_eq!((members.len(), askers.len()), (2, 0));
    // Nobody leaves secrets for who is no member.
    let keys = GroupRequest::Keys {
        group,
        mark: mark(1),
        keys: vec![sealed(asker)],
    };
    assert_eq!(place.member.ask(keys).await, INVALID);
    // Nor does an admin make somebody a member who has not asked, or has never been here.
    for device in [place.stranger.id(), Device::new().id] {
        let entry = place.admin.entry(&place.group, Action::Add { device });
        assert_eq!(place.admin.append(&entry, &[]).await, NOT_FOUND);
    }
    // None of that changed anything.
    let Ok(GroupAnswer::Log { total, entries, .. }) =
        place.admin.ask(GroupRequest::Log { group, from: 0 }).await
    else {
        panic!()
    };
    assert_eq!((total, entries.len()), (2, 2));
    let Ok(GroupAnswer::Members { askers, .. }) =
        place.admin.ask(GroupRequest::Roll { group }).await
    else {
        panic!()
    };
    assert_eq!(
        askers.iter().map(|one| one.device).collect::<Vec<_>>(),
        [asker]
    );
    place.relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_told_what_they_need_and_those_who_are_out_no_more() {
    let mut place = Place::new(Policy::Approval).await;
    let group = place.group.group();
    let (admin, member, asker) = (place.admin.id(), place.member.id(), place.asker.id());
    for caller in [&mut place.admin, &mut place.member] {
        assert_eq!(
            caller.ask(GroupRequest::Mine).await,
            Ok(GroupAnswer::Mine(vec![group]))
        );
    }
    for caller in [&mut place.asker, &mut place.stranger] {
        assert_eq!(
            caller.ask(GroupRequest::Mine).await,
            Ok(GroupAnswer::Mine(vec![]))
        );
    }
    // What a member says reaches the others, under its name.
    let note = Bytes::from_static(b"what the member says");
    assert_eq!(
        place
            .member
            .ask(GroupRequest::Note {
                group,
                sealed: note.clone()
            })
            .await,
        Ok(GroupAnswer::Done)
    );
    place.admin.hears(GroupChange::Note(group, member)).await;
    let devices = vec![member, admin, asker];
    let Ok(GroupAnswer::Notes(notes)) = place
        .admin
        .ask(GroupRequest::Notes { group, devices })
        .await
    else {
        panic!()
    };
    assert_eq!(
        notes
            .iter()
            .map(|note| (note.device, note.sealed.clone()))
            .collect::<Vec<_>>(),
        [(member, note)]
    );
    // The secret is for whom it was sealed; the first that was left counts, but for an admin's.
    let log = |answer: Answer| match answer {
        Ok(GroupAnswer::Log { sealed, .. }) => sealed.map(|sealed| (sealed.device, sealed.sealed)),
        other => panic!("{other:?}"),
    };
    let mine = log(place.member.ask(GroupRequest::Log { group, from: 2 }).await);
    assert_eq!(mine, Some((admin, Bytes::from_static(b"sealed"))));
    let other = GroupSealed {
        device: admin,
        sealed: Bytes::from_static(b"another"),
    };
    let keys = GroupRequest::Keys {
        group,
        mark: mark(1),
        keys: vec![other],
    };
    assert_eq!(place.member.ask(keys).await, Ok(GroupAnswer::Done));
    let mine = log(place.admin.ask(GroupRequest::Log { group, from: 2 }).await);
    assert_eq!(mine, Some((admin, Bytes::from_static(b"sealed"))));
    // The one who asks is let in, and hears so; so do the others.
    let add = place
        .admin
        .entry(&place.group, Action::Add { device: asker });
    assert_eq!(
        place.admin.append(&add, &[asker]).await,
        Ok(GroupAnswer::Done)
    );
    place.group.apply(&add).unwrap();
    place.asker.hears(GroupChange::Log(group)).await;
    place.member.hears(GroupChange::Log(group)).await;
    assert_eq!(place.asker.standing(group).await, GroupStanding::Member);
    // Its coming and going is told to members only.
    let gone = |message: &RelayMessage| match message {
        RelayMessage::GroupNews { changes, .. } => changes.iter().find_map(|change| match change {
            GroupChange::Presence(of, one)
                if *of == group && one.device == asker && !one.online =>
            {
                Some(())
            }
            _ => None,
        }),
        _ => None,
    };
    place.asker.talk.link.close("bye");
    place.member.talk.find(gone).await;
    let quiet =
        |message: &RelayMessage| matches!(message, RelayMessage::GroupNews { .. }).then_some(());
    assert!(
        place
            .stranger
            .talk
            .silent_of(quiet, Duration::from_millis(300))
            .await
    );
    // Who is removed is told once, has no note and no secret there, and learns nothing after.
    place.member.talk.forget();
    let remove = place.admin.entry(
        &place.group,
        Action::Remove {
            device: member,
            key: mark(2),
        },
    );
    assert_eq!(
        place.admin.append(&remove, &[admin, asker]).await,
        Ok(GroupAnswer::Done)
    );
    place.group.apply(&remove).unwrap();
    place.member.hears(GroupChange::Log(group)).await;
    assert_eq!(place.member.standing(group).await, GroupStanding::Removed);
    assert_eq!(
        place.member.ask(GroupRequest::Roll { group }).await,
        NOT_FOUND
    );
    place.member.talk.forget();
    assert_eq!(
        place
            .admin
            .ask(GroupRequest::Note {
                group,
                sealed: Bytes::from_static(b"later")
            })
            .await,
        Ok(GroupAnswer::Done)
    );
    assert!(
        place
            .member
            .talk
            .silent_of(quiet, Duration::from_millis(300))
            .await
    );
    let state = &place.relay.running.node.state;
    let kept = |bucket: &'static str| async move {
        state
            .list(bucket, "", None, 100)
            .await
            .unwrap()
            .records
            .into_iter()
            .map(|r| r.key)
            .collect::<Vec<_>>()
    };
    let hex: String = member
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for bucket in [
        "group_keys",
        "group_notes",
        "group_digests",
        "group_members",
        "group_asks",
    ] {
        assert!(
            kept(bucket).await.iter().all(|key| !key.contains(&hex)),
            "{bucket}"
        );
    }
    assert_eq!(
        kept("group_keys").await.len(),
        2,
        "those of the first generation are swept"
    );
    place.relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_looked_before_a_secret_was_left_for_it_is_told_when_one_is() {
    let mut place = Place::new(Policy::Approval).await;
    let group = place.group.group();
    let (admin, member) = (place.admin.id(), place.member.id());
    assert_eq!(
        place.member.ask(GroupRequest::Mine).await,
        Ok(GroupAnswer::Mine(vec![group]))
    );
    // The next generation begins without its secret, as when a branch of the log is brought back.
    let rotate = place
        .admin
        .entry(&place.group, Action::Rotate { key: mark(2) });
    assert_eq!(
        place.admin.append(&rotate, &[admin]).await,
        Ok(GroupAnswer::Done)
    );
    place.member.hears(GroupChange::Log(group)).await;
    let Ok(GroupAnswer::Log { sealed: none, .. }) =
        place.member.ask(GroupRequest::Log { group, from: 2 }).await
    else {
        panic!()
    };
    assert_eq!(none, None);
    place.member.talk.forget();
    let keys = GroupRequest::Keys {
        group,
        mark: mark(2),
        keys: vec![sealed(member)],
    };
    assert_eq!(place.admin.ask(keys).await, Ok(GroupAnswer::Done));
    place.member.hears(GroupChange::Log(group)).await;
    place.relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_write_at_once_are_put_in_an_order_and_a_repeated_entry_is_one() {
    let mut place = Place::new(Policy::Open).await;
    let group = place.group.group();
    let asker = place.asker.id();
    let new = [asker];
    let one = place
        .admin
        .entry(&place.group, Action::Add { device: asker });
    let two = place
        .member
        .entry(&place.group, Action::Add { device: asker });
    let (first, second) = tokio::join!(
        place.admin.append(&one, &new),
        place.member.append(&two, &new)
    );
    let behind = Ok(GroupAnswer::Behind { next: 3 });
    assert!(
        (first == Ok(GroupAnswer::Done) && second == behind)
            || (second == Ok(GroupAnswer::Done) && first == behind),
        "{first:?} {second:?}"
    );
    // Who did not hear the answer sends it again.
    let (winner, entry) = if first == behind {
        (&mut place.member, &two)
    } else {
        (&mut place.admin, &one)
    };
    assert_eq!(winner.append(entry, &[]).await, Ok(GroupAnswer::Done));
    place.group.apply(entry).unwrap();
    // A fork: the right number, after another entry than the last.
    let fork = GroupEntry {
        previous: [7; 32],
        ..place.group.next_entry(place.admin.id(), 1, Action::Leave)
    };
    let fork = place.admin.signed(fork);
    assert_eq!(place.admin.append(&fork, &[]).await, INVALID);
    assert_eq!(
        place
            .admin
            .append(&place.admin.entry(&place.group, Action::Leave).clone(), &[])
            .await,
        INVALID
    );
    assert_eq!(place.asker.standing(group).await, GroupStanding::Member);
    place.relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_had_begun_when_it_died_is_taken_up() {
    let mut place = Place::new(Policy::Approval).await;
    let group = place.group.group();
    let asker = place.asker.id();
    // The entry is in the log, and nothing that follows from it has been done.
    let add = place
        .admin
        .entry(&place.group, Action::Add { device: asker });
    let hex: String = group
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let state = &place.relay.running.node.state;
    let value = Bytes::copy_from_slice(add.bytes());
    state
        .put(
            "group_log",
            &format!("{hex}/{:016x}", 2),
            value,
            Expect::Absent,
        )
        .await
        .unwrap();
    assert_eq!(place.asker.standing(group).await, GroupStanding::Member);
    assert_eq!(
        place.asker.ask(GroupRequest::Mine).await,
        Ok(GroupAnswer::Mine(vec![group]))
    );
    assert_eq!(
        place.admin.append(&add, &[asker]).await,
        Ok(GroupAnswer::Done),
        "sent again"
    );
    // Everything survives the death of the relay.
    let relay = place.relay.restart(|_| {}).await;
    let mut again = place.asker;
    again.talk = again.device.hello(&relay.address(), None).await.unwrap();
    let Ok(GroupAnswer::Log {
        total, standing, ..
    }) = again.ask(GroupRequest::Log { group, from: 0 }).await
    else {
        panic!()
    };
    assert_eq!((total, standing), (3, GroupStanding::Member));
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_relay_has_lost_is_brought_back_by_any_member() {
    let mut place = Place::new(Policy::Approval).await;
    let group = place.group.group();
    // As if restored from a backup: the admin had let somebody in, and only the member knows.
    let add = place.admin.entry(
        &place.group,
        Action::Add {
            device: place.stranger.id(),
        },
    );
    assert_eq!(
        place.admin.append(&add, &[]).await,
        NOT_FOUND,
        "its author needs its consent"
    );
    assert_eq!(place.asker.append(&add, &[]).await, NOT_FOUND);
    assert_eq!(place.member.append(&add, &[]).await, Ok(GroupAnswer::Done));
    assert_eq!(place.stranger.standing(group).await, GroupStanding::Member);
    // Nobody writes in the name of another.
    place.group.apply(&add).unwrap();
    let forged = place.group.next_entry(
        place.admin.id(),
        1,
        Action::Promote {
            device: place.member.id(),
        },
    );
    let forged = place.member.signed(forged);
    assert_eq!(place.member.append(&forged, &[]).await, INVALID);
    place.relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b3_b4_groups_are_found_and_asked_by_their_policies() {
    let mut place = Place::new(Policy::Approval).await;
    let group = place.group.group();
    let policy = place.admin.entry(
        &place.group,
        Action::SetPolicy {
            policy: Policy::AllowList([].into()),
        },
    );
    assert_eq!(
        place.admin.append(&policy, &[]).await,
        Ok(GroupAnswer::Done)
    );
    place.group.apply(&policy).unwrap();
    let stranger = &mut place.stranger;
    let Ok(GroupAnswer::Found { found, more }) = stranger
        .ask(GroupRequest::Find {
            text: "cHoI".into(),
        })
        .await
    else {
        panic!()
    };
    assert_eq!(
        (found.len(), more, found[0].group, found[0].members),
        (1, false, group, 2)
    );
    assert_eq!(found[0].name.as_ref().unwrap().as_str(), "The Choir");
    let none = stranger
        .ask(GroupRequest::Find {
            text: "band".into(),
        })
        .await;
    assert_eq!(
        none,
        Ok(GroupAnswer::Found {
            found: vec![],
            more: false
        })
    );
    let Ok(GroupAnswer::How { readers, .. }) = stranger.ask(GroupRequest::Look { group }).await
    else {
        panic!()
    };
    assert_eq!(readers, [place.admin.id()]);
    let admin = place.admin.id();
    assert_eq!(
        stranger.asks(group, admin).await,
        Ok(GroupAnswer::No(GroupNo::NotListed))
    );
    assert_eq!(
        stranger.standing(group).await,
        GroupStanding::None,
        "nothing is kept of it"
    );
    // On the list, any member lets it in.
    let allowed = Policy::AllowList([stranger.id()].into());
    let policy = place
        .admin
        .entry(&place.group, Action::SetPolicy { policy: allowed });
    assert_eq!(
        place.admin.append(&policy, &[]).await,
        Ok(GroupAnswer::Done)
    );
    place.group.apply(&policy).unwrap();
    let new = place.stranger.id();
    assert_eq!(
        place.stranger.asks(group, admin).await,
        Ok(GroupAnswer::Done)
    );
    let add = place
        .member
        .entry(&place.group, Action::Add { device: new });
    assert_eq!(
        place.member.append(&add, &[new]).await,
        Ok(GroupAnswer::Done)
    );
    place.group.apply(&add).unwrap();
    assert_eq!(
        place.stranger.asks(group, admin).await,
        Ok(GroupAnswer::No(GroupNo::Member))
    );
    // A group whose name is sealed is not found.
    let hidden = first(&place.admin, None, Policy::Open);
    assert_eq!(
        place.admin.append(&hidden, &[admin]).await,
        Ok(GroupAnswer::Done)
    );
    let Ok(GroupAnswer::Found { found, .. }) = place
        .member
        .ask(GroupRequest::Find {
            text: String::new(),
        })
        .await
    else {
        panic!()
    };
    assert_eq!(found.len(), 1);
    // It ends with its last member, and nothing is left of it.
    let alone = Membership::begin(&hidden).unwrap();
    let leave = place.admin.entry(&alone, Action::Leave);
    assert_eq!(place.admin.append(&leave, &[]).await, Ok(GroupAnswer::Done));
    assert_eq!(
        place
            .member
            .ask(GroupRequest::Look {
                group: hidden.group()
            })
            .await,
        NOT_FOUND
    );
    let state = &place.relay.running.node.state;
    for bucket in ["groups", "group_log", "group_keys", "group_members"] {
        let kept = state.list(bucket, "", None, 100).await.unwrap().records;
        let hex: String = hidden
            .group()
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert!(
            kept.iter().all(|record| !record.key.contains(&hex)),
            "{bucket}"
        );
    }
    place.relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b4_a_refusal_is_kept_for_the_one_who_asked() {
    let mut place = Place::new(Policy::Approval).await;
    let group = place.group.group();
    let asker = place.asker.id();
    let reason = GroupSealed {
        device: asker,
        sealed: Bytes::from_static(b"no"),
    };
    assert_eq!(
        place
            .admin
            .ask(GroupRequest::Refuse {
                group,
                sealed: reason.clone()
            })
            .await,
        Ok(GroupAnswer::Done)
    );
    let Ok(GroupAnswer::Log {
        standing, sealed, ..
    }) = place.asker.ask(GroupRequest::Log { group, from: 0 }).await
    else {
        panic!()
    };
    assert_eq!(
        (standing, sealed.unwrap().sealed),
        (GroupStanding::Refused, reason.sealed.clone())
    );
    let Ok(GroupAnswer::Members { askers, .. }) =
        place.admin.ask(GroupRequest::Roll { group }).await
    else {
        panic!()
    };
    assert!(askers.is_empty());
    // It may ask again, and stop asking.
    assert_eq!(
        place.asker.asks(group, place.admin.id()).await,
        Ok(GroupAnswer::Done)
    );
    assert_eq!(place.asker.standing(group).await, GroupStanding::Asking);
    assert_eq!(
        place.asker.ask(GroupRequest::Unask { group }).await,
        Ok(GroupAnswer::Done)
    );
    assert_eq!(place.asker.standing(group).await, GroupStanding::None);
    let refuse = GroupRequest::Refuse {
        group,
        sealed: reason,
    };
    assert_eq!(place.admin.ask(refuse).await, NOT_FOUND);
    place.relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_bounded_and_rate_limited() {
    let relay = Relay::start(|config| {
        config.limits.group = Rate {
            per_second: 0.001,
            burst: 2.0 * MAX_GROUPS as f64 + 2.0,
        };
    })
    .await;
    let mut one = Caller::new(&relay).await;
    let own = one.id();
    for number in 0..=MAX_GROUPS {
        let created = first(&one, Some(&format!("group {number}")), Policy::Open);
        let expected = match number < MAX_GROUPS {
            true => GroupAnswer::Done,
            false => GroupAnswer::No(GroupNo::TooManyGroups),
        };
        assert_eq!(one.append(&created, &[own]).await, Ok(expected), "{number}");
    }
    assert_eq!(
        one.ask(GroupRequest::Mine).await,
        Err(RelayRefusalCode::Busy)
    );
    // Another one has its own part; what is too long is no message.
    let mut other = Caller::new(&relay).await;
    other.ask(GroupRequest::Mine).await.unwrap();
    let note = Bytes::from(vec![7; MAX_GROUP_NOTE + 1]);
    let what = Box::new(GroupRequest::Note {
        group: GroupId::new([1; 32]),
        sealed: note,
    });
    other
        .talk
        .say(RelayMessage::Group { request: 9, what })
        .await;
    assert_eq!(
        other.talk.ended().await.map(|why| why.code),
        Some(RelayRefusalCode::Invalid)
    );
    relay.running.stop().await;
}
