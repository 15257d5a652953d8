use super::*;
use crate::device::DeviceId;
use crate::ids::{GroupId, KeyMark};
use crate::limits::{
    MAX_GROUP_ALLOWED, MAX_GROUP_ENTRY, MAX_GROUP_LOG_BYTES, MAX_GROUP_MEMBERS, MAX_GROUP_NAMED,
};
use libp2p_identity::ed25519;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// A device that can sign.
pub(super) struct Signer(ed25519::Keypair);

impl Signer {
    pub(super) fn new(seed: u16) -> Self {
        let mut bytes = [7; 32];
        bytes[..2].copy_from_slice(&seed.to_be_bytes());
        Self(ed25519::SecretKey::try_from_bytes(bytes).unwrap().into())
    }

    pub(super) fn id(&self) -> DeviceId {
        DeviceId::from_slice(&self.0.public().to_bytes()).unwrap()
    }

    fn sign(&self, entry: Entry) -> SignedEntry {
        SignedEntry::sign(entry, |message| self.0.sign(message).try_into().unwrap())
    }

    /// What it writes next, whether it may or not.
    pub(super) fn next(&self, of: &Membership, action: Action) -> SignedEntry {
        self.sign(of.next_entry(self.id(), 1, action))
    }
}

pub(super) fn mark(number: u8) -> KeyMark {
    KeyMark::new([number; 32])
}

pub(super) fn first(author: &Signer, policy: Policy, admins: &[DeviceId]) -> SignedEntry {
    author.sign(Entry {
        group: GroupId::new([0; 32]),
        number: 0,
        previous: [0; 32],
        author: author.id(),
        time_ms: 5,
        action: Action::Create {
            name: NameSeal::Clear(GroupName::parse("choir").unwrap()),
            key: mark(1),
            policy,
            admins: admins.iter().copied().collect(),
        },
    })
}

pub(super) fn signers() -> [Signer; 4] {
    [0, 1, 2, 3].map(Signer::new)
}

/// A group with an admin, and two members.
pub(super) fn group(policy: Policy) -> (Vec<SignedEntry>, Membership) {
    let [a, b, c, _] = signers();
    let mut log = vec![first(&a, policy, &[a.id()])];
    let mut membership = Membership::begin(&log[0]).unwrap();
    for device in [b.id(), c.id()] {
        let entry = a.next(&membership, Action::Add { device });
        membership.apply(&entry).unwrap();
        log.push(entry);
    }
    (log, membership)
}

/// What comes of an action.
fn attempt(of: &Membership, author: &Signer, action: Action) -> Result<Membership, LogError> {
    let mut after = of.clone();
    after.apply(&author.next(of, action)).map(|()| after)
}

#[test]
fn only_admins_decide_and_members_may_leave() {
    let [a, b, c, stranger] = signers();
    let (_, group) = group(Policy::Approval);
    let d = stranger.id();
    for action in [
        Action::Remove {
            device: c.id(),
            key: mark(2),
        },
        Action::Promote { device: c.id() },
        Action::SetPolicy {
            policy: Policy::Open,
        },
        Action::Rotate { key: mark(2) },
    ] {
        assert_eq!(
            attempt(&group, &b, action.clone()),
            Err(LogError::NotAdmin),
            "{action:?}"
        );
        assert_eq!(
            attempt(&group, &stranger, action.clone()),
            Err(LogError::NotMember)
        );
        attempt(&group, &a, action).unwrap();
    }
    assert_eq!(
        attempt(&group, &b, Action::Add { device: d }),
        Err(LogError::MayNotJoin)
    );
    assert_eq!(
        attempt(&group, &stranger, Action::Add { device: d }),
        Err(LogError::NotMember)
    );
    assert_eq!(
        attempt(&group, &stranger, Action::Leave),
        Err(LogError::NotMember)
    );
    assert_eq!(
        attempt(&group, &a, Action::Add { device: b.id() }),
        Err(LogError::Nothing)
    );
    assert_eq!(attempt(&group, &a, Action::Leave), Err(LogError::LastAdmin));
    assert_eq!(
        attempt(
            &group,
            &a,
            Action::Remove {
                device: a.id(),
                key: mark(2)
            }
        ),
        Err(LogError::Nothing)
    );
    let promoted = attempt(&group, &a, Action::Promote { device: b.id() }).unwrap();
    let left = attempt(&promoted, &a, Action::Leave).unwrap();
    assert!(left.is_stale() && left.generation() == 1 && left.role(&a.id()).is_none());
    // Who stays begins the next generation, admin or not; once.
    let rotated = attempt(&left, &c, Action::Rotate { key: mark(2) }).unwrap();
    assert_eq!((rotated.generation(), rotated.is_stale()), (2, false));
    assert_eq!(
        attempt(&rotated, &c, Action::Rotate { key: mark(3) }),
        Err(LogError::NotAdmin)
    );
}

