//! The commands, one file each.

pub mod ask;
pub mod asks;
pub mod code;
pub mod completions;
pub mod config;
pub mod devices;
pub mod doctor;
pub mod down;
pub mod expose;
pub mod fetch;
pub mod group;
pub mod inbox;
pub mod list;
pub mod listing;
pub mod log;
pub mod man;
pub mod nearby;
pub mod outbox;
pub mod page;
pub mod pair;
pub mod pour;
pub mod receive;
pub mod relay;
pub mod send;
pub mod share;
pub mod status;
pub mod ticket;
pub mod transfers;
pub mod ui;
pub mod unshare;
pub mod up;
pub mod upload;
pub mod wanted;
pub mod why;

use crate::cli::Command;
use crate::session::{Outcome, Session};
use crate::signals;

/// Runs a command to its end or until the user interrupts it.
pub async fn run(session: &Session<'_>, command: Command) -> Outcome {
    // A fetch that is interrupted has something to say to the daemon, a share that stays to the user.
    match command {
        Command::Fetch(args) => return fetch::run(session, args).await,
        Command::Share(args) if args.stays() => return share::attend(session, args).await,
        Command::Inbox(args) if args.fetches() => return inbox::run(session, args).await,
        _ => {}
    }
    tokio::select! {
        outcome = dispatch(session, command) => outcome,
        () = signals::interrupted() => Err(signals::stopped()),
    }
}

async fn dispatch(session: &Session<'_>, command: Command) -> Outcome {
    match command {
        Command::Share(args) => share::run(session, args).await,
        Command::Fetch(args) => fetch::run(session, args).await,
        Command::List(args) => list::run(session, args).await,
        Command::Unshare(args) => unshare::run(session, args).await,
        Command::Ticket(args) => ticket::run(session, args).await,
        Command::Transfers(args) => transfers::run(session, args).await,
        Command::Why(args) => why::run(session, args).await,
        Command::Devices(args) => devices::run(session, args).await,
        Command::Nearby(args) => nearby::run(session, args).await,
        Command::Page(args) => page::run(session, args).await,
        Command::Ui(args) => ui::run(session, args).await,
        Command::Group(args) => group::run(session, args).await,
        Command::Ask(args) => ask::run(session, args).await,
        Command::Asks(args) => asks::run(session, args).await,
        Command::Expose(args) => expose::run(session, args).await,
        Command::Upload(args) => upload::run(session, args).await,
        Command::Send(args) => send::run(session, args).await,
        Command::Inbox(args) => inbox::run(session, args).await,
        Command::Outbox(args) => outbox::run(session, args).await,
        Command::Receive(args) => receive::run(session, args).await,
        Command::Pair(args) => pair::run(session, args).await,
        Command::Relay(args) => relay::run(session, args).await,
        Command::Up(args) => up::run(session, args).await,
        Command::Down(args) => down::run(session, args).await,
        Command::Status(args) => status::run(session, args).await,
        Command::Doctor(args) => doctor::run(session, args).await,
        Command::Log(args) => log::run(session, args).await,
        Command::Config(args) => config::run(session, args).await,
        Command::Completions(args) => completions::run(session, args),
        Command::Man(args) => man::run(session, args),
    }
}
