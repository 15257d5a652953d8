//! Chaos: for as long as it is told to, everything that goes wrong in the field goes wrong at
//! random moments of everyday work, and what was acknowledged is checked in every calm.
//!
//! Four devices of two users, on two networks, with a relay and a group. Work: messages, shares
//! that change, fetches, joining and leaving the group. Faults: programs are killed, and stopped
//! for a while; cables are cut, thin, or carry one protocol only; clocks jump; a disk is full;
//! homes and the relay are restored from backups. In a calm everything is mended, and then:
//!
//! - every message that was acknowledged is there once, and none is there twice;
//! - every share, as it is, is fetched by every other device, byte for byte;
//! - all devices know the same members of the group, and who was removed and has not come back is
//!   not among them;
//! - no program has panicked.
//!
//! A restore from a backup may lose what its relay or device alone knew, and is excused by
//! name here: messages that waited at a relay which was restored, and what a device that was
//! restored had received since the backup.
//!
//! `HITHER_LAB_SEED` repeats the choices (not the moments); `HITHER_CHAOS_MINUTES` is how long it
//! goes on (60).

use crate::common::Random;
use crate::groups::{group, members, stranger, text};
use crate::relay_world::{World, join_all};
use hither_tests::lab::{self, Device, MIB, Process, Protocol, Tree, fill, noise, within};
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Rounds between two calms.
const ROUNDS: u64 = 8;
/// How long after a calm began everything is as it should be.
const RECOVERY: Duration = Duration::from_secs(150);
/// How long a command of the work may take while things go wrong.
const WORK: Duration = Duration::from_secs(40);
/// The disk of the device whose disk is filled.
const DISK: u64 = 160 * MIB;

/// Names of the devices, by their places in the list.
const NAMES: [&str; 4] = ["desk", "laptop", "phone", "bert"];
const PHONE: usize = 2;
const BERT: usize = 3;

/// A message: from whom, to whom, its text.
type Letter = (usize, usize, String);

/// What has been acknowledged.
#[derive(Default)]
struct Oracle {
    sent: BTreeSet<Letter>,
    /// Those that were seen to have arrived.
    arrived: BTreeSet<Letter>,
    tickets: BTreeMap<usize, String>,
    /// Whether the last word about bert's membership was that he is out, and nobody doubts it.
    out: bool,
    letters: u64,
}

/// One who makes things go wrong, and knows what to mend.
struct Chaos<'a, 'lab> {
    world: &'a mut World<'lab>,
    devices: Vec<Device>,
    random: Random,
    oracle: Oracle,
    filled: bool,
    backups: u64,
}

fn runs(device: &Device) -> Option<Process> {
    let status = device.api().get::<hither_api::Status>("/v1/status").ok()?;
    Process::find(status.pid)
}

/// Kills what runs of a device.
fn crash(device: &Device) {
    if let Some(process) = runs(device) {
        process.signal(Signal::KILL);
        process.ends_within(WORK);
        process.reap();
    }
}

impl Chaos<'_, '_> {
    fn chance(&mut self, of: u64) -> bool {
        self.random.below(of) == 0
    }

    fn any(&mut self) -> usize {
        usize::try_from(self.random.below(NAMES.len() as u64)).unwrap()
    }

    fn two(&mut self) -> (usize, usize) {
        let one = self.any();
        let other = (one + 1 + usize::try_from(self.random.below(NAMES.len() as u64 - 1)).unwrap())
            % NAMES.len();
        (one, other)
    }

