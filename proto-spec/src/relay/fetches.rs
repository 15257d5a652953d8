//! Messages between a relay and the owner of a share about who reads it from a store, on the long
//! connection.

use super::RelayMessage;
use super::encode::key;
use super::parse::few;
use crate::device::DeviceId;
use crate::ids::ShareId;
use crate::limits::{MAX_SHARE, MAX_STORE_FETCHES};
use crate::message::{MessageError, Progress};
use crate::wire;
use bytes::Bytes;

/// One device's own word about what it has of one share, said to a store that it reads it from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreFetch {
    /// The share.
    pub share: ShareId,
    /// The reader, as the store says: TLS proved its key there.
    pub device: DeviceId,
    /// The progress that it says it has made.
    pub progress: Progress,
    /// Grows with every change of it at the relay.
    pub revision: u64,
}

/// A [`StoreFetch`] that its owner has heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchReceived {
    /// The share.
    pub share: ShareId,
    /// The reader.
    pub device: DeviceId,
    /// The revision heard of; a later one is told again.
    pub revision: u64,
}

impl StoreFetch {
    /// The owner's answer to it.
    pub const fn received(&self) -> FetchReceived {
        FetchReceived {
            share: self.share,
            device: self.device,
            revision: self.revision,
        }
    }
}

pub(super) fn parse_fetches(m: &wire::Fetches) -> Result<RelayMessage, MessageError> {
    let fetches = few(&m.fetches, MAX_STORE_FETCHES, "number of fetches")?.iter();
    let fetches = fetches.map(|one| {
        if one.bytes > MAX_SHARE {
            return Err(MessageError::Value("number of bytes"));
        }
        Ok(StoreFetch {
            share: ShareId::from_slice(&one.share)?,
            device: DeviceId::from_slice(&one.device)?,
            progress: Progress {
                version: one.version,
                bytes: one.bytes,
                complete: one.complete,
            },
            revision: one.revision,
        })
    });
    Ok(RelayMessage::Fetches(fetches.collect::<Result<_, _>>()?))
}

pub(super) fn parse_received(m: &wire::FetchesReceived) -> Result<RelayMessage, MessageError> {
    let received = few(&m.received, MAX_STORE_FETCHES, "number of fetches")?.iter();
    let received = received.map(|one| {
        Ok(FetchReceived {
            share: ShareId::from_slice(&one.share)?,
            device: DeviceId::from_slice(&one.device)?,
            revision: one.revision,
        })
    });
    let received = received.collect::<Result<_, MessageError>>()?;
    Ok(RelayMessage::FetchesReceived(received))
}

pub(super) fn fetches_to_wire(fetches: &[StoreFetch]) -> wire::Fetches {
    let fetches = fetches.iter().take(MAX_STORE_FETCHES);
    let fetches = fetches.map(|one| wire::StoreFetch {
        share: share(&one.share),
        device: key(&one.device),
        version: one.progress.version,
        bytes: one.progress.bytes,
        complete: one.progress.complete,
        revision: one.revision,
    });
    wire::Fetches {
        fetches: fetches.collect(),
    }
}

pub(super) fn received_to_wire(received: &[FetchReceived]) -> wire::FetchesReceived {
    let received = received.iter().take(MAX_STORE_FETCHES);
    let received = received.map(|one| wire::FetchReceived {
        share: share(&one.share),
        device: key(&one.device),
        revision: one.revision,
    });
    wire::FetchesReceived {
        received: received.collect(),
    }
}

fn share(share: &ShareId) -> Bytes {
    Bytes::copy_from_slice(share.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{FRAME_PREFIX, decode_relay_frame, encode_relay_frame};
    use crate::limits::MAX_RELAY_FRAME;
    use crate::relay::samples::seeded;

    fn fetch(bytes: u64) -> StoreFetch {
        StoreFetch {
            share: ShareId::new([3; 16]),
            device: seeded(1),
            progress: Progress {
                version: u64::MAX,
                bytes,
                complete: true,
            },
            revision: u64::MAX,
        }
    }

    #[test]
    fn fetches_come_out_as_they_went_in_and_within_bounds() {
        let most = vec![fetch(MAX_SHARE); MAX_STORE_FETCHES];
        let received = most.iter().map(StoreFetch::received).collect();
        for message in [
            RelayMessage::Fetches(most),
            RelayMessage::FetchesReceived(received),
        ] {
            let bytes = encode_relay_frame(&message);
            assert!(bytes.len() <= MAX_RELAY_FRAME);
            let again = decode_relay_frame(&bytes[FRAME_PREFIX..]);
            assert_eq!(again, Ok(Some(message)));
        }
        let mut many = fetches_to_wire(&[fetch(1)]);
        many.fetches = vec![many.fetches[0].clone(); MAX_STORE_FETCHES + 1];
        assert!(parse_fetches(&many).is_err());
        assert!(parse_fetches(&fetches_to_wire(&[fetch(MAX_SHARE + 1)])).is_err());
        let mut short = received_to_wire(&[fetch(1).received()]);
        short.received[0].device = Bytes::from_static(b"short");
        assert!(parse_received(&short).is_err());
    }
}
