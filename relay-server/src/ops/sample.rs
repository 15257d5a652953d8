//! What was found at one moment, and the gauges that show it.

use super::metrics::Page;
use crate::index::IndexSize;
use prometheus_client::metrics::gauge::Gauge;
use std::sync::atomic::AtomicU64;

/// A gauge of fractions.
type Ratio = Gauge<f64, AtomicU64>;

/// What was found at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sample {
    /// Devices with a long connection to this node.
    pub devices_online: u64,
    /// The node is going down.
    pub draining: bool,
    /// What is stored; `None`: this node does not store, or could not say.
    pub store: Option<StoreSample>,
    /// What is in the index; `None`: this node has none.
    pub index: Option<IndexSize>,
    /// Free bytes of the disk under the data folder; `None`: unknown.
    pub disk_free: Option<u64>,
}

/// Who is known, and what waits for them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MailSample {
    /// Users that are known.
    pub users: u64,
    /// Devices that are registered and not revoked.
    pub devices: u64,
    /// Groups of which a log is kept.
    pub groups: u64,
    /// Memberships in all of them.
    pub memberships: u64,
    /// Mailboxes with something in them.
    pub mailboxes: u64,
    /// Messages in all of them.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages in the fullest.
    pub deepest: u64,
    /// Age of the oldest message, milliseconds.
    pub oldest_ms: u64,
}

/// What is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StoreSample {
    /// Packs.
    pub packs: u64,
    /// Bytes that users keep, each chunk counted once for every user.
    pub logical: u64,
    /// Bytes of the packs.
    pub physical: u64,
    /// Bytes of chunks in packs that are kept or not collected yet.
    pub live: u64,
}

/// Gauges set from a [`Sample`].
#[derive(Debug)]
pub(super) struct Sampled {
    devices_online: Gauge,
    draining: Gauge,
    users: Gauge,
    devices: Gauge,
    groups: Gauge,
    memberships: Gauge,
    mailboxes: Gauge,
    mailbox_messages: Gauge,
    mailbox_bytes: Gauge,
    mailbox_deepest: Gauge,
    mailbox_oldest: Ratio,
    packs: Gauge,
    logical: Gauge,
    physical: Gauge,
    live: Gauge,
    dedupe: Ratio,
    index_topics: Gauge,
    index_entries: Gauge,
    index_subscriptions: Gauge,
    index_bytes: Gauge,
    disk_free: Gauge,
}

impl Sampled {
    pub(super) fn register(r: &mut Page) -> Self {
        Self {
            devices_online: r.gauge(
                "devices_online",
                "Authenticated devices with a long connection here",
            ),
            draining: r.gauge("draining", "1 while the node is going down"),
            users: r.gauge("users", "Users known"),
            devices: r.gauge("devices", "Devices registered and not revoked"),
            groups: r.gauge("groups", "Groups of devices"),
            memberships: r.gauge("group_memberships", "Memberships in all groups"),
            mailboxes: r.gauge("mailboxes", "Mailboxes with something in them"),
            mailbox_messages: r.gauge("mailbox_messages", "Messages that wait for their readers"),
            mailbox_bytes: r.gauge("mailbox_bytes", "Bytes of the messages that wait"),
            mailbox_deepest: r.gauge("mailbox_deepest", "Messages in the fullest mailbox"),
            mailbox_oldest: r.put(
                "mailbox_oldest_seconds",
                "Age of the oldest message that waits",
                Ratio::default(),
            ),
            packs: r.gauge("packs", "Packs of chunks"),
            logical: r.gauge(
                "logical_bytes",
                "Bytes that users keep, a chunk counted for each of them",
            ),
            physical: r.gauge("physical_bytes", "Bytes of the packs"),
            live: r.gauge(
                "live_bytes",
                "Bytes of chunks that are kept or not collected yet",
            ),
            dedupe: r.put(
                "dedupe_ratio",
                "How often a live byte is kept, over all users",
                Ratio::default(),
            ),
            index_topics: r.gauge(
                "index_topics",
                "Shares that the index of this node has to do with",
            ),
            index_entries: r.gauge("index_entries", "Announcements in the index of this node"),
            index_subscriptions: r.gauge(
                "index_subscriptions",
                "Subscriptions at the index of this node",
            ),
            index_bytes: r.gauge(
                "index_bytes",
                "Memory of the announcements in the index, about",
            ),
            disk_free: r.gauge(
                "disk_free_bytes",
                "Free bytes of the disk under the data folder",
            ),
        }
    }

    pub(super) fn set(&self, sample: &Sample) {
        set(&self.devices_online, sample.devices_online);
        self.draining.set(i64::from(sample.draining));
        if let Some(store) = &sample.store {
            set(&self.packs, store.packs);
            set(&self.logical, store.logical);
            set(&self.physical, store.physical);
            set(&self.live, store.live);
            self.dedupe.set(if store.live == 0 {
                1.0
            } else {
                store.logical as f64 / store.live as f64
            });
        }
        if let Some(index) = &sample.index {
            set(&self.index_topics, index.topics);
            set(&self.index_entries, index.entries);
            set(&self.index_subscriptions, index.subscriptions);
            set(&self.index_bytes, index.bytes);
        }
        if let Some(free) = sample.disk_free {
            set(&self.disk_free, free);
        }
    }

    pub(super) fn set_mail(&self, mail: &MailSample) {
        set(&self.users, mail.users);
        set(&self.devices, mail.devices);
        set(&self.groups, mail.groups);
        set(&self.memberships, mail.memberships);
        set(&self.mailboxes, mail.mailboxes);
        set(&self.mailbox_messages, mail.messages);
        set(&self.mailbox_bytes, mail.bytes);
        set(&self.mailbox_deepest, mail.deepest);
        self.mailbox_oldest.set(mail.oldest_ms as f64 / 1000.0);
    }
}

fn set(gauge: &Gauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}
