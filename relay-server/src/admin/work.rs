//! What a running node does for its operator.

use super::backup::{Databases, back_up};
use super::error::{AdminError, Code};
use super::types::{
    Checked, Collected, Device, Devices, IndexStats, Invite, Invited, Revoke, Revoked, Saved,
    Stats, StoreStats, User, Users, WebStats,
};
use crate::config::{Folder, Role};
use crate::node::{Node, now_ms};
use crate::ops::{Gates, Inspect, sample_mail};
use crate::serve::records::{bucket, hex, presence_key, unhex};
use crate::store::{CheckReport, Store};
use hither_proto::{DeviceId, HostPort, RelayUrl, UserId};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Longest time that an invitation is valid.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// The operator's side of a node.
pub(super) struct Admin {
    node: Arc<Node>,
    gates: Gates,
    folder: Folder,
}

impl Admin {
    pub(super) fn new(node: Arc<Node>, gates: Gates, folder: Folder) -> Self {
        Self {
            node,
            gates,
            folder,
        }
    }

    pub(super) async fn invite(&self, invite: Invite) -> Result<Invited, AdminError> {
        let valid = Duration::from_secs(invite.valid_s);
        if invite.uses == 0 || valid.is_zero() || valid > LONGEST {
            let message = "An invitation is for at least one device, and for at most a year.";
            return Err(AdminError::new(Code::Usage, message));
        }
        let at = self.at()?;
        let registry = &self.node.registry;
        let user = match invite.user.as_deref() {
            Some(user) => parse_user(user)?,
            None => registry.create_user(&invite.label).await?,
        };
        let expires_ms = now_ms().saturating_add(invite.valid_s.saturating_mul(1000));
        let invitation = Some(registry.invite(&user, invite.uses, valid).await?);
        let url = RelayUrl {
            at,
            key: self.node.id(),
            invitation,
        }
        .to_string();
        Ok(Invited {
            url,
            user: hex(user.as_bytes()),
            uses: invite.uses,
            expires_ms,
        })
    }

    /// Where devices find the node.
    fn at(&self) -> Result<HostPort, AdminError> {
        let address = &self.node.address;
        address
            .udp
            .first()
            .or(address.tcp.first())
            .cloned()
            .ok_or_else(|| {
                AdminError::new(
                    Code::Failed,
                    "The relay does not know at which address devices find it.",
                )
                .hint("Set address = \"NAME\" in its configuration.")
            })
    }

    pub(super) async fn users(&self, after: Option<&str>) -> Result<Users, AdminError> {
        let after = after.map(parse_user).transpose()?;
        let (infos, more) = self.node.registry.users(after.as_ref()).await?;
        let mut users = Vec::with_capacity(infos.len());
        for info in infos {
            let bytes = match &self.node.store {
                Some(store) => Some(store.usage(info.user).await?.bytes),
                None => None,
            };
            users.push(User {
                user: hex(info.user.as_bytes()),
                label: info.label,
                created_ms: info.created_ms,
                devices: info.devices.len(),
                bytes,
            });
        }
        Ok(Users { users, more })
    }

    /// A page of devices, those of one user where one is named, and where to go on.
    pub(super) async fn devices(
        &self,
        after: Option<&str>,
        user: Option<&str>,
    ) -> Result<Devices, AdminError> {
        let after = after.map(parse_device).transpose()?;
        let user = user.map(parse_user).transpose()?;
        let (infos, more) = self.node.registry.devices(after.as_ref()).await?;
        let next = infos
            .last()
            .filter(|_| more)
            .map(|info| info.device.to_string());
        let mut devices = Vec::new();
        for info in infos
            .into_iter()
            .filter(|info| user.is_none_or(|user| user == info.user))
        {
            // When a device was seen is written when it goes, and seldom before: presence says who
            // is there.
            let presence = presence_key(&info.user, &info.device);
            let online = self
                .node
                .state
                .get(bucket::PRESENCE, &presence)
                .await?
                .is_some();
            devices.push(Device {
                device: info.device.to_string(),
                user: hex(info.user.as_bytes()),
                registered_ms: info.registered_ms,
                seen_ms: info.seen_ms,
                online,
                revoked: info.revoked,
            });
        }
        Ok(Devices { devices, next })
    }