    /// A round: some work, with faults at moments of it.
    fn round(&mut self) {
        let (kind, work, other) = (self.random.below(10), self.two(), self.any());
        let mut faults: Vec<_> = (0..self.random.below(3))
            .map(|_| {
                (
                    self.random.below(8),
                    self.any(),
                    self.random.below(2500),
                    500 + self.random.below(4000),
                )
            })
            .collect();
        // One at a time for each device: what mends one must not meet another.
        let mut meant = BTreeSet::new();
        faults.retain(|(_, whom, ..)| meant.insert(*whom));
        println!(
            "work {kind} of {} and {}; faults {faults:?}",
            NAMES[work.0], NAMES[work.1]
        );
        let seed = self.random.below(u64::MAX);
        let (devices, relay, oracle) =
            (&self.devices, &self.world.relay.process(), &mut self.oracle);
        scope(|threads| {
            for (fault, whom, after, lasting) in &faults {
                threads.spawn(move || {
                    sleep(Duration::from_millis(*after));
                    let (device, lasting) = (&devices[*whom], Duration::from_millis(*lasting));
                    match fault {
                        0 | 1 => crash(device),
                        2 => drop(runs(device).map(|process| stopped(&process, lasting))),
                        3 => stopped(relay, lasting),
                        4 => {
                            device.cable.cut();
                            sleep(lasting);
                            device.cable.restore();
                        }
                        5 => device
                            .cable
                            .shape_up(1 + u32::try_from(*after % 30).unwrap()),
                        _ => {
                            device.cable.block(if after.is_multiple_of(2) {
                                Protocol::Udp
                            } else {
                                Protocol::Tcp
                            });
                            sleep(lasting);
                            device.cable.unblock();
                        }
                    }
                });
            }
            do_work(devices, oracle, kind, work, other, seed);
        });
        // What would be in the way of others meanwhile, or needs nobody to work beside it.
        match self.random.below(9) {
            0 => {
                self.world.relay.kill();
                self.world.relay.start();
            }
            1 => self.jump_clock(),
            2 => self.fill_disk(),
            _ => {}
        }
    }

    fn jump_clock(&mut self) {
        let whom = self.any();
        // No system takes a time before 1970 for its clock.
        let first = 300
            - i64::try_from(
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap()
                    .as_secs(),
            )
            .unwrap();
        let offset = [-86_400, 3_600, 0, first, 73 * 31_557_600]
            [usize::try_from(self.random.below(5)).unwrap()];
        println!(
            "the clock of {} is {offset} s wrong from now on",
            NAMES[whom]
        );
        crash(&self.devices[whom]);
        self.devices[whom].set_wall_clock(offset);
    }

    fn fill_disk(&mut self) {
        if !self.filled {
            println!("the disk of the phone is full");
            fill_up(&self.devices[PHONE].home().join("filler"));
            self.filled = true;
        }
    }

    /// Everything is mended; then what was acknowledged must hold.
    fn calm(&mut self) {
        if self.filled {
            std::fs::remove_file(self.devices[PHONE].home().join("filler")).unwrap();
            self.filled = false;
        }
        for device in &mut self.devices {
            crash(device);
            device.set_wall_clock(0);
            device.cable.shape_up(1000);
            device.up();
        }
        let began = Instant::now();
        for (place, device) in self.devices.iter().enumerate() {
            within(RECOVERY, &format!("{} at the relay", NAMES[place]), || {
                (device.relay().state == hither_api::RelayState::Connected).then_some(())
            });
        }
        self.check_letters();
        self.check_group();
        self.check_shares();
        for (place, device) in self.devices.iter().enumerate() {
            assert!(
                !device.log().contains("panicked"),
                "{} panicked",
                NAMES[place]
            );
        }
        assert!(
            !self.world.relay.log().contains("panicked"),
            "the relay panicked"
        );
        println!(
            "all is well, {:.1?} after everything was mended",
            began.elapsed()
        );
    }

    fn check_letters(&mut self) {
        let waiting: Vec<_> = self
            .oracle
            .sent
            .difference(&self.oracle.arrived)
            .cloned()
            .collect();
        for (from, to, letter) in &waiting {
            let what = format!("\"{letter}\" from {} at {}", NAMES[*from], NAMES[*to]);
            within(RECOVERY, &what, || {
                self.devices[*to].texts(None).contains(letter).then_some(())
            });
        }
        self.oracle.arrived.extend(waiting);
        for device in &self.devices {
            let texts = device.texts(None);
            let once: BTreeSet<_> = texts.iter().collect();
            assert_eq!(
                once.len(),
                texts.len(),
                "{} has something twice: {texts:?}",
                device.name
            );
        }
    }

