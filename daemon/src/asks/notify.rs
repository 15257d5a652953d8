//! Desktop notifications: a request that waits is shown with its asker, and answered from there.
//!
//! A desktop that is not there is no error: requests wait in the list all the same.

use super::AskService;
use super::answering::Choice;
use super::describe;
use std::collections::HashSet;
use std::sync::Arc;

/// Shows notifications where the user wants them.
pub(super) struct Notifier {
    wanted: bool,
}

impl Notifier {
    pub(super) const fn new(wanted: bool) -> Self {
        Self { wanted }
    }
}

/// The user's reaction to a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Accept,
    Refuse,
    /// Closed it, or it went away.
    Nothing,
}

/// Shows requests as they come.
pub(super) fn start(service: &Arc<AskService>) {
    if !service.notifier.wanted {
        return;
    }
    let of = Arc::clone(service);
    service.tasks.spawn_forever(async move {
        let mut changes = of.changes();
        let mut shown: HashSet<String> = HashSet::new();
        loop {
            let waiting: Vec<_> = describe::peek(&of)
                .received
                .into_iter()
                .filter(|one| one.state == "waiting" && !one.by_grant)
                .collect();
            shown.retain(|ask| waiting.iter().any(|one| one.ask == *ask));
            for one in waiting {
                if shown.insert(one.ask.clone()) {
                    let service = Arc::clone(&of);
                    of.tasks.spawn(async move { present(service, one).await });
                }
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    });
}

async fn present(service: Arc<AskService>, one: hither_api::AskInfo) {
    let title = format!("{} asks for {}", one.name, one.what);
    let decision = desktop::ask(&title, &one.reason).await;
    let settled = match decision {
        Ok(Decision::Accept) => service.accept(&one.ask, Choice::Found).await.map(|_| ()),
        Ok(Decision::Refuse) => service.refuse(&one.ask).await,
        Ok(Decision::Nothing) => Ok(()),
        Err(error) => {
            tracing::debug!(%error, "a request is not shown on the desktop");
            return;
        }
    };
    if let Err(error) = settled {
        tracing::info!(error = %error, "a request was not answered from the desktop");
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) mod desktop {
    pub(crate) async fn tell(_: &str) -> Result<(), &'static str> {
        Err("no notifications here")
    }

    pub(super) async fn ask(_: &str, _: &str) -> Result<super::Decision, &'static str> {
        Err("no notifications here")
    }
}

/// Over D-Bus (Desktop Notifications Specification 1.2).
#[cfg(target_os = "linux")]
pub(crate) mod desktop {
    use super::Decision;
    use futures::StreamExt;
    use std::collections::HashMap;
    use std::time::Duration;
    use tokio::time::timeout;
    use zbus::zvariant::Value;
    use zbus::{Connection, Proxy};

    /// Longest wait for the desktop.
    const PATIENCE: Duration = Duration::from_secs(5);
    /// Names of the buttons towards the desktop.
    const ACTIONS: [&str; 4] = ["accept", "Answer", "refuse", "Refuse"];

    fn late() -> zbus::Error {
        let error = std::io::Error::from(std::io::ErrorKind::TimedOut);
        zbus::Error::InputOutput(std::sync::Arc::new(error))
    }

    /// Shows a sentence that asks nothing.
    pub(crate) async fn tell(title: &str) -> zbus::Result<()> {
        let told = async {
            let bus = Connection::session().await?;
            let proxy = notifications(&bus).await?;
            let (actions, hints): ([&str; 0], HashMap<&str, Value<'_>>) = ([], HashMap::new());
            let what = ("Hither", 0_u32, "", title, "", &actions[..], hints, -1_i32);
            proxy.call::<_, _, u32>("Notify", &what).await
        };
        timeout(PATIENCE, told)
            .await
            .map_err(|_| late())?
            .map(|_| ())
    }

    async fn notifications(bus: &Connection) -> zbus::Result<Proxy<'_>> {
        Proxy::new(
            bus,
            "org.freedesktop.Notifications",
            "/org/freedesktop/Notifications",
            "org.freedesktop.Notifications",
        )
        .await
    }

    pub(super) async fn ask(title: &str, text: &str) -> zbus::Result<Decision> {
        let bus = timeout(PATIENCE, Connection::session())
            .await
            .map_err(|_| late())??;
        let proxy = notifications(&bus).await?;
        let mut pressed = proxy.receive_signal("ActionInvoked").await?;
        let mut closed = proxy.receive_signal("NotificationClosed").await?;
        let hints: HashMap<&str, Value<'_>> = HashMap::from([("urgency", Value::U8(2))]);
        // Some desktops take markup in the text.
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let (title, text) = (title.to_owned(), text.to_owned());
        let what = ("Hither", 0_u32, "", title, text, &ACTIONS[..], hints, 0_i32);
        let call = proxy.call::<_, _, u32>("Notify", &what);
        let id = timeout(PATIENCE, call).await.map_err(|_| late())??;
        loop {
            tokio::select! {
                Some(signal) = pressed.next() => {
                    let (of, action): (u32, String) = signal.body().deserialize()?;
                    match action.as_str() {
                        "accept" if of == id => return Ok(Decision::Accept),
                        "refuse" if of == id => return Ok(Decision::Refuse),
                        _ => {}
                    }
                }
                Some(signal) = closed.next() => {
                    let (of, _): (u32, u32) = signal.body().deserialize()?;
                    if of == id {
                        return Ok(Decision::Nothing);
                    }
                }
                else => return Ok(Decision::Nothing),
            }
        }
    }
}