    pub(super) async fn revoke(&self, revoke: Revoke) -> Result<Revoked, AdminError> {
        let registry = &self.node.registry;
        let devices = match revoke {
            Revoke::Device(device) => vec![parse_device(&device)?],
            Revoke::User(user) => {
                let devices = registry.devices_of(&parse_user(&user)?).await?;
                if devices.is_empty() {
                    return Err(AdminError::new(
                        Code::NotFound,
                        "There is no such user, or none with devices.",
                    )
                    .hint("See: hither-relay users"));
                }
                devices
            }
        };
        for device in &devices {
            registry.revoke(device).await?;
        }
        Ok(Revoked {
            devices: devices.iter().map(DeviceId::to_string).collect(),
        })
    }

    pub(super) async fn stats(&self) -> Result<Stats, AdminError> {
        let node = &self.node;
        let mail = if node.plays(Role::Control) {
            Some(sample_mail(node.state.as_ref()).await?)
        } else {
            None
        };
        let store = match &node.store {
            Some(store) => {
                let stats = store.stats().await?;
                Some(StoreStats {
                    kept: stats.logical_bytes,
                    on_disk: stats.pack_bytes,
                    packs: stats.packs,
                    dedupe: stats.dedupe_ratio(),
                    damaged: stats.damaged,
                })
            }
            None => None,
        };
        Ok(Stats {
            version: env!("CARGO_PKG_VERSION").into(),
            node: node.id().to_string(),
            problems: node.problems().await,
            devices_online: node.connections() as u64,
            users: mail.map(|mail| mail.users),
            devices: mail.map(|mail| mail.devices),
            groups: mail.map(|mail| mail.groups),
            memberships: mail.map(|mail| mail.memberships),
            messages: mail.map(|mail| mail.messages),
            message_bytes: mail.map(|mail| mail.bytes),
            store,
            index: node.index_held().map(|held| IndexStats {
                topics: held.topics,
                entries: held.entries,
                subscriptions: held.subscriptions,
                bytes: held.bytes,
            }),
            web: node.config.web.is_on().then(|| {
                let metrics = &node.metrics;
                let open = |gauge: i64| u64::try_from(gauge).unwrap_or(0);
                WebStats {
                    url: node.web_address().map(|url| url.to_string()),
                    connections: open(metrics.browsers.get()),
                    websockets: open(metrics.pipes.get()),
                    requests: metrics.web_requests.get(),
                }
            }),
            disk_free: node.sample().await.disk_free,
        })
    }

    pub(super) async fn gc(&self) -> Result<Collected, AdminError> {
        let report = self.store()?.gc().await?;
        Ok(Collected {
            expired: report.expired,
            chunks: report.chunks,
            bytes: report.bytes,
            packs_deleted: report.packs_deleted,
            packs_compacted: report.packs_compacted,
        })
    }

    pub(super) async fn check(&self, repair: bool) -> Result<Checked, AdminError> {
        Ok(checked(&self.store()?.check(repair).await?))
    }

    pub(super) async fn backup(&self, to: PathBuf) -> Result<Saved, AdminError> {
        let (gates, folder) = (self.gates.clone(), self.folder.clone());
        blocking(move || back_up(&folder, &to, &Databases::Running(&gates))).await
    }

    fn store(&self) -> Result<&Arc<Store>, AdminError> {
        self.node
            .store
            .as_ref()
            .ok_or_else(|| AdminError::new(Code::Role, "This node keeps no chunks."))
    }
}

pub(super) fn checked(report: &CheckReport) -> Checked {
    Checked {
        clean: report.is_clean(),
        packs: report.packs,
        chunks: report.chunks,
        bytes: report.bytes,
        damaged: report.damaged,
        unreadable_packs: report.unreadable_packs,
        bad_directories: report.bad_directories,
        dangling: report.dangling,
    }
}

/// Runs what blocks on the disk.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AdminError> + Send + 'static,
) -> Result<T, AdminError> {
    let failed = |_| AdminError::new(Code::Failed, "The relay is going down.");
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}

pub(super) fn parse_user(text: &str) -> Result<UserId, AdminError> {
    unhex(text).map(UserId::new).ok_or_else(|| {
        AdminError::new(
            Code::Usage,
            format!("\"{}\" is no user.", hither_proto::display_name(text)),
        )
        .hint("A user has 32 hexadecimal digits; see: hither-relay users")
    })
}

pub(super) fn parse_device(text: &str) -> Result<DeviceId, AdminError> {
    text.parse().map_err(|_| {
        AdminError::new(
            Code::Usage,
            format!("\"{}\" is no device.", hither_proto::display_name(text)),
        )
        .hint("A device's id begins with 12D3KooW; see: hither-relay devices")
    })
}