    fn check_group(&mut self) {
        let known = |device: &Device| -> BTreeSet<String> {
            members(device, "choir")
                .into_iter()
                .filter(|member| !member.asking)
                .map(|member| member.device)
                .collect()
        };
        let agreed = within(RECOVERY, "one list of members", || {
            let list = known(&self.devices[0]);
            let all = self
                .devices
                .iter()
                .filter(|device| list.contains(&device.id()));
            (!list.is_empty()
                && all.clone().count() > 2
                && all.clone().all(|device| known(device) == list))
            .then_some(list)
        });
        if self.oracle.out {
            assert!(
                !agreed.contains(&self.devices[BERT].id()),
                "who was removed is in again"
            );
        }
    }

    fn check_shares(&mut self) {
        for (owner, owned_by) in NAMES.iter().enumerate() {
            let folder = self.devices[owner].path("shared");
            let shared = self.devices[owner].share(&folder);
            self.oracle.tickets.insert(owner, shared.ticket.clone());
            let reader = (owner + 1 + usize::try_from(self.random.below(3)).unwrap()) % NAMES.len();
            let into = self.devices[reader].path(&format!("checked-{owner}"));
            let _ = std::fs::remove_dir_all(&into);
            let what = format!("{} fetches from {owned_by}", NAMES[reader]);
            within(RECOVERY, &what, || {
                let run = self.devices[reader].begin(&[
                    "fetch",
                    &shared.ticket,
                    "--yes",
                    "--overwrite",
                    "-o",
                    text(&into),
                ]);
                let run = run.finish_within(RECOVERY);
                if run.status != 0 {
                    println!("{what}: {:?}", run.lines.last());
                }
                (run.status == 0).then_some(())
            });
            Tree::of(&folder).assert_same(&Tree::of(into.join("shared")));
            let _ = std::fs::remove_dir_all(&into);
        }
    }

    /// Somebody is restored from a backup that is made now or was made at an earlier calm.
    fn go_back(&mut self) {
        let which = self.random.below(3);
        let name = format!("calm-{}", self.backups);
        match which {
            0 => {
                let whom = usize::try_from(self.random.below(2)).unwrap();
                println!("{} is restored from its backup", NAMES[whom]);
                self.devices[whom].down();
                if self.backups > 0 {
                    self.devices[whom].restore("backup");
                    // The messages received since are not its any more, and it may say again what
                    // it had said.
                    self.oracle.arrived.retain(|(_, to, _)| *to != whom);
                    self.oracle.sent.retain(|(_, to, _)| *to != whom);
                }
                self.devices[whom].backup("backup");
                self.devices[whom].up();
            }
            1 if self.backups > 0 => {
                println!("the relay is restored from its backup");
                self.world.relay.stop();
                self.world
                    .relay
                    .restore(&format!("calm-{}", self.backups - 1));
                self.world.relay.start();
                self.oracle.out = false;
            }
            _ => {}
        }
        self.world.relay.backup(&name);
        self.backups += 1;
        if self.backups == 1 {
            for device in &self.devices[..2] {
                device.down();
                device.backup("backup");
                device.up();
            }
        }
    }
}

