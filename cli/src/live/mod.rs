//! The live view of `hither transfers --watch`.
//!
//! `state.rs` knows, `draw.rs` draws it with `rows.rs` (devices), `map.rs`, `canvas.rs` (text, bars)
//! and `style.rs` (colours or letters); all of them are pure. `screen.rs` has the terminal.
//! Invariants: names reach the screen through `display_name` only; what the daemon says changes no
//! bound of what is drawn; the terminal is given back whatever happens.

mod canvas;
mod draw;
mod map;
mod rows;
#[cfg(test)]
mod samples;
mod screen;
mod state;
mod style;
#[cfg(test)]
mod tests;

use crate::failure::{self, told};
use crate::giving;
use crate::session::Outcome;
use crate::signals;
use crossterm::event::{Event as Input, EventStream};
use futures::StreamExt;
use hither_api::{
    ApiError, Client, ClientError, ErrorCode, Events, Exit, TransferInfo, TransferView,
};
use screen::Screen;
use serde_json::json;
use state::{Action, LiveState};
use std::future::pending;
use std::time::Duration;
use style::Palette;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

/// How often the list is asked for.
const LIST: Duration = Duration::from_secs(1);

/// Shows transfers until the user leaves: all that run, or the one with an id.
pub async fn watch(client: &Client, only: Option<String>, colours: bool) -> Outcome {
    let mut live = Live {
        client: client.clone(),
        state: LiveState::new(Palette::new(colours), only),
        views: Views::Off,
        acting: None,
    };
    // Before the terminal is taken: an error is then read where it is expected.
    live.list().await?;
    let mut screen = Screen::open().map_err(|error| terminal(&error))?;
    live.run(&mut screen).await
}

fn terminal(error: &std::io::Error) -> ApiError {
    failure::io(ErrorCode::Internal, "The terminal cannot be used", error)
}

/// The views of the transfer that is looked at.
enum Views {
    /// None come at the moment.
    Off,
    /// None are to be had.
    Refused,
    Coming(Box<Events<TransferView>>),
}

impl Views {
    /// The next one; never when none come.
    async fn next(&mut self) -> Result<Option<TransferView>, ClientError> {
        match self {
            Self::Coming(events) => events.next().await,
            Self::Off | Self::Refused => pending().await,
        }
    }
}

/// What a key has set off.
type Acting = JoinHandle<Result<TransferInfo, ClientError>>;

async fn acted(acting: &mut Option<Acting>) -> Result<TransferInfo, ClientError> {
    match acting {
        Some(running) => running
            .await
            .unwrap_or_else(|error| Err(ClientError::Broken(error.to_string()))),
        None => pending().await,
    }
}

struct Live {
    client: Client,
    state: LiveState,
    views: Views,
    acting: Option<Acting>,
}

impl Live {
    async fn run(&mut self, screen: &mut Screen) -> Outcome {
        let mut keys = EventStream::new();
        let mut tick = interval(LIST);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            screen.draw(&self.state).map_err(|error| terminal(&error))?;
            tokio::select! {
                input = keys.next() => match input {
                    Some(Ok(Input::Key(key))) => match self.state.key(key) {
                        Action::Quit => return Ok(Exit::Done),
                        Action::Interrupt => return Err(signals::stopped()),
                        action => self.act(action).await,
                    },
                    Some(Ok(_)) => {} // A new size: drawn for in any case.
                    Some(Err(error)) => return Err(terminal(&error)),
                    None => return Ok(Exit::Done),
                },
                view = self.views.next() => match view {
                    Ok(Some(view)) => self.state.look(view),
                    // The transfer is forgotten, or the daemon ends: the list will tell.
                    Ok(None) | Err(_) => self.views = Views::Off,
                },
                done = acted(&mut self.acting) => {
                    self.acting = None;
                    if let Err(error) = done {
                        self.state.message = Some(told(&error.into_api().message));
                    }
                    self.list().await?;
                }
                _ = tick.tick() => self.list().await?,
            }
        }
    }

    /// Asks for the list; looks at another transfer when the one that was looked at is gone, and
    /// again when its views ended.
    async fn list(&mut self) -> Result<(), ApiError> {
        let all = self
            .client
            .get::<Vec<TransferInfo>>("/v1/transfers")
            .await?;
        let looks_elsewhere = self.state.list(all);
        self.state.give(giving::list(&self.client).await?);
        if looks_elsewhere || matches!(self.views, Views::Off) {
            self.choose().await;
        }
        Ok(())
    }

    /// Listens to the views of the chosen transfer from now on.
    async fn choose(&mut self) {
        self.views = Views::Off;
        let Some(id) = self.state.chosen() else {
            return;
        };
        match self
            .client
            .stream(&format!("/v1/transfers/{id}/view"))
            .await
        {
            Ok(events) => self.views = Views::Coming(Box::new(events)),
            Err(error) => {
                // The list goes on without.
                self.views = Views::Refused;
                self.state.message = Some(told(&error.into_api().message));
            }
        }
    }

    async fn act(&mut self, action: Action) {
        let (id, what) = match action {
            Action::Choose => return self.choose().await,
            Action::Pause(id) => (id, "pause"),
            Action::Resume(id) => (id, "resume"),
            Action::Draw | Action::Quit | Action::Interrupt => return,
        };
        if self.acting.is_none() {
            let (client, path) = (self.client.clone(), format!("/v1/transfers/{id}/{what}"));
            // It may take a moment until a transfer has stopped: the screen goes on meanwhile.
            self.acting = Some(tokio::spawn(
                async move { client.post(&path, &json!({})).await },
            ));
        }
    }
}
