//! A share that is offered, fetched into the receive folder by a transfer as any other: it survives
//! restarts by itself.

use super::ReceiveService;
use super::arrive::Ended;
use super::rules::TOO_LARGE;
use crate::mail::{Arrival, MessageRecord};
use crate::transfer::{self, Agreement, Control, Request, Transfer};
use hither_api::{ApiError, Done, ErrorCode, Event, Existing, TicketNote};
use hither_proto::Ticket;
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;

impl ReceiveService {
    /// Fetches what a message offers, until it is there, cannot be had now, or is not to arrive.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        number: u64,
        record: &MessageRecord,
        note: &TicketNote,
    ) -> Ended {
        let Ok(ticket) = note.ticket.parse::<Ticket>() else {
            return Ended::ByHand("its ticket cannot be read".into());
        };
        let agreed = matches!(
            record.arrival,
            Some(Arrival::Due { agreed: true } | Arrival::Fetching { agreed: true, .. })
        );
        let transfer = match self.transfer_of(record, ticket) {
            Ok(transfer) => transfer,
            Err(error) => return failed(&error),
        };
        let fetching = Arrival::Fetching {
            transfer: transfer.id.clone(),
            agreed,
        };
        // From here on it is this transfer: a finished one is not begun again.
        match self.set(number, fetching).await {
            Ok(true) => {}
            Ok(false) => {
                stop(&transfer).await;
                return Ended::Gone;
            }
            Err(error) => return Ended::Later(error.to_string()),
        }
        self.follow(number, &transfer, agreed).await
    }

    /// The transfer that an earlier run began, or a new one.
    fn transfer_of(
        self: &Arc<Self>,
        record: &MessageRecord,
        ticket: Ticket,
    ) -> Result<Arc<Transfer>, ApiError> {
        let all = &self.transfers.transfers;
        let begun = match &record.arrival {
            Some(Arrival::Fetching { transfer, .. }) => all.get(transfer),
            // It may have been begun right before a crash.
            _ => all.all().into_iter().find(|other| {
                let begun = other.record();
                other.ticket.secret == ticket.secret
                    && begun.folder == self.folder()
                    && begun.started >= record.received
            }),
        };
        if let Some(begun) = begun {
            if !begun.is_done() {
                transfer::resume(&self.transfers, &begun)?;
            }
            return Ok(begun);
        }
        let request = Request {
            ticket,
            folder: Some(self.folder()),
            named: None,
            paths: Vec::new(),
            listing: false,
            from: 0,
            existing: Existing::Rename,
            accept: false,
            follow: false,
            mode: None,
            max_cost: None,
            umask: hither_api::umask(),
            names: None,
            wait: None,
        };
        transfer::begin(&self.transfers, request)
    }

    /// Follows a transfer to its end; says yes to what is offered if it may arrive.
    async fn follow(
        self: &Arc<Self>,
        number: u64,
        transfer: &Arc<Transfer>,
        agreed: bool,
    ) -> Ended {
        let (mut events, told) = transfer.listen();
        let mut told = told.into_iter();
        loop {
            let changed = self.changed.notified();
            let deleted = self.mail.inbox.room.notified();
            if transfer.is_done() {
                return Ended::Arrived(vec![transfer.record().path]);
            }
            if !self.is_fetching(number, transfer).await {
                stop(transfer).await;
                return Ended::Gone;
            }
            let event = match told.next() {
                Some(event) => event,
                None => tokio::select! {
                    event = events.recv() => match event {
                        Ok(event) => event,
                        Err(RecvError::Lagged(_)) => continue,
                        Err(RecvError::Closed) => return Ended::Later("the fetch stopped".into()),
                    },
                    () = changed => continue,
                    () = deleted => continue,
                },
            };
            match event {
                Event::Offer { agreed: true, .. } => {}
                Event::Offer { bytes, head, .. } => {
                    // The owner's word of now counts, not the one written in the message.
                    if !agreed && self.settings.get().max.is_some_and(|max| bytes > max) {
                        stop(transfer).await;
                        return Ended::Asked(TOO_LARGE.into());
                    }
                    transfer.control(Control::Accept(Agreement::Offer(head, None)));
                }
                Event::Done(Done::Fetched { path, .. }) => return Ended::Arrived(vec![path]),
                Event::Error(error) => return failed(&error),
                _ => {}
            }
        }
    }

    /// Returns whether a message is still there and arrives by this transfer.
    async fn is_fetching(self: &Arc<Self>, number: u64, by: &Transfer) -> bool {
        let record = self.record(number).await.ok().flatten();
        let arrival = record.and_then(|record| record.arrival);
        matches!(arrival, Some(Arrival::Fetching { transfer, .. }) if transfer == by.id)
    }
}

/// Ends a transfer, and removes what it wrote.
async fn stop(transfer: &Arc<Transfer>) {
    let (mut events, _) = transfer.listen();
    if transfer.control(Control::Cancel) {
        while transfer.is_running() {
            match events.recv().await {
                Ok(event) if event.is_last() => break,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break,
            }
        }
    }
}

/// The consequence of the end of a transfer that did not do it.
fn failed(error: &ApiError) -> Ended {
    let why = error.message.trim_end_matches('.').to_owned();
    match error.code {
        // Its holders may be away for now, a disk be full, and somebody may pause the transfer or
        // fetch the share elsewhere.
        ErrorCode::NoHolder
        | ErrorCode::NoRelay
        | ErrorCode::NoSpace
        | ErrorCode::OverQuota
        | ErrorCode::NotWritable
        | ErrorCode::AlreadyFetching
        | ErrorCode::Damaged
        | ErrorCode::TooDear
        | ErrorCode::Internal
        | ErrorCode::Interrupted => Ended::Later(why),
        _ => Ended::ByHand(why),
    }
}
