//! `hither outbox`.

use crate::session::{Outcome, Session};
use crate::show::{Align, Column, Table, ago, count, device, now};
use clap::Subcommand;
use hither_api::{Exit, MessageKind, OutgoingInfo, SentState};
use hither_proto::display_name;

const EXAMPLES: &str = "\
Examples:
  hither outbox
  hither outbox delete 3        take a message back that no relay has yet

What a relay has taken is not listed any more, and cannot be taken back; it is
listed again when its reader declines it.";

/// See the messages that wait on this device for a relay
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Take messages back
    Delete {
        /// Their numbers
        #[arg(required = true, value_name = "ID")]
        ids: Vec<u64>,
    },
}

const COLUMNS: [Column; 5] = [
    Column::new("ID", Align::Right),
    Column::new("TO", Align::Left).flexible(),
    Column::new("SENT", Align::Left),
    Column::new("MESSAGE", Align::Left).flexible(),
    Column::new("WHY", Align::Left).flexible(),
];

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    let client = session.daemon().await?;
    if let Some(Action::Delete { ids }) = args.action {
        for id in &ids {
            client
                .delete::<serde_json::Value>(&format!("/v1/outbox/{id}"))
                .await?;
        }
        session.out.json(&serde_json::json!({"event": "done"}));
        session.out.say(&format!(
            "{} taken back.",
            count(ids.len() as u64, "message")
        ));
        return Ok(Exit::Done);
    }
    let waiting = client.get::<Vec<OutgoingInfo>>("/v1/outbox").await?;
    session.out.json_lines(&waiting);
    if waiting.is_empty() {
        session.out.say("No message waits on this device.");
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&COLUMNS);
    for message in &waiting {
        table.row([
            message.id.to_string(),
            device(&message.sent.name, &message.sent.to),
            ago(message.made, now()),
            summary(message),
            why(message),
        ]);
    }
    session.table(table);
    Ok(Exit::Done)
}

fn summary(message: &OutgoingInfo) -> String {
    let summary = display_name(&message.summary);
    match message.kind {
        MessageKind::Text | MessageKind::Request | MessageKind::Unknown => summary,
        MessageKind::Files => format!("files: {summary}"),
        MessageKind::Ticket => format!("share: {summary}"),
    }
}

fn why(message: &OutgoingInfo) -> String {
    let reason = message.sent.reason.as_deref().map(display_name);
    match message.sent.state {
        SentState::Failed => format!("failed: {}", reason.unwrap_or_default()),
        SentState::Declined => "declined".into(),
        _ => reason.unwrap_or_else(|| "no relay is reached".into()),
    }
}
