//! The user's decisions about messages whose files or share wait.

use super::ReceiveService;
use crate::failure;
use crate::mail::{self, Arrival, MessageRecord, StoredContent, stored_id};
use hither_api::{ApiError, ArrivalDecision, ErrorCode, MessageInfo};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Longest wait for a fetch to stop that the user takes in hand.
const STOPS: Duration = Duration::from_secs(5);

impl ReceiveService {
    /// Does with a message what the user wants; gives it as it is then, or was.
    ///
    /// Errors: there is no such message, nothing of it could arrive, or it cannot be kept.
    pub(crate) async fn decide(
        self: &Arc<Self>,
        number: u64,
        decision: ArrivalDecision,
    ) -> Result<MessageInfo, ApiError> {
        let of = Arc::clone(self);
        let work = move || match decision {
            ArrivalDecision::Accept => of.accept(number),
            ArrivalDecision::Refuse => of.refuse(number),
            ArrivalDecision::ByHand => of.leave(number),
        };
        let info = tokio::task::spawn_blocking(work)
            .await
            .map_err(failure::internal)??;
        self.changed.notify_waiters();
        if decision == ArrivalDecision::ByHand {
            let mut busy = self.busy.subscribe();
            let stopped = busy.wait_for(|busy| !busy.contains(&number));
            let _ = timeout(STOPS, stopped).await; // a disk that hangs holds nobody up
        }
        Ok(info)
    }

    /// The message, where something of it may arrive. Blocks.
    fn one(&self, number: u64) -> Result<MessageRecord, ApiError> {
        let found = self.mail.inbox.get(number);
        let record = found.map_err(|error| failure::storage(&error))?;
        let record = record.ok_or_else(|| mail::missing(number))?;
        match record.content {
            StoredContent::Files { .. } | StoredContent::Ticket { .. } => Ok(record),
            StoredContent::Text { .. } | StoredContent::Unknown => {
                let message = format!("Message {number} holds no file and offers no share.");
                Err(ApiError::new(ErrorCode::BadRequest, message)
                    .with_hint(format!("Read it with: hither inbox read {number}")))
            }
        }
    }

    /// Sets how a message stands from now on, unless it has arrived. Blocks.
    fn set_arrival(&self, number: u64, arrival: Arrival) -> Result<(), ApiError> {
        let changed = self.mail.inbox.change(number, |record| {
            let stays = match &record.arrival {
                Some(Arrival::Arrived { .. }) => true,
                // Its files are on their way to their places: the yes was given.
                Some(now) => now.is_under_way() && matches!(arrival, Arrival::Due { .. }),
                None => false,
            };
            if !stays {
                record.arrival = Some(arrival);
            }
            !stays
        });
        changed.map(drop).map_err(|error| failure::storage(&error))
    }

    fn accept(&self, number: u64) -> Result<MessageInfo, ApiError> {
        let record = self.one(number)?;
        let was_asked = matches!(record.arrival, Some(Arrival::Asked { .. }));
        self.set_arrival(number, Arrival::Due { agreed: true })?;
        // Its sender may wait for that; a share is seen to be fetched.
        let ids = record.from.parse().ok().zip(stored_id(&record.message));
        if let (true, StoredContent::Files { .. }, Some((from, id))) =
            (was_asked, &record.content, ids)
        {
            self.mail.taken(from, id);
        }
        mail::get(&self.mail, number)
    }

    fn leave(&self, number: u64) -> Result<MessageInfo, ApiError> {
        self.one(number)?;
        self.set_arrival(number, Arrival::ByHand { reason: None })?;
        mail::get(&self.mail, number)
    }

    /// Its sender hears of it, then it is gone here.
    fn refuse(&self, number: u64) -> Result<MessageInfo, ApiError> {
        let record = self.one(number)?;
        if matches!(record.arrival, Some(Arrival::Arrived { .. })) {
            let message = format!("Message {number} has arrived already.");
            return Err(ApiError::new(ErrorCode::BadRequest, message)
                .with_hint(format!("Remove it with: hither inbox delete {number}")));
        }
        let ids = record.from.parse().ok().zip(stored_id(&record.message));
        if let Some((from, id)) = ids {
            drop(self.mail.decline(from, id)); // it is durable; nobody waits for its way
        }
        mail::delete(&self.mail, number)
    }
}