#[test]
fn the_policy_says_who_gets_in_and_whom_a_member_may_add() {
    let [a, b, _, stranger] = signers();
    let d = stranger.id();
    let add = Action::Add { device: d };
    let (_, open) = group(Policy::Open);
    assert_eq!(open.joining(&d), Joining::Free);
    let joined = attempt(&open, &b, add.clone()).unwrap();
    assert_eq!(
        (joined.role(&d), joined.joining(&d)),
        (Some(Role::Member), Joining::Member)
    );
    // Who was removed does not come back by itself, also into an open group.
    let removed = attempt(
        &joined,
        &a,
        Action::Remove {
            device: d,
            key: mark(2),
        },
    )
    .unwrap();
    assert!(removed.was_removed(&d) && removed.generation() == 2);
    assert_eq!(removed.joining(&d), Joining::Removed);
    assert_eq!(
        attempt(&removed, &b, add.clone()),
        Err(LogError::MayNotJoin)
    );
    let back = attempt(&removed, &a, add.clone()).unwrap();
    assert!(!back.was_removed(&d));
    // Who left may.
    let left = attempt(&joined, &stranger, Action::Leave).unwrap();
    assert_eq!(left.joining(&d), Joining::Free);
    let (_, listed) = group(Policy::AllowList([d].into()));
    attempt(&listed, &b, add.clone()).unwrap();
    let (_, unlisted) = group(Policy::AllowList(BTreeSet::new()));
    assert_eq!(unlisted.joining(&d), Joining::NotListed);
    assert_eq!(
        attempt(&unlisted, &b, add.clone()),
        Err(LogError::MayNotJoin)
    );
    attempt(&unlisted, &a, add).unwrap();
}

#[test]
fn who_is_named_admin_when_the_group_is_made_is_one_by_joining() {
    let [a, b, c, _] = signers();
    let only = |admins: &[DeviceId]| Membership::begin(&first(&a, Policy::Approval, admins));
    let group = only(&[b.id()]).unwrap();
    assert_eq!(
        (group.role(&a.id()), group.joining(&b.id())),
        (Some(Role::Member), Joining::Free)
    );
    assert_eq!(
        attempt(&group, &a, Action::Add { device: c.id() }),
        Err(LogError::MayNotJoin)
    );
    let with = attempt(&group, &a, Action::Add { device: b.id() }).unwrap();
    assert_eq!(with.role(&b.id()), Some(Role::Admin));
    assert!(with.named().is_empty());
    assert_eq!(only(&[]), Err(LogError::LastAdmin));
}

#[test]
fn the_last_member_ends_the_group() {
    let [a, b, ..] = signers();
    let alone = Membership::begin(&first(&a, Policy::Open, &[a.id()])).unwrap();
    let ended = attempt(&alone, &a, Action::Leave).unwrap();
    assert!(ended.members().is_empty());
    assert_eq!(
        attempt(&ended, &a, Action::Add { device: b.id() }),
        Err(LogError::Ended)
    );
}

