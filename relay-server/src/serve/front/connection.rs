//! One long connection, as the rest of the node sees it: a place to leave word at.
//!
//! Whatever is left is a flag, a member of a bounded set or the last of its kind, so that nothing
//! piles up however slow the device is.

use crate::serve::groups::Change;
use crate::serve::visit::Standing;
use hither_proto::limits::{MAX_DEVICES, MAX_GROUP_NEWS, MAX_NAMEPLATES};
use hither_proto::{CircuitId, DeviceId, Knock, RelayAddress, UserId, Word};
use hither_util::sync::Mutex;
use std::collections::BTreeSet;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Notify, oneshot};

/// Most senders that wait for one reader's acknowledgement; beyond it the oldest are told that it
/// was not forwarded.
const MAX_WAITING: usize = 1024;

/// Most offers of circuits that wait to be written to one connection; beyond it they are left to
/// expire.
const MAX_OFFERS: usize = 64;

/// Why a connection ends although its device did not end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The device has a newer connection.
    Replaced,
    /// Another machine with the key of the device has a newer connection.
    Twin,
    /// The device was revoked.
    Revoked,
}

/// Who waits until a message was acknowledged.
#[derive(Debug)]
pub(crate) enum Waiter {
    /// A connection of this node.
    Here(oneshot::Sender<()>),
    /// A connection of another front.
    There(DeviceId),
}

/// A message whose acknowledgement somebody waits for.
#[derive(Debug)]
pub(crate) struct AwaitedAck {
    pub(crate) seq: u64,
    pub(crate) waiter: Waiter,
}

/// What was left for a connection since it looked last.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Devices of the user of which something changed.
    pub(crate) changed: BTreeSet<DeviceId>,
    /// Everything may have changed.
    pub(crate) all: bool,
    /// What changed of the groups that the device listens to.
    pub(crate) groups: BTreeSet<Change>,
    /// Anything about them may have changed.
    pub(crate) all_groups: bool,
    /// There is something in the mailbox.
    pub(crate) mail: bool,
    /// Somebody reads a share of the device from a store.
    pub(crate) fetches: bool,
    /// The device should go there.
    pub(crate) move_to: Option<Vec<RelayAddress>>,
    /// The connection must end.
    pub(crate) end: Option<End>,
    /// Circuits that were asked for: what it is called, by whom, what the device shows.
    pub(crate) offers: Vec<(CircuitId, DeviceId, Knock)>,
    waiting: Vec<AwaitedAck>,
    /// The device has acknowledged everything up to this.
    acknowledged: u64,
}

/// One long connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The device, as TLS proved it.
    pub(crate) device: DeviceId,
    /// Whose it is; of what is no device, under which user it is present.
    pub(crate) user: UserId,
    /// As what it is connected.
    pub(crate) standing: Standing,
    /// Names the connection at this node; later ones have greater numbers.
    pub(crate) id: u64,
    /// The same for devices of the user that come from one public address.
    pub(crate) network: [u8; 16],
    /// Names the run of the device's program; 0: not told.
    pub(crate) instance: u64,
    /// Revision of its presence in the state; 0: none.
    presence: AtomicU64,
    /// Revision of the latest presence of the device at another connection.
    other: AtomicU64,
    /// The run of the program that the other connection is of; 0: not known.
    other_instance: AtomicU64,
    pending: Mutex<Pending>,
    wake: Notify,
    /// First words of the codes that the device shows.
    codes: Mutex<Vec<Word>>,
}

