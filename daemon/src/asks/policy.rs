//! Requests that the user allows without being asked.

use super::AskService;
use super::records::{AskRecord, GRANTS, GrantRecord};
use crate::failure;
use hither_api::{ApiError, ErrorCode, GrantInfo, GrantRequest};
use hither_content::storage::Batch;
use hither_proto::{AskKind, DeviceId};
use std::sync::Arc;

/// Most allowances.
const MAX_GRANTS: usize = 256;

impl AskService {
    /// The allowance that answers a request, if one does.
    pub(super) fn grant_for(
        &self,
        from: DeviceId,
        ask: &AskRecord,
        now: u64,
    ) -> Option<GrantRecord> {
        // Nobody knows who sits at a browser: the user is asked.
        if self.nearby.is_page(from) {
            return None;
        }
        let from = from.to_string();
        let state = self.state();
        let mut allowing = state
            .grants
            .values()
            .filter(|one| one.allows(&from, ask, now));
        let first = allowing.next()?.clone();
        // One without a folder allows more.
        let wider = allowing.find(|one| one.folder.is_none()).cloned();
        Some(wider.filter(|_| first.folder.is_some()).unwrap_or(first))
    }

    /// Allows requests of a device from now on, those that wait too.
    ///
    /// Errors: no device or kind is meant, the folder is not there, or it cannot be kept.
    pub(crate) async fn allow(
        self: &Arc<Self>,
        request: GrantRequest,
    ) -> Result<GrantInfo, ApiError> {
        let device = self.nearby.find(&request.device).await?.device;
        if !self.nearby.may_send(device) {
            let message = "That device is a stranger: what it asks never arrives.";
            return Err(ApiError::new(ErrorCode::BadRequest, message)
                .with_hint("It has to send something first: hither nearby"));
        }
        let bad = |message: String, hint: &str| {
            Err(ApiError::new(ErrorCode::BadRequest, message).with_hint(hint))
        };
        if self.nearby.is_page(device) {
            return bad(
                "That is a page in a browser: what it asks is answered by your yes only.".into(),
                "Answer with: hither asks answer NUMBER",
            );
        }
        let kind = match request.kind.as_deref() {
            None => None,
            Some(name) => match AskKind::parse(name) {
                Some(kind) => Some(kind.name().to_owned()),
                None => {
                    let name = hither_proto::display_name(name);
                    return bad(
                        format!("Nothing of the kind {name} can be asked for."),
                        super::describe::KINDS,
                    );
                }
            },
        };
        if let Some(folder) = &request.folder
            && (!folder.is_absolute() || !folder.is_dir() || folder.to_str().is_none())
        {
            return bad(
                "There is no such folder.".into(),
                "Give a folder that is there.",
            );
        }
        let grant = GrantRecord {
            device: device.to_string(),
            kind,
            folder: request
                .folder
                .and_then(|folder| folder.to_str().map(str::to_owned)),
            live: request.live,
            until: request
                .seconds
                .map(|seconds| self.time.seconds().saturating_add(seconds)),
        };
        let of = Arc::clone(self);
        let number = tokio::task::spawn_blocking(move || of.keep_grant(grant))
            .await
            .map_err(failure::internal)??;
        self.wake.notify_one();
        self.changed();
        self.grants()
            .into_iter()
            .find(|grant| grant.grant == number)
            .ok_or_else(|| failure::internal("an allowance that is gone"))
    }

    fn keep_grant(&self, grant: GrantRecord) -> Result<u64, ApiError> {
        let mut state = self.state();
        let now = self.time.seconds();
        let past: Vec<u64> = state
            .grants
            .iter()
            .filter(|(_, one)| one.until.is_some_and(|until| until <= now))
            .map(|(number, _)| *number)
            .collect();
        if state.grants.len() - past.len() >= MAX_GRANTS {
            let message = format!("There are {MAX_GRANTS} allowances already.");
            return Err(ApiError::new(ErrorCode::OverQuota, message)
                .with_hint("End some first: hither asks revoke NUMBER"));
        }
        let number = state
            .grants
            .last_key_value()
            .map_or(1, |(last, _)| last + 1);
        let mut batch = Batch::new();
        for past in &past {
            batch.remove(GRANTS, &past.to_be_bytes());
        }
        let bytes = serde_json::to_vec(&grant).unwrap_or_default();
        batch.put(GRANTS, &number.to_be_bytes(), &bytes);
        self.storage
            .commit(batch)
            .map_err(|e| failure::storage(&e))?;
        for past in past {
            state.grants.remove(&past);
        }
        // Waiting requests are answered by it too.
        let device = grant.device.clone();
        for one in state.received.values_mut() {
            let waits = one.from == device && !one.state.is_final();
            one.by_grant |= waits && grant.allows(&device, &one.ask, now);
        }
        state.grants.insert(number, grant);
        Ok(number)
    }

    /// Ends an allowance.
    ///
    /// Errors: there is none of that number, or that cannot be kept.
    pub(crate) async fn revoke(self: &Arc<Self>, number: u64) -> Result<GrantInfo, ApiError> {
        let found = self.grants().into_iter().find(|one| one.grant == number);
        let Some(found) = found else {
            let message = format!("There is no allowance {number}.");
            return Err(ApiError::new(ErrorCode::NotFound, message)
                .with_hint("See them with: hither asks allowed"));
        };
        let of = Arc::clone(self);
        let work = move || {
            let mut state = of.state();
            let mut batch = Batch::new();
            batch.remove(GRANTS, &number.to_be_bytes());
            of.storage.commit(batch)?;
            state.grants.remove(&number);
            for one in state
                .received
                .values_mut()
                .filter(|one| !one.state.is_final())
            {
                one.by_grant = false;
            }
            Ok(())
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(failure::internal)?
            .map_err(|e: hither_content::storage::StorageError| failure::storage(&e))?;
        self.changed();
        Ok(found)
    }

    /// Every allowance that has not ended.
    pub(crate) fn grants(&self) -> Vec<GrantInfo> {
        let now = self.time.seconds();
        let all: Vec<(u64, GrantRecord)> = {
            let state = self.state();
            state
                .grants
                .iter()
                .map(|(n, one)| (*n, one.clone()))
                .collect()
        };
        let current = all
            .into_iter()
            .filter(|(_, one)| one.until.is_none_or(|until| now < until));
        current
            .map(|(number, one)| GrantInfo {
                grant: number,
                name: one
                    .device
                    .parse()
                    .map(|device| self.name_of(device))
                    .unwrap_or_default(),
                device: one.device,
                kind: one.kind,
                folder: one.folder,
                live: one.live,
                left_seconds: one.until.map(|until| until.saturating_sub(now)),
            })
            .collect()
    }
}
