//! Jobs in the orders in which uploads and collection can meet.

use super::super::ids::{ChunkPlace, PackNumber, VersionNumber};
use super::super::index::{Index, Rows};
use super::super::records::ListRecord;
use super::super::tables::{CHUNKS, DEAD, LOST, PACKS, REFS};
use super::{Created, Kept, Ledger, Most, Moved, NewVersion, PackedChunk};
use hither_content::storage::{MemoryStorage, StorageError};
use hither_proto::{ChunkId, DeviceId, ReadKey, ShareId, UserId};
use std::sync::Arc;

const PACK: PackNumber = PackNumber(1);

fn index() -> Index {
    Index::open(Arc::new(MemoryStorage::new())).unwrap()
}

/// One group of one job.
fn run<T>(index: &Index, job: impl FnOnce(&mut Ledger<'_>) -> Result<T, StorageError>) -> T {
    let mut ledger = Ledger::new(index);
    let value = job(&mut ledger).unwrap();
    index.storage().commit(ledger.finish().0).unwrap();
    value
}

fn create(index: &Index, user: u8, share: u8) -> VersionNumber {
    let key = libp2p_identity::ed25519::Keypair::from(
        libp2p_identity::ed25519::SecretKey::try_from_bytes([1; 32]).unwrap(),
    );
    let new = NewVersion {
        user: UserId::new([user; 16]),
        owner: DeviceId::from_slice(&key.public().to_bytes()).unwrap(),
        share: ShareId::new([share; 16]),
        version: 1,
        read_key: ReadKey::new([0; 32]),
        head: Vec::new(),
        due_ms: 1000,
        lists: 36,
    };
    match run(index, |ledger| {
        ledger.create(
            new,
            Most {
                versions: 100,
                lists: 1 << 20,
            },
        )
    }) {
        Created::New(version, _) => version,
        other => panic!("{other:?}"),
    }
}

fn record(n: u8) -> ListRecord {
    ListRecord {
        id: ChunkId::new([n; 32]),
        length: 100,
    }
}

fn chunk(version: VersionNumber, n: u8, offset: Option<u32>) -> PackedChunk {
    PackedChunk {
        version,
        record: record(n),
        offset,
    }
}

fn bytes_of(index: &Index, user: u8) -> u64 {
    index.user(&UserId::new([user; 16])).unwrap().unwrap().bytes
}

/// A version of user 1 with chunks 0 and 1, released; both chunks are dead.
fn with_dead_chunks(index: &Index) -> Vec<Vec<u8>> {
    let version = create(index, 1, 1);
    let chunks = [chunk(version, 0, Some(0)), chunk(version, 1, Some(100))];
    assert_eq!(
        run(index, |ledger| ledger.seal(PACK, 300, &chunks)).kept,
        [Kept::Here; 2]
    );
    assert_eq!(bytes_of(index, 1), 200);
    run(index, |ledger| {
        let record = ledger.version(version)?.unwrap();
        ledger.release(version, &record)
    });
    for _ in 0..2 {
        // Twice, as after a crash.
        run(index, |ledger| {
            ledger.drop_refs(version, &[record(0).id, record(1).id], 5)
        });
    }
    assert_eq!(bytes_of(index, 1), 0);
    Ledger::new(index).keys(DEAD, &[], 10).unwrap()
}

#[test]
fn a_chunk_that_is_relied_on_first_is_not_collected() {
    let index = index();
    let dead = with_dead_chunks(&index);
    assert_eq!(dead.len(), 2);
    let version = create(&index, 2, 2);
    // Both in one group, so that the second job meets changes that are not committed.
    let (sealed, collected) = run(&index, |ledger| {
        let sealed = ledger.seal(PackNumber(2), 0, &[chunk(version, 0, None)])?;
        Ok((sealed, ledger.collect(&dead)?))
    });
    assert_eq!((sealed.kept, sealed.unused), (vec![Kept::Here], true));
    assert_eq!(collected, (1, 100));
    assert!(
        index.place(&record(0).id).unwrap().is_some()
            && index.place(&record(1).id).unwrap().is_none()
    );
    assert_eq!(bytes_of(&index, 2), 100);
    assert!(
        !run(&index, |ledger| ledger.remove_pack(PACK)),
        "it has a live chunk"
    );
}

#[test]
fn a_chunk_that_is_collected_first_must_be_written_after_all() {
    let index = index();
    let dead = with_dead_chunks(&index);
    let version = create(&index, 2, 2);
    let (collected, sealed) = run(&index, |ledger| {
        let collected = ledger.collect(&dead)?;
        Ok((
            collected,
            ledger.seal(PackNumber(2), 0, &[chunk(version, 0, None)])?,
        ))
    });
    assert_eq!((collected, sealed.kept), ((2, 200), vec![Kept::Vanished]));
    assert_eq!(bytes_of(&index, 2), 0);
    assert!(run(&index, |ledger| ledger.remove_pack(PACK)));
    for table in [CHUNKS, REFS, PACKS, DEAD] {
        assert!(!index.any(table, &[]).unwrap(), "{}", table.name());
    }
}

#[test]
fn versions_adopt_what_their_user_has_and_nothing_else() {
    let index = index();
    let first = create(&index, 1, 1);
    run(&index, |ledger| {
        ledger.seal(
            PACK,
            300,
            &[chunk(first, 0, Some(0)), chunk(first, 1, Some(100))],
        )
    });
    let (mine, other) = (create(&index, 1, 2), create(&index, 2, 3));
    let wrong_length = ListRecord {
        length: 99,
        ..record(1)
    };
    let list = [record(0), wrong_length, record(7)];
    assert_eq!(
        run(&index, |ledger| ledger.adopt(mine, &list)),
        [true, false, false]
    );
    assert_eq!(run(&index, |ledger| ledger.adopt(other, &list)), [false; 3]);
    run(&index, |ledger| {
        let record = ledger.version(mine)?.unwrap();
        ledger.release(mine, &record)
    });
    assert_eq!(
        run(&index, |ledger| ledger.adopt(mine, &list)),
        [false; 3],
        "it is released"
    );
    let late = run(&index, |ledger| {
        ledger.seal(PackNumber(2), 200, &[chunk(mine, 5, Some(0))])
    });
    assert_eq!((late.kept, late.unused), (vec![Kept::Released], true));
    assert_eq!(bytes_of(&index, 1), 200);
}

#[test]
fn moves_follow_only_what_is_still_there() {
    let index = index();
    let version = create(&index, 1, 1);
    run(&index, |ledger| {
        ledger.seal(
            PACK,
            300,
            &[chunk(version, 0, Some(0)), chunk(version, 1, Some(100))],
        )
    });
    let at = |pack, offset| ChunkPlace {
        pack,
        offset,
        length: 100,
    };
    let moved = [(0, 0), (1, 100)].map(|(n, offset)| Moved {
        id: record(n).id,
        from: at(PACK, offset),
        to_offset: offset + 7,
    });
    assert!(run(&index, |ledger| ledger.lose(&record(1).id, &at(PACK, 100))));
    assert!(
        !run(&index, |ledger| ledger.lose(&record(1).id, &at(PACK, 100))),
        "once is enough"
    );
    assert!(index.any_lost() && index.any(LOST, &[]).unwrap());
    let to = PackNumber(9);
    assert!(!run(&index, |ledger| ledger.move_chunks(to, 300, &moved)));
    assert_eq!(index.place(&record(0).id).unwrap(), Some(at(to, 7)));
    assert_eq!(index.place(&record(1).id).unwrap(), None);
    assert!(run(&index, |ledger| ledger.remove_pack(PACK)));
    assert!(
        run(&index, |ledger| ledger.move_chunks(
            PackNumber(10),
            300,
            &moved
        )),
        "nothing stands there any more"
    );
    // Sent again it is no longer lost.
    run(&index, |ledger| {
        ledger.seal(PackNumber(11), 200, &[chunk(version, 1, Some(0))])
    });
    assert!(!index.any(LOST, &[]).unwrap());
    assert_eq!(bytes_of(&index, 1), 200, "it was counted all the time");
}
