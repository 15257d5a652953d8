//! Messages between a user's devices: at once when the other one is there, else when it comes; each
//! once, in order.

use crate::common::Random;
use crate::relay_world::{World, join_all};
use hither_api::{MessageKind, SentState};
use hither_tests::lab::{self, Device, MIB, Relay, Tree, fill, until, within};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn e6_e7_a_message_to_a_device_that_is_there_arrives_at_once() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, laptop) = world.pair();
        for (number, (from, to)) in [(&desk, &laptop), (&laptop, &desk)].into_iter().enumerate() {
            let text = format!("https://example.org/?{number} – grüße\nand a second line");
            let began = Instant::now();
            let sent = from.send(&to.name, &text);
            println!("{:.2?} from {} to {}", began.elapsed(), from.name, to.name);
            assert_eq!((sent.state, &sent.name), (SentState::Delivered, &to.name));
            // The reader has acknowledged it: nothing is to be waited for.
            let inbox = to.inbox();
            let [message] = &inbox[..] else {
                panic!("{inbox:?}")
            };
            assert_eq!((&message.from, &message.name), (&from.id(), &from.name));
            assert_eq!(
                (message.text.as_deref(), &message.message),
                (Some(&text[..]), &sent.message)
            );
        }
        // Small files as well.
        let notes = desk.path("notes.txt");
        std::fs::write(&notes, "things to buy").unwrap();
        let sent = desk
            .hither(&["send", "laptop", notes.to_str().unwrap()])
            .well();
        assert_eq!(sent.lines.last().unwrap()["state"], "delivered");
        let number = laptop.inbox().pop().unwrap().id.to_string();
        let into = laptop.path("saved");
        laptop
            .hither(&["inbox", "save", &number, "-o", into.to_str().unwrap()])
            .well();
        assert_eq!(
            std::fs::read_to_string(into.join("notes.txt")).unwrap(),
            "things to buy"
        );
        until("what arrived is kept nowhere", || {
            (world.relay.stats()["messages"] == 0).then_some(())
        });
    });
}

#[test]
fn e7_a_large_file_is_sent_as_a_share() {
    lab::run(|lab| {
        const SIZE: u64 = 8 * MIB;
        let world = World::new(lab);
        let (desk, laptop) = world.pair();
        let film = fill(desk.path("film.mkv"), 1, SIZE);
        desk.hither(&["send", "laptop", film.to_str().unwrap()])
            .well();
        let offers = until("the offer", || laptop.inbox().pop());
        assert_eq!(
            (offers.kind, offers.share.map(|share| share.bytes)),
            (MessageKind::Ticket, Some(SIZE))
        );
        let (number, into) = (offers.id.to_string(), laptop.path("got"));
        // It may be on its way to the store still.
        let fetch = laptop.begin(&[
            "inbox",
            "fetch",
            &number,
            "--yes",
            "-o",
            into.to_str().unwrap(),
        ]);
        println!("{:?}", fetch.finish().fetched().sources);
        Tree::of(&film).assert_same(&Tree::of(into.join("film.mkv")));
    });
}

#[test]
fn e6_a_message_waits_for_a_device_that_is_off_and_for_a_relay_that_is_down() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, laptop) = world.pair();
        laptop.down();
        desk.sees_that("laptop", false);
        assert_eq!(desk.send("laptop", "one").state, SentState::AtRelay);
        assert_eq!(world.relay.stats()["messages"], 1);
        world.relay.kill();
        world.relay.start();
        desk.send("laptop", "two");
        until("the relay has it", || {
            (desk.status().outgoing == 0).then_some(())
        });
        world.relay.stop();
        let sent = desk.send("laptop", "three");
        assert_eq!(sent.state, SentState::Waiting);
        assert!(
            sent.reason.is_some_and(|reason| reason.contains("relay")),
            "it is said why"
        );
        // What was taken from the user survives the sender's death.
        desk.kill();
        desk.up();
        assert_eq!(desk.status().outgoing, 1);
        world.relay.start();
        until("the relay has all", || {
            (desk.status().outgoing == 0).then_some(())
        });
        assert_eq!(world.relay.stats()["messages"], 3);
        desk.down();
        laptop.up();
        until("all of them", || {
            (laptop.texts(None).len() >= 3).then_some(())
        });
        assert_eq!(laptop.texts(None), ["one", "two", "three"]);
        until("nothing is kept", || {
            (world.relay.stats()["messages"] == 0).then_some(())
        });
        // None comes again.
        laptop.kill();
        laptop.up();
        desk.up();
        desk.sees_that("laptop", true);
        desk.send("laptop", "four");
        until("the last one", || {
            (laptop.texts(None).len() >= 4).then_some(())
        });
        assert_eq!(laptop.texts(None), ["one", "two", "three", "four"]);
    });
}

