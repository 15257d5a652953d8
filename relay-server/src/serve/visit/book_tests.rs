use super::*;
use crate::serve::visit::forget::sweep;
use crate::state::{Embedded, NewItem};
use hither_carrier::Identity;
use hither_content::storage::MemoryStorage;
use std::sync::Arc;

const HOUR_MS: u64 = 3600 * 1000;

fn state() -> Arc<dyn State> {
    let memory = MemoryStorage::new();
    Arc::new(Embedded::start(Box::new(move || Ok(Arc::new(memory.clone())))).unwrap())
}

fn key() -> DeviceId {
    Identity::generate().unwrap().device_id()
}

fn host() -> Host {
    Host {
        device: key(),
        user: UserId::new([1; 16]),
        origin: String::new(),
    }
}

fn token(byte: u8) -> Invitation {
    Invitation::new([byte; 16])
}

fn bounds(hours: u64, bytes: u64, most: u32) -> Bounds {
    Bounds {
        valid: Duration::from_secs(hours * 3600),
        bytes,
        most,
    }
}

async fn invited(state: &dyn State, host: &Host, byte: u8, bounds: Bounds) -> VisitKey {
    invite(state, host, &token(byte), bounds, 0).await.unwrap();
    VisitKey::of(&token(byte))
}

#[tokio::test]
async fn w2_an_invitation_is_for_so_many_who_were_there_within_a_day() {
    let (state, host) = (state(), host());
    let state = state.as_ref();
    let visit = invited(state, &host, 7, bounds(100, 1000, 2)).await;
    let guests = [key(), key(), key()];
    for guest in &guests[..2] {
        enter(state, &visit, guest, 1).await.unwrap();
    }
    let third = enter(state, &visit, &guests[2], 2).await;
    assert!(matches!(third, Err(VisitError::Full)));
    enter(state, &visit, &guests[0], 2)
        .await
        .expect("it is in already");
    saw(state, &visit, &guests[1], HOUR_MS).await.unwrap();
    let later = 24 * HOUR_MS + 2;
    enter(state, &visit, &guests[2], later)
        .await
        .expect("the first was gone for a day");
    let again = enter(state, &visit, &guests[0], later).await;
    assert!(matches!(again, Err(VisitError::Full)));
    for (who, at) in [(&guests[0], 100 * HOUR_MS), (&host.device, 1)] {
        enter(state, &visit, who, at).await.unwrap_err();
    }
    let unknown = enter(state, &VisitKey::of(&token(9)), &key(), 1).await;
    assert!(matches!(unknown, Err(VisitError::Over)));
}

