//! `hither doctor`.

use crate::session::{Outcome, Session};
use crate::show::wrap;
use console::Style;
use hither_api::{ApiError, Exit, Finding, Level};
use hither_proto::display_name;

const EXAMPLES: &str = "\
Examples:
  hither doctor
  hither doctor --json | jq 'select(.level != \"ok\")'

Exit status: 0 when everything works, perhaps not as well as it could; 1 when
something does not.";

/// The finding that no relay was joined.
const NO_RELAY: &str = "no relay";

/// Find out what is reachable and what blocks it
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {}

/// Runs the command.
pub async fn run(session: &Session<'_>, _: Args) -> Outcome {
    let findings = match examine(session).await {
        Ok(findings) => findings,
        Err(error) => vec![no_daemon(error)],
    };
    session.out.json_lines(&findings);
    findings.iter().for_each(|finding| show(session, finding));
    if findings
        .iter()
        .any(|finding| finding.level == Level::Problem)
    {
        return Ok(Exit::Failed);
    }
    if findings.iter().all(|finding| finding.level == Level::Ok) {
        let alone = findings.iter().any(|finding| finding.check == NO_RELAY);
        session.out.say(if alone {
            "Everything works on this network."
        } else {
            "Everything works."
        });
    }
    Ok(Exit::Done)
}

async fn examine(session: &Session<'_>) -> Result<Vec<Finding>, ApiError> {
    Ok(session.daemon().await?.get("/v1/doctor").await?)
}

/// A daemon that cannot be asked is itself a finding.
fn no_daemon(error: ApiError) -> Finding {
    Finding {
        check: "Daemon".into(),
        level: Level::Problem,
        message: error.message,
        hint: error.hint,
    }
}

fn show(session: &Session<'_>, finding: &Finding) {
    let (mark, style) = match finding.level {
        Level::Ok => ("✓", Style::new().green()),
        Level::Warning => ("!", Style::new().yellow().bold()),
        Level::Problem => ("✗", Style::new().red().bold()),
    };
    let mark = format!("{} ", session.out.paint(style, mark));
    let text = display_name(&format!("{}: {}", finding.check, finding.message));
    session
        .out
        .result(&wrap(&mark, &text, session.out.prose_width()));
    if !finding.hint.is_empty() {
        session.out.result(&wrap(
            "    ",
            &display_name(&finding.hint),
            session.out.prose_width(),
        ));
    }
}
