//! The command line as it is parsed: global options and the list of commands.

use crate::commands::{
    ask, asks, completions, config, devices, doctor, down, expose, fetch, group, inbox, list, log,
    man, nearby, outbox, page, pair, receive, relay, send, share, status, ticket, transfers, ui,
    unshare, up, upload, why,
};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  hither share photos/          share a folder; prints a ticket and a QR code
  hither fetch hither1…         fetch it on another device on the same network
  hither relay add 'hither://…' join a relay, to reach your devices anywhere
  hither send phone notes.txt   send a text or files to another device of yours
  hither doctor                 find out why devices do not see each other

Exit status:
  0 done, 1 failed, 2 wrong usage, 3 nobody who has it can be reached,
  4 refused, 5 damaged data, 6 no space, 130 interrupted (can be resumed)

Environment:
  HITHER_HOME     folder that holds everything of this device
  HITHER_TICKET   the ticket for hither fetch
  HITHER_RELAY_URL  the URL for hither relay add
  NO_COLOR        no colours when set";

/// Share files between devices, and send messages to your own.
///
/// `hither share` makes a ticket for a file or folder; whoever has the ticket can fetch it with
/// `hither fetch`, from every device that has some of it at once. A daemon does the work and is
/// started when it does not run.
#[derive(Debug, Parser)]
#[command(name = "hither", version, after_long_help = EXAMPLES, max_term_width = 80)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Copy, Args)]
pub struct Global {
    /// Print one JSON object per line
    #[arg(long, global = true, display_order = 900)]
    pub json: bool,
    /// Print results and errors only
    #[arg(long, short, global = true, display_order = 901)]
    pub quiet: bool,
    /// No colours (also: NO_COLOR=1)
    #[arg(long, global = true, display_order = 902)]
    pub no_color: bool,
}

/// The commands, in the order in which help lists them.
#[derive(Debug, Subcommand)]
pub enum Command {
    Share(share::Args),
    Fetch(fetch::Args),
    List(list::Args),
    Unshare(unshare::Args),
    Ticket(ticket::Args),
    Transfers(transfers::Args),
    Why(why::Args),
    Devices(devices::Args),
    Nearby(nearby::Args),
    Pair(pair::Args),
    Group(group::Args),
    Send(send::Args),
    Ask(ask::Args),
    Asks(asks::Args),
    Expose(expose::Args),
    Upload(upload::Args),
    Inbox(inbox::Args),
    Outbox(outbox::Args),
    Receive(receive::Args),
    Relay(relay::Args),
    Page(page::Args),
    Ui(ui::Args),
    Up(up::Args),
    Down(down::Args),
    Status(status::Args),
    Doctor(doctor::Args),
    Log(log::Args),
    Config(config::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// The command that does what somebody expects of one that does not exist.
pub fn tip(error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    let (command, does) = match typed.as_str() {
        "get" | "download" | "pull" | "recv" | "grab" => {
            ("fetch", "fetches what a ticket or code opens")
        }
        "ls" | "dir" | "shares" => ("list", "lists the shares of this device"),
        "push" | "cp" | "put" => ("send", "sends a text or files to a device"),
        "serve" | "offer" | "publish" | "add" => ("share", "makes a file or folder available"),
        "rm" | "remove" | "stop-sharing" => ("unshare", "ends a share"),
        "peers" | "discover" | "scan" => ("devices", "lists devices"),
        "link" | "join" | "invite" => ("pair", "makes another device one of yours"),
        "start" | "daemon" => ("up", "starts the daemon"),
        "stop" | "quit" | "exit" => ("down", "stops the daemon"),
        "web" | "browser" => ("page", "serves a page to browsers on this network"),
        "dashboard" | "gui" => ("ui", "opens the dashboard in the browser"),
        "settings" | "set" | "options" => ("config", "reads and changes settings"),
        "logs" | "journal" => ("log", "shows the daemon's log"),
        "diagnose" | "check" | "debug" => {
            ("doctor", "finds out what is reachable and what blocks it")
        }
        "progress" | "downloads" | "ps" => ("transfers", "shows what is under way"),
        "messages" | "mail" => ("inbox", "shows what other devices sent"),
        _ => return None,
    };
    Some(format!("hither {command} {does}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Command, ErrorKind> {
        Cli::try_parse_from(line.split(' '))
            .map(|cli| cli.command)
            .map_err(|error| error.kind())
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_short_help_that_fits_and_examples_in_the_long_one() {
        for command in Cli::command().get_subcommands().chain([&Cli::command()]) {
            let name = command.get_name().to_owned();
            let short = command.clone().term_width(80).render_help().to_string();
            assert!(
                short.lines().all(|line| line.chars().count() <= 80),
                "{name}: {short}"
            );
            assert!(!short.contains("Examples:"), "{name}");
            let more = command
                .get_after_long_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(more.contains("Examples:"), "{name}");
            assert!(
                more.lines().all(|line| line.chars().count() <= 80),
                "{name}: {more}"
            );
        }
    }

    #[test]
    fn a_share_takes_several_paths_and_a_span_to_keep_them() {
        let Ok(Command::Share(args)) = parse("hither share a b --keep 7d --no-upload") else {
            panic!()
        };
        assert_eq!(args.paths.len(), 2);
        assert_eq!(args.keep.map(|k| k.as_secs()), Some(7 * 86_400));
        assert!(args.no_upload && !args.no_qr && !args.skip_unsharable);
        assert_eq!(
            parse("hither share").err(),
            Some(ErrorKind::MissingRequiredArgument)
        );
        assert_eq!(
            parse("hither share a --keep soon").err(),
            Some(ErrorKind::ValueValidation)
        );
        assert_eq!(
            parse("hither share a --keep 0s").err(),
            Some(ErrorKind::ValueValidation)
        );
        assert_eq!(parse("hither share a b --name x").err(), None);
    }

    #[test]
    fn overwriting_and_renaming_exclude_each_other() {
        let Ok(Command::Fetch(args)) = parse("hither fetch -o - --yes --wait 2m") else {
            panic!()
        };
        assert_eq!(args.output.as_deref(), Some(std::path::Path::new("-")));
        assert_eq!(args.wait.map(|w| w.as_secs()), Some(120));
        assert_eq!(
            parse("hither fetch x --overwrite --rename").err(),
            Some(ErrorKind::ArgumentConflict)
        );
    }

    #[test]
    fn transfers_have_actions() {
        assert!(matches!(
            parse("hither transfers --watch"),
            Ok(Command::Transfers(_))
        ));
        assert!(matches!(
            parse("hither transfers pause ab12"),
            Ok(Command::Transfers(_))
        ));
        assert_eq!(
            parse("hither transfers --watch pause ab12").err(),
            Some(ErrorKind::ArgumentConflict)
        );
        assert_eq!(
            parse("hither transfers pause").err(),
            Some(ErrorKind::MissingRequiredArgument)
        );
    }

    #[test]
    fn global_options_go_anywhere() {
        for line in ["hither --json list", "hither list --json"] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert!(cli.global.json && !cli.global.quiet);
        }
        assert_eq!(
            parse("hither groups").err(),
            Some(ErrorKind::InvalidSubcommand)
        );
        assert_eq!(
            parse("hither").err(),
            Some(ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand)
        );
    }
}
