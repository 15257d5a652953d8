//! The data that others get of this device's shares: tickets, and the entries of catalogues and
//! groups.

use crate::catalogue::Entry;
use crate::library::Library;
use crate::records::ShareRecord;
use crate::settings::Setting;
use crate::store_upload::StoreUploads;
use hither_proto::{DeviceId, GroupId, RelayAddress, ShareId, Ticket};
use hither_relay_client::RelayClient;
use hither_swarm::{Share, Swarm};
use std::sync::Arc;

/// Makes tickets.
pub(crate) struct Tickets {
    pub device: DeviceId,
    pub swarm: Arc<Swarm>,
    pub library: Arc<Library>,
    pub relays: Arc<RelayClient>,
    pub store_uploads: Arc<StoreUploads>,
    /// True if shares are uploaded to stores.
    pub uploads: Setting<bool>,
    /// True if shares are announced to indexes.
    pub announces: bool,
}

impl Tickets {
    /// Returns the ticket that others fetch a share with.
    pub(crate) fn ticket(&self, share: &Share) -> Ticket {
        let hints = if share.owner == self.device {
            self.swarm.addresses()
        } else {
            Vec::new()
        };
        Ticket {
            hints,
            ..self.lasting_ticket(share)
        }
    }

    /// The same without this device's addresses of the moment: the user's other devices know them
    /// otherwise.
    pub(crate) fn lasting_ticket(&self, share: &Share) -> Ticket {
        let relays = self.relays_of(share);
        Ticket {
            secret: share.secret.clone(),
            owner: share.owner,
            hints: Vec::new(),
            relays,
            pin: None,
        }
    }

    /// Relays that may know who holds a share while its owner is away: of an own one, which is or
    /// may be uploaded or is told to indexes, those that were joined, that which keeps it
    /// first; of another's, what the ticket said with which it was fetched.
    fn relays_of(&self, share: &Share) -> Vec<RelayAddress> {
        if share.owner != self.device {
            return share.ticket_relays();
        }
        let record = self.library.share_record(share.id);
        let never = record.is_some_and(|record| record.no_upload);
        if (never || !self.uploads.get()) && !self.announces {
            return Vec::new();
        }
        self.relays
            .addresses_for_ticket(self.store_uploads.relay_of(share.id))
    }

    /// Returns the entries sent to the members of a group.
    pub(crate) fn shared_with(&self, group: GroupId) -> Vec<Entry> {
        let group = group.to_string();
        let of = |(_, record): &(Arc<Share>, ShareRecord)| {
            record.group.as_ref().is_some_and(|of| of.group == group)
        };
        let entry = |(share, record): (Arc<Share>, ShareRecord)| self.entry(&share, record);
        self.library
            .share_records()
            .into_iter()
            .filter(of)
            .filter_map(entry)
            .map(|(_, entry)| entry)
            .collect()
    }

    /// Returns the entry sent for a share; nothing for those of others.
    pub(crate) fn entry(&self, share: &Share, record: ShareRecord) -> Option<(ShareId, Entry)> {
        let version = share.current().filter(|_| share.owner == self.device)?;
        let head = version.head.head();
        let entry = Entry {
            ticket: self.lasting_ticket(share).to_string(),
            name: record.name,
            version: head.version,
            files: record.files,
            bytes: head.bytes,
            published: head.published_ms / 1000,
            expires: record.expires.map(|at| self.library.time.to_wall(at)),
        };
        Some((share.id, entry))
    }
}