impl Connection {
    pub(crate) fn new(device: DeviceId, user: UserId, network: [u8; 16], instance: u64) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            device,
            user,
            standing: Standing::Device,
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            network,
            instance,
            presence: AtomicU64::new(0),
            other: AtomicU64::new(0),
            other_instance: AtomicU64::new(0),
            pending: Mutex::default(),
            wake: Notify::new(),
            codes: Mutex::default(),
        }
    }

    /// The same as something else than a device that has all rights.
    pub(crate) fn with(mut self, standing: Standing) -> Self {
        self.standing = standing;
        self
    }

    /// The only one of whom a visitor gets letters.
    pub(crate) fn host(&self) -> Option<DeviceId> {
        match &self.standing {
            Standing::Visitor(visit) => Some(visit.host),
            Standing::Device | Standing::Page | Standing::Asker(_) => None,
        }
    }

    /// The device shows a code that begins with this word. False: it shows too many.
    pub(crate) fn show_code(&self, nameplate: Word) -> bool {
        let mut codes = self.codes.lock();
        if !codes.contains(&nameplate) {
            if codes.len() >= MAX_NAMEPLATES {
                return false;
            }
            codes.push(nameplate);
        }
        true
    }

    /// It shows it no more.
    pub(crate) fn hide_code(&self, nameplate: Word) {
        self.codes.lock().retain(|other| *other != nameplate);
    }

    /// Takes all that it shows.
    pub(crate) fn take_codes(&self) -> Vec<Word> {
        std::mem::take(&mut *self.codes.lock())
    }

    /// Revision under which its presence was put; 0: it was not.
    pub(crate) fn presence(&self) -> u64 {
        self.presence.load(Ordering::SeqCst)
    }

    /// Its presence was put.
    pub(crate) fn set_presence(&self, revision: u64) {
        self.presence.store(revision, Ordering::SeqCst);
        self.compare();
    }

    /// The presence of the device was put for another connection, of that run of the device's
    /// program.
    pub(crate) fn saw_other(&self, revision: u64, instance: u64) {
        self.other_instance.store(instance, Ordering::SeqCst);
        self.other.fetch_max(revision, Ordering::SeqCst);
        self.compare();
    }

    /// Ends this connection if the other one is newer. Whichever of the two is learnt last finds it
    /// out.
    fn compare(&self) {
        let own = self.presence();
        if own != 0 && self.other.load(Ordering::SeqCst) > own {
            self.replaced(self.other_instance.load(Ordering::SeqCst));
        }
    }

    /// Ends this connection: the device has a newer one, of that run of its program. A run that
    /// ended reads nothing any more, so who hears of another run is a machine beside it.
    pub(crate) fn replaced(&self, instance: u64) {
        let twin = self.instance != 0 && instance != 0 && self.instance != instance;
        self.end(if twin { End::Twin } else { End::Replaced });
    }

    /// Something about a device of the user changed.
    pub(crate) fn changed(&self, device: DeviceId) {
        self.leave(|pending| {
            if pending.changed.len() < MAX_DEVICES {
                pending.changed.insert(device);
            } else {
                pending.all = true;
            }
        });
    }

    /// Anything may have changed.
    pub(crate) fn unsure(&self) {
        self.leave(|pending| {
            (pending.all, pending.mail, pending.all_groups) = (true, true, true);
            pending.fetches = true;
        });
    }

    /// Somebody reads a share of the device from a store.
    pub(crate) fn fetched(&self) {
        self.leave(|pending| pending.fetches = true);
    }

    /// Something about a group of the device changed.
    pub(crate) fn group(&self, change: Change) {
        self.leave(|pending| {
            if pending.groups.len() < MAX_GROUP_NEWS {
                pending.groups.insert(change);
            } else {
                pending.all_groups = true;
            }
        });
    }

    /// Something is in the mailbox. `waiting` is told when it was acknowledged.
    pub(crate) fn mail(&self, waiting: Option<AwaitedAck>) {
        self.leave(|pending| {
            pending.mail = true;
            let Some(waiting) = waiting else { return };
            match waiting.waiter {
                // Another sender's word had it delivered already.
                Waiter::Here(tell) if waiting.seq <= pending.acknowledged => drop(tell.send(())),
                _ => {
                    if pending.waiting.len() >= MAX_WAITING {
                        // The oldest have given up, or will be told that it was not forwarded.
                        pending.waiting.drain(..MAX_WAITING / 2);
                    }
                    pending.waiting.push(waiting);
                }
            }
        });
    }

    /// A device asks for a circuit.
    pub(crate) fn offer(&self, circuit: CircuitId, from: DeviceId, knock: Knock) {
        self.leave(|pending| {
            if pending.offers.len() < MAX_OFFERS {
                pending.offers.push((circuit, from, knock));
            }
        });
    }

    /// The device should go elsewhere.
    pub(crate) fn move_to(&self, relays: Vec<RelayAddress>) {
        self.leave(|pending| pending.move_to = Some(relays));
    }

    /// The connection must end; the first reason counts.
    pub(crate) fn end(&self, why: End) {
        self.leave(|pending| pending.end = pending.end.or(Some(why)));
    }

    /// Waits until something was left.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Takes what was left, except for who waits for acknowledgements.
    pub(crate) fn take(&self) -> Pending {
        let mut pending = self.pending();
        let kept = Pending {
            waiting: std::mem::take(&mut pending.waiting),
            acknowledged: pending.acknowledged,
            ..Pending::default()
        };
        std::mem::replace(&mut *pending, kept)
    }

    /// Takes those who wait for the acknowledgement of `seq` or something before it.
    pub(crate) fn acknowledged(&self, seq: u64) -> Vec<Waiter> {
        let mut pending = self.pending();
        pending.acknowledged = pending.acknowledged.max(seq);
        let gone = pending.waiting.extract_if(.., |waiting| waiting.seq <= seq);
        gone.map(|waiting| waiting.waiter).collect()
    }

    fn leave(&self, what: impl FnOnce(&mut Pending)) {
        what(&mut self.pending());
        self.wake.notify_one();
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_carrier::Identity;

    fn connection() -> Connection {
        let device = Identity::generate().unwrap().device_id();
        Connection::new(device, UserId::new([1; 16]), [0; 16], 0)
    }

    #[test]
    fn what_is_left_does_not_pile_up() {
        let connection = connection();
        for _ in 0..MAX_DEVICES + 10 {
            connection.changed(Identity::generate().unwrap().device_id());
        }
        for seq in 0..2 * MAX_WAITING as u64 {
            let (tell, _) = oneshot::channel();
            connection.mail(Some(AwaitedAck {
                seq,
                waiter: Waiter::Here(tell),
            }));
        }
        let pending = connection.take();
        assert!(pending.all && pending.mail && pending.changed.len() == MAX_DEVICES);
        assert!((MAX_WAITING / 2..=MAX_WAITING).contains(&connection.acknowledged(u64::MAX).len()));
        connection.end(End::Revoked);
        connection.end(End::Replaced);
        assert_eq!(connection.take().end, Some(End::Revoked));
    }

    #[test]
    fn a_newer_presence_elsewhere_ends_it_whichever_is_learnt_first() {
        let (late, early, newest) = (connection(), connection(), connection());
        late.set_presence(5);
        late.saw_other(7, 0);
        early.saw_other(7, 0);
        assert_eq!(early.take().end, None);
        early.set_presence(5);
        newest.saw_other(5, 0);
        newest.set_presence(7);
        let ends = [late, early, newest].map(|connection| connection.take().end);
        assert_eq!(ends, [Some(End::Replaced), Some(End::Replaced), None]);
    }

    #[test]
    fn another_run_is_another_machine_when_both_are_known() {
        for (instance, other, end) in [
            (1, 2, End::Twin),
            (1, 1, End::Replaced),
            (0, 2, End::Replaced),
            (1, 0, End::Replaced),
        ] {
            let device = Identity::generate().unwrap().device_id();
            let connection = Connection::new(device, UserId::new([1; 16]), [0; 16], instance);
            connection.replaced(other);
            assert_eq!(connection.take().end, Some(end));
        }
    }

    #[test]
    fn an_acknowledgement_concerns_what_came_before() {
        let connection = connection();
        let (tell, _told) = oneshot::channel();
        connection.mail(Some(AwaitedAck {
            seq: 7,
            waiter: Waiter::Here(tell),
        }));
        let (later, _kept) = oneshot::channel();
        connection.mail(Some(AwaitedAck {
            seq: 9,
            waiter: Waiter::Here(later),
        }));
        assert!(connection.acknowledged(6).is_empty());
        assert_eq!(connection.acknowledged(8).len(), 1);
        // Word of it comes after its acknowledgement.
        let (tell, mut told) = oneshot::channel();
        connection.mail(Some(AwaitedAck {
            seq: 8,
            waiter: Waiter::Here(tell),
        }));
        assert_eq!(told.try_recv(), Ok(()));
    }
}
