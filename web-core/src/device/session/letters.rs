//! Letters on their way to the relay.
//!
//! Invariant: each keeps its id on every attempt, and waits until the relay has it durably.

use super::{Asked, MAX_OUTBOX, Outgoing, Session};
use crate::context::Context;
use crate::device::event::Event;
use crate::device::hex;
use hither_proto::{DeviceId, MessageId, RelayMessage};

impl Session {
    /// Sends a sealed letter, now or when the relay is reached. `false`: too many wait.
    pub(in crate::device) fn send(
        &mut self,
        to: DeviceId,
        id: MessageId,
        sealed: Vec<u8>,
        context: &mut Context<'_>,
    ) -> bool {
        if self.outbox.iter().any(|letter| letter.id == id) {
            return true;
        }
        if self.outbox.len() >= MAX_OUTBOX {
            return false;
        }
        self.outbox.push_back(Outgoing {
            to,
            id,
            sealed,
            request: None,
        });
        if self.ready {
            self.send_outbox(context);
        }
        true
    }

    pub(in crate::device) fn unsend(&mut self, id: MessageId) {
        self.outbox.retain(|letter| letter.id != id);
    }

    pub(super) fn send_outbox(&mut self, context: &mut Context<'_>) {
        for at in 0..self.outbox.len() {
            let request = self.next;
            let Some(letter) = self.outbox.get_mut(at) else {
                return;
            };
            if letter.request.is_some() {
                continue;
            }
            letter.request = Some(request);
            let message = RelayMessage::Send {
                request,
                to: letter.to,
                id: letter.id,
                sealed: letter.sealed.clone().into(),
                keep_s: 0,
            };
            self.request(Asked::Letter);
            self.tell(&message, context);
        }
    }

    pub(super) fn sent(&mut self, request: u64, context: &mut Context<'_>) {
        self.asked.remove(&request);
        let mut letters = self.outbox.iter();
        let at = letters.position(|letter| letter.request == Some(request));
        if let Some(letter) = at.and_then(|at| self.outbox.remove(at)) {
            let id = hex::encode(letter.id.as_bytes());
            Event::Sent { id }.tell(context.out);
        }
    }

    /// The page has everything up to this number.
    pub(in crate::device) fn received(&mut self, seq: u64, context: &mut Context<'_>) {
        if self.ready {
            self.tell(&RelayMessage::Received { seq }, context);
        }
    }
}