#[test]
fn a_group_is_bounded() {
    let [a, ..] = signers();
    let mut group = Membership::begin(&first(&a, Policy::Open, &[a.id()])).unwrap();
    for seed in 0..MAX_GROUP_MEMBERS as u16 - 1 {
        group = attempt(
            &group,
            &a,
            Action::Add {
                device: Signer::new(seed + 9).id(),
            },
        )
        .unwrap();
    }
    assert_eq!(
        attempt(
            &group,
            &a,
            Action::Add {
                device: Signer::new(9999).id()
            }
        ),
        Err(LogError::Full)
    );
    assert_eq!(Membership::decode(&group.encode()), Ok(group.clone()));
    assert!(group.encode().len() < 48 * 1024);
    // The longest entry that there may be fits its bound, and one more does not parse.
    let some = |count: usize| {
        (0..count as u16)
            .map(|seed| Signer::new(seed).id())
            .collect::<BTreeSet<_>>()
    };
    let admins: Vec<_> = some(MAX_GROUP_NAMED).into_iter().collect();
    let long = first(&a, Policy::AllowList(some(MAX_GROUP_ALLOWED)), &admins);
    assert!(long.bytes().len() <= MAX_GROUP_ENTRY);
    assert_eq!(SignedEntry::open(long.bytes()), Ok(long.clone()));
    let longer = first(&a, Policy::AllowList(some(MAX_GROUP_ALLOWED + 1)), &admins);
    assert_eq!(
        SignedEntry::open(longer.bytes()),
        Err(EntryError::Malformed)
    );
}

#[test]
fn a_log_is_bounded_by_its_bytes_too() {
    let [a, ..] = signers();
    let mut group = Membership::begin(&first(&a, Policy::Open, &[a.id()])).unwrap();
    let lists: [BTreeSet<_>; 2] = [0, 1].map(|from| {
        (from..from + MAX_GROUP_ALLOWED as u16)
            .map(|seed| Signer::new(seed).id())
            .collect()
    });
    let mut bytes = 0;
    for policy in lists
        .iter()
        .cycle()
        .map(|list| Policy::AllowList(list.clone()))
    {
        let entry = a.next(&group, Action::SetPolicy { policy });
        match group.apply(&entry) {
            Ok(()) => bytes += entry.bytes().len() as u64,
            Err(error) => {
                assert_eq!(error, LogError::Full);
                break;
            }
        }
    }
    assert!(
        bytes < MAX_GROUP_LOG_BYTES && bytes > MAX_GROUP_LOG_BYTES - MAX_GROUP_ENTRY as u64,
        "{bytes}"
    );
}

#[test]
fn a_forged_entry_is_refused() {
    let [a, b, c, _] = signers();
    let (_, group) = group(Policy::Approval);
    // Signed by another than its author.
    let entry = group.next_entry(a.id(), 1, Action::Promote { device: c.id() });
    let forged = SignedEntry::sign(entry, |message| b.0.sign(message).try_into().unwrap());
    assert_eq!(
        SignedEntry::open(forged.bytes()),
        Err(EntryError::Signature)
    );
    // Any bit turned.
    let good = a.next(&group, Action::Promote { device: c.id() });
    for at in 0..good.bytes().len() {
        let mut bytes = good.bytes().to_vec();
        bytes[at] ^= 1;
        assert!(SignedEntry::open(&bytes).is_err(), "byte {at}");
    }
}

#[test]
fn a_log_that_was_cut_reordered_repeated_or_forked_is_refused() {
    let [a, b, c, d] = signers();
    let (log, group) = group(Policy::Open);
    let id = group.group();
    let replay = |log: &[&SignedEntry]| Membership::replay(id, log.iter().copied());
    let [one, two, three] = &log[..] else {
        panic!()
    };
    assert_eq!(replay(&[one, two, three]).as_ref(), Ok(&group));
    // Cut at the end, it is an older log and no forgery; cut elsewhere it is none.
    assert_eq!(replay(&[one, two]).unwrap().entries(), 2);
    assert_eq!(
        replay(&[one, three]),
        Err(LogError::Number { number: 2, at: 1 })
    );
    assert_eq!(replay(&[two, three]), Err(LogError::Chain));
    assert_eq!(
        replay(&[one, three, two]),
        Err(LogError::Number { number: 2, at: 1 })
    );
    assert_eq!(
        replay(&[one, two, two, three]),
        Err(LogError::Number { number: 1, at: 2 })
    );
    assert_eq!(
        replay(&[one, two, three, one]),
        Err(LogError::Number { number: 0, at: 3 })
    );
    assert_eq!(replay(&[]), Err(LogError::Chain));
    // A fork: another second entry.
    let begun = replay(&[one]).unwrap();
    let other = a.next(&begun, Action::Add { device: d.id() });
    assert_eq!(replay(&[one, &other, three]), Err(LogError::Chain));
    // An entry of another group with the same number.
    let elsewhere = Membership::begin(&first(&b, Policy::Open, &[b.id()])).unwrap();
    let foreign = b.next(&elsewhere, Action::Add { device: c.id() });
    assert_eq!(replay(&[one, &foreign]), Err(LogError::Group));
    let first_of_another = first(&b, Policy::Open, &[b.id()]);
    assert_eq!(replay(&[&first_of_another]), Err(LogError::Group));
}

