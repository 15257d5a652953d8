//! The check that a store still has the chunks this device keeps there: the store may have been
//! restored from a backup, or this device.
//!
//! The store is asked what it shows to any reader, a head, which costs one round trip and no list.
//! It is asked when a connection to its relay has come up, and when it has refused an upload. Only
//! what a store shows counts; one that is not reached changes nothing.

use super::records::KeptRecord;
use crate::store_upload::StoreUploadService;
use hither_carrier::{Link, MessageReader};
use hither_proto::limits::MAX_FRAME_UNPROVEN;
use hither_proto::{HolderKind, Purpose, Refusal, RelayAddress, ShareId, SignedHead};
use hither_relay_client::{RelayError, dial};
use hither_swarm::{HANDSHAKE, OpenError, Share, greet};
use std::sync::Arc;
use tokio::time::timeout;

/// Why a store did not show anything.
#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error(transparent)]
    Relay(#[from] RelayError),
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Asks for everything that is kept at stores, one after the other.
pub(super) async fn everything(service: Arc<StoreUploadService>) {
    let kept: Vec<ShareId> = {
        let entries = service.store_uploads.lock();
        let whole = |record: &KeptRecord| record.version > 0 && !record.release;
        entries
            .iter()
            .filter(|(_, e)| e.record.as_ref().is_some_and(whole))
            .map(|(share, _)| *share)
            .collect()
    };
    for share in kept {
        one(&service, share).await;
    }
}

/// Queries a store for one share. Chunks it has lost are uploaded again, and what this device
/// does not know is gone past.
pub(super) async fn one(service: &Arc<StoreUploadService>, share: ShareId) {
    let Some(share) = service.swarm.shares().get(share) else {
        return;
    };
    let record = service.store_uploads.entry(share.id).record;
    let Some(store) = record.as_ref().and_then(KeptRecord::store) else {
        return;
    };
    let shown = match shown(service, &share, &store).await {
        Ok(shown) => shown,
        Err(error) => {
            return tracing::debug!(share = ?share.id, %error, "a store does not say what it has");
        }
    };
    if let Some(head) = &shown {
        share.saw(head);
        service.swarm.mark_if_behind(&share);
    }
    let Some(current) = share.current() else {
        return;
    };
    let lost = shown.is_none_or(|head| head != current.head);
    let said = record.is_some_and(|record| record.version == current.number());
    if lost && said {
        tracing::warn!(share = ?share.id, version = current.number(), "the store has lost what was uploaded");
        service.store_uploads.change(share.id, |entry| {
            if let Some(record) = entry
                .record
                .as_mut()
                .filter(|record| record.version == current.number())
            {
                (record.version, record.checked) = (0, 0);
            }
        });
        service.store_uploads.shared(share.id);
    }
}

/// The head that a store shows of a share; none when it does not have it.
async fn shown(
    service: &StoreUploadService,
    share: &Share,
    store: &RelayAddress,
) -> Result<Option<SignedHead>, CheckError> {
    let connected = service
        .relays
        .connected()
        .into_iter()
        .find(|at| at.relay.key == store.key);
    if let Some(connection) = connected {
        return Ok(ask(share, connection.link()).await?);
    }
    let link = dial(service.swarm.endpoint(), store).await?;
    let answer = ask(share, &link).await;
    link.close("looked");
    Ok(answer?)
}

async fn ask(share: &Share, link: &Link) -> Result<Option<SignedHead>, OpenError> {
    let mut stream = timeout(HANDSHAKE, link.open())
        .await
        .map_err(|_| OpenError::TimedOut)??;
    let mut reader = MessageReader::new(MAX_FRAME_UNPROVEN);
    match greet(
        &mut stream,
        &mut reader,
        share,
        HolderKind::Store,
        Purpose::Control,
    )
    .await
    {
        Ok((_, head)) => Ok(Some(head)),
        Err(OpenError::Refused(Refusal::NotFound | Refusal::Gone)) => Ok(None),
        Err(error) => Err(error),
    }
}
