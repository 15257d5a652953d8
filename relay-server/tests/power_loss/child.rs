//! The child processes: use a relay's state and store until the disk is taken away, or
//! report what is in them.
//!
//! Lines to the parent begin with `@`: `open HOW`, `mail QUEUE PLACE WHAT` when a message is
//! acknowledged, `forgetting QUEUE PLACE` before and `forgotten …` after messages were acknowledged
//! by their reader, `chunk OWNER SHARE SPACE POSITION` when it was reported as stored, `version
//! OWNER SHARE` when it was complete, `full` when the image is too small.

use crate::common::{self, Version};
use bytes::Bytes;
use hither_content::storage::Opened;
use hither_proto::{PositionRange, Space};
use hither_relay::state::{
    Embedded, Limits, MAX_READ, MAX_READ_BYTES, NewItem, Options, State, StateError,
};
use hither_relay::store::{PutError, Store};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

const QUEUES: u64 = 3;
const UPLOADERS: u8 = 2;
/// Versions of one uploader: more than half a second has time for, and few enough to be looked for
/// in every round.
const VERSIONS: u8 = 60;
const CHUNKS: u64 = 20;

static OUTPUT: Mutex<()> = Mutex::new(());

/// One line, one `write`: lines of several tasks do not mix, and their order is that of these
/// calls.
fn say(line: &str) {
    let _turn = OUTPUT.lock().unwrap();
    std::io::stdout()
        .lock()
        .write_all(format!("@{line}\n").as_bytes())
        .unwrap();
    std::io::stdout().lock().flush().unwrap();
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn run() {
    let variable = |name: &str| std::env::var(name).expect(name);
    let dir = PathBuf::from(variable("HITHER_POWER_DIR"));
    let life: u64 = variable("HITHER_POWER_LIFE").parse().unwrap();
    std::fs::create_dir_all(&dir).unwrap();
    let (state, opened) = Embedded::open(&dir.join("state"), &Options::default()).unwrap();
    let store = common::open(&dir, common::config()).await;
    match opened {
        Opened::Rebuilt { reason, .. } => {
            say(&format!("open rebuilt {}", reason.replace('\n', " ")))
        }
        _ => say("open"),
    }
    let (state, store) = (Arc::new(state), Arc::new(store));
    if variable("HITHER_POWER_TASK") == "verify" {
        report_mail(&state).await;
        for life in 0..=life {
            for uploader in 0..UPLOADERS {
                report_versions(&store, life, uploader).await;
            }
        }
        return;
    }
    for queue in 0..QUEUES {
        // Two senders each.
        for sender in 0..2 {
            tokio::spawn(write_mail(
                Arc::clone(&state),
                queue,
                life << 40 | sender << 32,
            ));
        }
    }
    for uploader in 0..UPLOADERS {
        tokio::spawn(upload(Arc::clone(&store), life, uploader));
    }
    // The parent kills this process; ending it cleanly would let everything be tidied up.
    std::future::pending::<()>().await;
}

fn queue_name(queue: u64) -> String {
    format!("mail/{queue}")
}

/// A message whose bytes follow from its number.
fn item(number: u64) -> NewItem {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let source = Bytes::copy_from_slice(&(number >> 32).to_be_bytes());
    let value = common::noise(number, 100 + (number % 3000) as usize);
    let limits = Limits {
        items: 60_000,
        bytes: 1 << 40,
        source_items: 60_000,
        source_bytes: 1 << 40,
    };
    NewItem {
        id,
        source,
        value,
        expires_ms: u64::MAX >> 2,
        limits,
    }
}

async fn write_mail(state: Arc<Embedded>, queue: u64, from: u64) {
    let name = queue_name(queue);
    for number in from.. {
        let seq = match state.append(&name, item(number)).await {
            Ok(appended) => appended.seq,
            Err(StateError::NoSpace) => return say("full"),
            // The disk is gone, as intended.
            Err(_) => return,
        };
        say(&format!("mail {name} {seq} {number}"));
        // One sender of each queue has its reader acknowledge now and then.
        if (from >> 32).is_multiple_of(2) && number % 40 == 39 {
            say(&format!("forgetting {name} {}", seq - 1));
            if state.ack(&name, seq - 1).await.is_err() {
                return;
            }
            say(&format!("forgotten {name} {}", seq - 1));
        }
    }
}

async fn report_mail(state: &Embedded) {
    for queue in 0..QUEUES {
        let name = queue_name(queue);
        let mut after = 0;
        loop {
            let items = state
                .read(&name, after, MAX_READ, MAX_READ_BYTES)
                .await
                .unwrap();
            let Some(last) = items.last() else { break };
            after = last.seq;
            for found in items {
                let number = u64::from_be_bytes(found.id[..8].try_into().unwrap());
                let wanted = item(number);
                if (&found.source, &found.value) != (&wanted.source, &wanted.value) {
                    say(&format!("broken mail {name} {} {number}", found.seq));
                }
                say(&format!("mail {name} {} {number}", found.seq));
            }
        }
    }
}

/// The version of a share that an uploader made in one life.
fn version(life: u64, uploader: u8, share: u8) -> Version {
    let owner = 1 + life as u8 * UPLOADERS + uploader;
    let number = u64::from(owner) << 16 | u64::from(share) << 8;
    // A few chunks are those of the version before.
    let seeds = (0..CHUNKS).map(|chunk| number.saturating_sub(256 * u64::from(chunk < 4)) + chunk);
    common::version(owner, share, 1, common::chunks(seeds))
}

fn name(version: &Version, share: u8) -> String {
    format!("{} {share}", version.owner)
}

async fn upload(store: Arc<Store>, life: u64, uploader: u8) {
    for share in 0..VERSIONS {
        match upload_one(&store, &version(life, uploader, share), share).await {
            Ok(()) => {}
            Err(PutError::NoSpace) => return say("full"),
            Err(_) => return,
        }
    }
}

async fn upload_one(store: &Store, version: &Version, share: u8) -> Result<(), PutError> {
    let name = name(version, share);
    let (session, missing) = common::begin(store, common::user(1), version).await?;
    let send = async {
        for (space, position) in common::positions(&missing) {
            session
                .chunk(
                    space,
                    position,
                    version.space(space)[position as usize].clone(),
                )
                .await?;
        }
        session.end().await
    };
    let hear = async {
        while let Some(stored) = session.stored().await? {
            for position in stored.ranges.positions() {
                say(&format!("chunk {name} {} {position}", stored.space as u8));
            }
        }
        Ok(())
    };
    tokio::try_join!(send, hear)?;
    say(&format!("version {name}"));
    Ok(())
}

async fn report_versions(store: &Store, life: u64, uploader: u8) {
    for share in 0..VERSIONS {
        let version = version(life, uploader, share);
        let name = name(&version, share);
        let Some(stored) = common::stored(store, &version).await else {
            continue;
        };
        for space in [Space::Root, Space::Manifest, Space::Data] {
            for position in stored.held.ranges(space).positions() {
                let range = PositionRange::new(position, 1).unwrap();
                match store.read(&stored, space, range).await {
                    Ok(read) if read[0].bytes == version.space(space)[position as usize] => {
                        say(&format!("chunk {name} {} {position}", space as u8));
                    }
                    other => say(&format!(
                        "broken chunk {name} {} {position}: {other:?}",
                        space as u8
                    )),
                }
            }
        }
        if stored.complete {
            say(&format!("version {name}"));
        }
    }
}