#[tokio::test]
async fn w2_the_host_alone_changes_its_invitation_and_the_same_again_keeps_what_is_there() {
    let (state, own, other) = (state(), host(), host());
    let state = state.as_ref();
    let visit = invited(state, &own, 7, bounds(1, 1000, 2)).await;
    enter(state, &visit, &key(), 1).await.unwrap();
    let stolen = invite(state, &other, &token(7), bounds(0, 1, 1), 2).await;
    assert!(matches!(stolen, Err(VisitError::NotYours)));
    invite(state, &own, &token(7), bounds(2, 500, 3), 2)
        .await
        .unwrap();
    let record = alive(state, &visit, HOUR_MS + 3).await.unwrap().unwrap();
    assert_eq!(
        (record.bytes, record.most, record.guests.len()),
        (500, 3, 1)
    );
    invite(state, &own, &token(7), bounds(0, 500, 3), 4)
        .await
        .unwrap();
    assert_eq!(alive(state, &visit, 4).await.unwrap(), None);
    // One that is unknown is over already.
    invite(state, &own, &token(8), bounds(0, 500, 3), 4)
        .await
        .unwrap();
    assert!(
        load(state, &VisitKey::of(&token(8)))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn w2_the_invitations_of_a_host_are_bounded() {
    let (state, host) = (state(), host());
    let state = state.as_ref();
    for at in 0..MAX_VISITS {
        invited(state, &host, at as u8, bounds(1, 1, 1)).await;
    }
    let more = invite(state, &host, &token(200), bounds(1, 1, 1), 0).await;
    assert!(matches!(more, Err(VisitError::Full)));
    invited(state, &host, 3, bounds(2, 1, 1)).await;
    sweep(state, HOUR_MS).await.unwrap();
    invited(state, &host, 200, bounds(1, 1, 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w2_bytes_are_kept_to_by_uploads_that_begin_at_one_moment() {
    let (state, host) = (state(), host());
    let visit = invited(state.as_ref(), &host, 7, bounds(1, 1000, 64)).await;
    let mut tasks = tokio::task::JoinSet::new();
    for at in 0..16 {
        let state = Arc::clone(&state);
        tasks.spawn(async move {
            let (owner, share) = (key(), ShareId::new([at; 16]));
            let left = Left {
                key: &visit,
                owner: &owner,
                share: &share,
            };
            left.reserve(state.as_ref(), 300, 1).await.is_ok()
        });
    }
    let got = tasks.join_all().await;
    assert_eq!(got.iter().filter(|got| **got).count(), 3);
    let record = alive(state.as_ref(), &visit, 1).await.unwrap().unwrap();
    assert_eq!(sum(record.kept.iter()), 900);
    assert_eq!(room(&record, &key()), 100);
}

#[tokio::test]
async fn w2_a_place_that_was_left_behind_keeps_nobody_out() {
    let (state, host, owner) = (state(), host(), key());
    let state = state.as_ref();
    let visit = invited(state, &host, 7, bounds(10, 1000, 2)).await;
    let shares = [ShareId::new([1; 16]), ShareId::new([2; 16])];
    let left = |share| Left {
        key: &visit,
        owner: &owner,
        share,
    };
    assert_eq!(left(&shares[0]).reserve(state, 900, 1).await.unwrap(), None);
    assert_eq!(
        left(&shares[0]).reserve(state, 800, 1).await.unwrap(),
        Some(900)
    );
    let full = left(&shares[1]).reserve(state, 300, 2).await;
    assert!(matches!(full, Err(VisitError::Full)));
    let later = LEFT_MS + 2;
    left(&shares[1])
        .reserve(state, 300, later)
        .await
        .expect("the first is recorded nowhere");
    left(&shares[1]).set(state, None).await.unwrap();
    let record = alive(state, &visit, later).await.unwrap().unwrap();
    assert!(record.kept.is_empty());
}

#[tokio::test]
async fn w2_a_visitor_is_written_to_by_its_host_while_it_may_come() {
    let (state, own, other) = (state(), host(), host());
    let state = state.as_ref();
    let guest = key();
    let visit = invited(state, &own, 7, bounds(1, 1, 2)).await;
    enter(state, &visit, &guest, 1).await.unwrap();
    let to = |host: DeviceId, at| async move { visit_to(state, &host, &guest, at).await.unwrap() };
    assert_eq!(to(own.device, 2).await, Some(visit));
    assert_eq!(to(other.device, 2).await, None);
    assert_eq!(to(own.device, HOUR_MS).await, None);
    let second = invited(state, &other, 8, bounds(1, 1, 2)).await;
    enter(state, &second, &guest, 2).await.unwrap();
    assert_eq!(to(other.device, 2).await, Some(second));
    assert_eq!(to(own.device, 2).await, Some(visit));
}

#[tokio::test]
async fn w2_what_is_over_and_gone_is_forgotten_with_its_letters() {
    let (state, host) = (state(), host());
    let state = state.as_ref();
    let visit = invited(state, &host, 7, bounds(100, 1000, 8)).await;
    let (stays, gone) = (key(), key());
    for guest in [&stays, &gone] {
        enter(state, &visit, guest, 1).await.unwrap();
        let letter = NewItem {
            id: [1; 16],
            source: Bytes::copy_from_slice(host.device.as_bytes()),
            value: Bytes::from_static(b"sealed"),
            expires_ms: u64::MAX,
            limits: crate::state::Limits {
                items: 10,
                bytes: 1000,
                source_items: 10,
                source_bytes: 1000,
            },
        };
        let queue = crate::serve::records::mail_queue(guest);
        state.append(&queue, letter).await.unwrap();
    }
    let letters = async |guest: &DeviceId| {
        let queue = crate::serve::records::mail_queue(guest);
        state.depth(&queue).await.unwrap().items
    };
    saw(state, &visit, &stays, 20 * HOUR_MS).await.unwrap();
    assert_eq!(sweep(state, 25 * HOUR_MS).await.unwrap(), 1);
    assert_eq!((letters(&stays).await, letters(&gone).await), (1, 0));
    // A share that is kept keeps everything.
    let share = ShareId::new([1; 16]);
    let left = Left {
        key: &visit,
        owner: &stays,
        share: &share,
    };
    left.reserve(state, 10, 30 * HOUR_MS).await.unwrap();
    let record = ShareRecord {
        visit: visit.as_bytes().to_vec(),
        ..ShareRecord::default()
    };
    let at = share_key(&stays, &share);
    state
        .put(bucket::SHARES, &at, encode(&record), Expect::Any)
        .await
        .unwrap();
    assert_eq!(sweep(state, 200 * HOUR_MS).await.unwrap(), 0);
    assert_eq!(letters(&stays).await, 1);
    state
        .delete(bucket::SHARES, &at, Expect::Any)
        .await
        .unwrap();
    assert_eq!(sweep(state, 200 * HOUR_MS).await.unwrap(), 2);
    assert_eq!(letters(&stays).await, 0);
    let hosts = state.list(bucket::VISIT_HOSTS, "", None, 10).await.unwrap();
    assert!(hosts.records.is_empty());
}

#[tokio::test]
async fn w2_a_host_that_is_revoked_is_visited_no_more() {
    let (state, own, other) = (state(), host(), host());
    let state = state.as_ref();
    let visits = [
        invited(state, &own, 7, bounds(1, 1, 2)).await,
        invited(state, &other, 8, bounds(1, 1, 2)).await,
    ];
    end_all_of(state, &own.user, &own.device, 5).await.unwrap();
    let mut left = Vec::new();
    for visit in &visits {
        left.push(alive(state, visit, 5).await.unwrap().is_some());
    }
    assert_eq!(left, [false, true]);
}
