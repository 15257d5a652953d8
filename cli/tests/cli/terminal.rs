//! What a person at a terminal sees and answers.

use crate::fake::Step::{AwaitAccept, Report};
use crate::fetch::{fetched, fetching, offer};
use crate::home::{Home, ticket};
use hither_api::{Done, Event, ExistsInfo};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A program at a terminal.
pub struct Terminal {
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
    child: std::process::Child,
}

impl Terminal {
    /// The same with the terminal as the one that controls it: for programs that ask for its size,
    /// or take all of it.
    pub fn controlling(command: &Command, columns: u16) -> Self {
        let mut own = Command::new("setsid");
        own.arg("--ctty")
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear();
        own.envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        own.current_dir(command.get_current_dir().unwrap());
        Self::run(own, columns)
    }

    /// Gives it another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = rustix::termios::Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&self.keyboard, size).unwrap();
    }

    /// What was shown until now does not count.
    pub fn forget(&self) {
        self.screen.lock().unwrap().clear();
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits until the program has ended; whether it left the terminal without line editing.
    pub fn is_raw_at_the_end(&mut self) -> bool {
        self.child.wait().unwrap();
        let modes = rustix::termios::tcgetattr(&self.keyboard)
            .unwrap()
            .local_modes;
        !modes.contains(rustix::termios::LocalModes::ICANON | rustix::termios::LocalModes::ECHO)
    }

    pub fn run(command: Command, columns: u16) -> Self {
        Self::sized(command, columns, 60)
    }

    /// The same at a terminal of this size.
    pub fn sized(mut command: Command, columns: u16, rows: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = File::options()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        let size = rustix::termios::Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&slave, size).unwrap();
        let end = || Stdio::from(OwnedFd::from(slave.try_clone().unwrap()));
        let child = command
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        drop((command, slave));
        let keyboard = File::from(master);
        let screen = Arc::new(Mutex::new(Vec::new()));
        let (mut from, shown) = (keyboard.try_clone().unwrap(), screen.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                shown.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        Self {
            keyboard,
            screen,
            child,
        }
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).replace("\r\n", "\n")
    }

    pub fn wait_for(&self, text: &str) {
        let begun = Instant::now();
        while !self.screen().contains(text) {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "{text:?} is not shown: {}",
                self.screen()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn type_in(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    pub fn end(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        // What was written last may still be on its way.
        std::thread::sleep(Duration::from_millis(100));
        (status, self.screen())
    }
}

fn script() -> [crate::fake::Step; 4] {
    [
        Report(offer()),
        AwaitAccept,
        Report(fetching()),
        Report(fetched("/x/photos")),
    ]
}

#[test]
fn the_user_is_asked_and_may_agree() {
    let (home, fake) = Home::running();
    fake.plays(script());
    let mut terminal = Terminal::run(home.hither(&format!("fetch {}", ticket())), 80);
    terminal.wait_for("Fetch it? [Y/n] ");
    assert!(
        terminal
            .screen()
            .contains("photos (1,204 files, 864 MB)\n  from laptop"),
        "{}",
        terminal.screen()
    );
    terminal.type_in("what\n\n");
    let (status, screen) = terminal.end();
    assert_eq!(status.code(), Some(0), "{screen}");
    assert_eq!(
        screen.matches("Fetch it?").count(),
        2,
        "nonsense is asked again: {screen}"
    );
    assert!(
        screen.contains("840 MB from laptop (same network)"),
        "{screen}"
    );
    assert_eq!(
        fake.asked(),
        ["POST /v1/fetches", "POST /v1/transfers/t1/accept"]
    );
    // The answer is for what was shown and nothing else.
    assert_eq!(fake.body("POST /v1/transfers/t1/accept")["head"], "1-ab");
    assert_eq!(fake.body("POST /v1/fetches")["accept"], false);
}

#[test]
fn what_is_there_already_is_asked_about_with_the_question() {
    for (answer, existing) in [("o", "overwrite"), ("k", "rename"), ("s", "skip")] {
        let (home, fake) = Home::running();
        let mut script = script();
        if let Report(Event::Offer { exists, .. }) = &mut script[0] {
            *exists = Some(ExistsInfo {
                taken: 12,
                of: 1204,
            });
        }
        fake.plays(script);
        let mut terminal = Terminal::run(home.hither(&format!("fetch {}", ticket())), 80);
        terminal.wait_for("[o]verwrite, [k]eep both, [s]kip those, or [n]othing? ");
        let there = "12 of its 1,204 files are there already.";
        assert!(terminal.screen().contains(there), "{}", terminal.screen());
        terminal.type_in(&format!("\n{answer}\n"));
        let (status, screen) = terminal.end();
        assert_eq!(status.code(), Some(0), "{screen}");
        assert_eq!(
            screen.matches("[o]verwrite").count(),
            2,
            "Enter is no answer"
        );
        let said = fake.body("POST /v1/transfers/t1/accept");
        assert_eq!(
            (&said["head"], &said["existing"]),
            (&"1-ab".into(), &existing.into())
        );
    }
}

#[test]
fn declining_cancels() {
    let (home, fake) = Home::running();
    fake.plays(script());
    let mut terminal = Terminal::run(home.hither(&format!("fetch {}", ticket())), 80);
    terminal.wait_for("[Y/n]");
    terminal.type_in("n\n");
    let (status, screen) = terminal.end();
    assert_eq!(status.code(), Some(4));
    assert!(
        screen.ends_with("Declined: nothing was written.\n"),
        "{screen}"
    );
    assert_eq!(
        fake.asked(),
        ["POST /v1/fetches", "DELETE /v1/transfers/t1"]
    );
}

#[test]
fn an_input_that_ends_is_no_answer() {
    let (home, fake) = Home::running();
    fake.plays(script());
    let mut terminal = Terminal::run(home.hither(&format!("fetch {}", ticket())), 80);
    terminal.wait_for("[Y/n]");
    terminal.type_in("\u{4}");
    assert_eq!(terminal.end().0.code(), Some(130));
    assert_eq!(
        fake.asked(),
        ["POST /v1/fetches", "POST /v1/transfers/t1/pause"]
    );
}

#[test]
fn the_ticket_is_asked_for() {
    let (home, fake) = Home::running();
    fake.plays([Report(fetched("/x"))]);
    let mut terminal = Terminal::run(home.hither("fetch --yes"), 80);
    terminal.wait_for("Ticket: ");
    terminal.type_in(&format!("{}\n", ticket()));
    assert_eq!(terminal.end().0.code(), Some(0));
    assert_eq!(fake.body("POST /v1/fetches")["ticket"], ticket());
}

#[test]
fn a_share_shows_its_ticket_a_code_and_what_to_do() {
    let (home, fake) = Home::running();
    fake.plays([Report(Event::Done(Done::Shared {
        share: "s".into(),
        ticket: ticket(),
        name: "photos".into(),
        version: 1,
        files: 3,
        bytes: 4_200_000,
        chunks: 3,
        excluded: 0,
        sent: Vec::new(),
        code: None,
        link: None,
    }))]);
    let last = format!("\nOn the other device:\nhither fetch {}\n", ticket());
    let (status, screen) = Terminal::run(home.hither("share ."), 80).end();
    assert_eq!(status.code(), Some(0));
    assert!(
        screen.contains("4.2 MB\nIt stays shared until: hither unshare photos\n\n")
            && screen.contains('▀'),
        "{screen}"
    );
    assert!(screen.ends_with(&last), "{screen}");
    // If all of it does not fit at once the code is left out, unless it is asked for.
    for (columns, rows) in [(80, 24), (50, 24)] {
        let (_, screen) = Terminal::sized(home.hither("share ."), columns, rows).end();
        assert!(!screen.contains('▀') && screen.ends_with(&last), "{screen}");
        let shown: usize = screen
            .lines()
            .map(|line| line.len().div_ceil(columns.into()).max(1))
            .sum();
        assert!(shown < rows.into(), "above the fold: {screen}");
        let (_, screen) = Terminal::sized(home.hither("share . --qr"), columns, rows).end();
        assert!(screen.contains('▀') && screen.ends_with(&last), "{screen}");
    }
    for (line, columns) in [("share . --no-qr", 80), ("share . --qr", 40)] {
        let (_, screen) = Terminal::run(home.hither(line), columns).end();
        assert!(
            !screen.contains('▀') && screen.contains(&ticket()),
            "{screen}"
        );
    }
    let mut plain = home.hither("share . --qr");
    plain.env("NO_COLOR", "1");
    let (_, screen) = Terminal::run(plain, 80).end();
    assert!(
        screen.contains('▀') && !screen.contains("\u{1b}["),
        "{screen}"
    );
}