/// Messages of each sender in a round, at least; and in all rounds, at most: an inbox takes 10,000.
const BURST: usize = 3;
const MOST: usize = 4_000;
/// Longest pause between two attempts of a device to reach a relay that was away again and again,
/// and some time more.
const RECOVERY: Duration = Duration::from_secs(150);

/// What one sender was told about its texts.
struct Sender<'a> {
    device: &'a Device,
    sent: usize,
    acknowledged: Vec<String>,
}

impl Sender<'_> {
    fn burst(&mut self, to: &str) {
        for _ in 0..BURST {
            self.sent += 1;
            let text = format!("{} {:05}", self.device.name, self.sent);
            // It may be killed in the middle; then nothing was promised.
            if self.device.hither(&["send", to, &text]).status == 0 {
                self.acknowledged.push(text);
            }
        }
    }

    /// Everything that was acknowledged is there, once, in the order in which it was sent.
    fn check(&self, reader: &Device) {
        let arrived = reader.texts(Some(&self.device.name));
        let once: BTreeSet<_> = arrived.iter().collect();
        assert_eq!(
            once.len(),
            arrived.len(),
            "something of {} arrived twice: {arrived:?}",
            self.device.name
        );
        assert!(arrived.is_sorted(), "not in order: {arrived:?}");
        let lost: Vec<_> = self
            .acknowledged
            .iter()
            .filter(|text| !once.contains(text))
            .collect();
        assert!(
            lost.is_empty(),
            "{lost:?} of {} were lost; there are {arrived:?}",
            self.device.name
        );
    }
}

/// Somebody dies and comes back.
fn crash(who: u64, relay: &Relay, devices: &[&Device]) {
    match devices.get(who as usize) {
        Some(device) => {
            device.kill();
            device.up();
        }
        None => {
            relay.kill();
            relay.start();
        }
    }
}

#[test]
fn e6_what_was_acknowledged_arrives_once_and_in_order_whoever_dies() {
    lab::run(|lab| {
        let rounds =
            std::env::var("HITHER_KILL_ROUNDS").map_or(12, |text| text.parse().expect("a number"));
        let world = World::new(lab);
        let (desk, laptop) = world.pair();
        let phone = world.two.device("phone");
        join_all(&[&desk, &laptop, &phone], &world.relay.invitation());
        let mut random = Random(lab.seed());
        let mut senders = [&desk, &phone].map(|device| Sender {
            device,
            sent: 0,
            acknowledged: Vec::new(),
        });
        for round in 0..rounds {
            let who = random.below(4);
            let pause = Duration::from_millis(random.below(400));
            let over = &AtomicBool::new(false);
            thread::scope(|scope| {
                for sender in &mut senders {
                    scope.spawn(move || {
                        let most = sender.sent + MOST / rounds;
                        sender.burst("laptop");
                        // A round is not over before whoever died is back.
                        while !over.load(Ordering::Relaxed) && sender.sent < most {
                            sender.burst("laptop");
                        }
                    });
                }
                // At a moment that is no particular one.
                thread::sleep(pause);
                crash(who, &world.relay, &[&desk, &phone, &laptop]);
                over.store(true, Ordering::Relaxed);
            });
            let acknowledged: usize = senders.iter().map(|sender| sender.acknowledged.len()).sum();
            println!("round {round}: {who} died; {acknowledged} were acknowledged so far");
        }
        let began = Instant::now();
        for sender in &mut senders {
            // In order: when the last one is there, so are all before it that will ever come.
            let last = format!("{} last", sender.device.name);
            sender.device.send("laptop", &last);
            sender.acknowledged.push(last.clone());
            within(RECOVERY, &last, || {
                laptop
                    .texts(Some(&sender.device.name))
                    .contains(&last)
                    .then_some(())
            });
        }
        println!(
            "all had arrived {:.1?} after the last death",
            began.elapsed()
        );
        senders.iter().for_each(|sender| sender.check(&laptop));
        until("nothing is kept", || {
            (world.relay.stats()["messages"] == 0).then_some(())
        });
    });
}