/// One piece of work. Whatever comes of it while things go wrong, it must end.
fn do_work(
    devices: &[Device],
    oracle: &mut Oracle,
    kind: u64,
    (one, other): (usize, usize),
    third: usize,
    seed: u64,
) {
    let device = &devices[one];
    match kind {
        0..4 => {
            // Users see the devices of their own; bert is another one's.
            let (from, to) = if one == BERT || other == BERT {
                (0, 1)
            } else {
                (one, other)
            };
            oracle.letters += 1;
            let letter = format!("letter {}", oracle.letters);
            let run = devices[from]
                .begin(&["send", NAMES[to], &letter])
                .finish_within(WORK * 2);
            if run.status == 0 {
                oracle.sent.insert((from, to, letter));
            }
        }
        4..6 => {
            fill(device.path("shared/changing"), seed, 1 + seed % (3 * MIB));
            let run = device
                .begin(&["share", text(&device.path("shared"))])
                .finish_within(WORK * 2);
            if let Some(ticket) = run.lines.last().and_then(|line| line["ticket"].as_str()) {
                oracle.tickets.insert(one, ticket.to_owned());
            }
        }
        6..9 => {
            let Some(ticket) = oracle.tickets.get(&one) else {
                return;
            };
            let into = devices[other].path(&format!("got-{one}"));
            let arguments = [
                "fetch",
                ticket,
                "--yes",
                "--overwrite",
                "--wait",
                "10s",
                "-o",
                text(&into),
            ];
            let run = devices[other].begin(&arguments).finish_within(WORK * 4);
            println!("fetch: {}", run.status);
        }
        _ if third.is_multiple_of(2) => {
            let run = devices[0]
                .begin(&["group", "remove", "choir", "bert"])
                .finish_within(WORK * 2);
            oracle.out |= run.status == 0;
        }
        _ => {
            oracle.out = false;
            let run = devices[BERT]
                .begin(&["group", "join", "choir"])
                .finish_within(WORK * 2);
            println!("join: {}", run.status);
            // An admin has to let in who was removed.
            let run = devices[0]
                .begin(&["group", "approve", "choir", "bert"])
                .finish_within(WORK * 2);
            println!("approve: {}", run.status);
        }
    }
}

fn stopped(process: &Process, lasting: Duration) {
    process.signal(Signal::STOP);
    sleep(lasting);
    process.signal(Signal::CONT);
}

fn fill_up(path: &std::path::Path) {
    use std::io::Write;
    let (mut file, block) = (std::fs::File::create(path).unwrap(), vec![7; 1 << 16]);
    while file.write_all(&block).is_ok() {}
}

#[test]
#[ignore = "long: for the nightly run"]
fn chaos() {
    lab::run(|lab| {
        let minutes = std::env::var("HITHER_CHAOS_MINUTES")
            .map_or(60, |text| text.parse().expect("a number"));
        let end = Instant::now() + Duration::from_secs(minutes * 60);
        let mut world = World::new(lab);
        let [desk, laptop] = ["desk", "laptop"].map(|name| world.one.device(name));
        let phone = world.two.device("phone");
        std::fs::create_dir_all(phone.home()).unwrap();
        lab.disk(&phone.home(), DISK);
        join_all(&[&desk, &laptop, &phone], &world.relay.invitation());
        let bert = stranger(&world, &world.two, "bert");
        group(
            &desk,
            &["create", "choir", "--findable", "--policy", "open"],
        );
        for device in [&laptop, &phone, &bert] {
            group(device, &["join", "choir"]);
        }
        let devices = vec![desk, laptop, phone, bert];
        for (seed, device) in devices.iter().enumerate() {
            std::fs::create_dir_all(device.path("shared")).unwrap();
            fill(device.path("shared/changing"), seed as u64, 2 * MIB);
            std::fs::write(device.path("shared/note"), noise(seed as u64, 100)).unwrap();
        }
        println!("seed {}", lab.seed());
        let random = Random(lab.seed());
        let oracle = Oracle::default();
        let mut chaos = Chaos {
            world: &mut world,
            devices,
            random,
            oracle,
            filled: false,
            backups: 0,
        };
        let mut calms = 0;
        while Instant::now() < end {
            for _ in 0..ROUNDS {
                chaos.round();
            }
            chaos.calm();
            calms += 1;
            println!(
                "calm {calms}: {} letters were acknowledged",
                chaos.oracle.sent.len()
            );
            if chaos.chance(3) {
                chaos.go_back();
            }
        }
    });
}