#[test]
fn names_and_invitations_are_checked() {
    for bad in ["", " ", " a", "a\u{1b}b", "a\u{202e}b", &"x".repeat(65)] {
        assert!(GroupName::parse(bad).is_err(), "{bad:?}");
    }
    let name = GroupName::parse("The Änglar").unwrap();
    assert_ne!(name.mark(&[1; 32]), name.mark(&[2; 32]));
    let invite = GroupInvite(GroupId::new([9; 32]));
    let text = invite.to_string();
    assert!(
        text.starts_with("hithergroup1") && text.len() < 80,
        "{text}"
    );
    assert_eq!(text.to_uppercase().parse(), Ok(invite));
    assert_eq!(
        text[..70].parse::<GroupInvite>(),
        Err(GroupInviteError::Checksum)
    );
    assert_eq!(
        "hither1abc".parse::<GroupInvite>(),
        Err(GroupInviteError::Other)
    );
}

fn actions() -> impl Strategy<Value = (u16, Action)> {
    let device = (0..6_u16).prop_map(|seed| Signer::new(seed).id());
    let devices =
        prop::collection::btree_set((0..6_u16).prop_map(|seed| Signer::new(seed).id()), 0..4);
    let action = prop_oneof![
        device.clone().prop_map(|device| Action::Add { device }),
        (device.clone(), any::<u8>()).prop_map(|(device, key)| Action::Remove {
            device,
            key: mark(key)
        }),
        Just(Action::Leave),
        device.prop_map(|device| Action::Promote { device }),
        devices.prop_map(|allowed| Action::SetPolicy {
            policy: Policy::AllowList(allowed)
        }),
        Just(Action::SetPolicy {
            policy: Policy::Open
        }),
        any::<u8>().prop_map(|key| Action::Rotate { key: mark(key) }),
    ];
    (0..6_u16, action)
}

proptest! {
    #[test]
    fn whatever_is_tried_the_log_replays_to_the_same_and_somebody_can_decide(
        tried in prop::collection::vec(actions(), 0..60)
    ) {
        let a = Signer::new(0);
        let mut log = vec![first(&a, Policy::Open, &[a.id()])];
        let mut group = Membership::begin(&log[0]).unwrap();
        for (author, action) in tried {
            let entry = Signer::new(author).next(&group, action.clone());
            let before = group.clone();
            match group.apply(&entry) {
                Ok(()) => {
                    let free = matches!(action, Action::Leave | Action::Add { .. } | Action::Rotate { .. });
                    prop_assert!(free || before.role(&entry.entry().author) == Some(Role::Admin));
                    prop_assert_eq!(SignedEntry::open(entry.bytes()), Ok(entry.clone()));
                    log.push(entry);
                }
                Err(_) => prop_assert_eq!(&group, &before),
            }
            prop_assert!(group.members().is_empty() || group.admins().count() > 0);
        }
        prop_assert_eq!(Membership::replay(group.group(), &log), Ok(group.clone()));
        prop_assert_eq!(Membership::decode(&group.encode()), Ok(group));
    }

    #[test]
    fn no_bytes_make_the_decoders_fail_otherwise_than_by_saying_so(
        bytes in prop::collection::vec(any::<u8>(), 0..400), at in 0_usize..300, with: u8
    ) {
        let _ = SignedEntry::open(&bytes);
        let _ = Membership::decode(&bytes);
        let (log, group) = group(Policy::Approval);
        let mut changed = log[0].bytes().to_vec();
        let length = changed.len();
        changed[at % length] = with;
        let _ = SignedEntry::open(&changed);
        let mut changed = group.encode();
        let length = changed.len();
        changed[at % length] = with;
        let _ = Membership::decode(&changed);
    }
}
