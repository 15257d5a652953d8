//! Notifications on the user's desktop: questions with two buttons, and notices.

pub(crate) use bus::{ask, tell};

/// The user's reaction to a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Accept,
    Refuse,
    /// Closed it, or it went away.
    Nothing,
}

#[cfg(not(target_os = "linux"))]
mod bus {
    pub(crate) async fn tell(_: &str) -> Result<(), &'static str> {
        Err("no notifications here")
    }

    pub(crate) async fn ask(_: &str, _: &str, _: &str) -> Result<super::Decision, &'static str> {
        Err("no notifications here")
    }
}

/// Over D-Bus (Desktop Notifications Specification 1.2).
#[cfg(target_os = "linux")]
mod bus {
    use super::Decision;
    use futures::StreamExt;
    use std::collections::HashMap;
    use std::time::Duration;
    use tokio::time::timeout;
    use zbus::zvariant::Value;
    use zbus::{Connection, Proxy};

    /// Longest wait for the desktop.
    const PATIENCE: Duration = Duration::from_secs(5);

    fn late() -> zbus::Error {
        let error = std::io::Error::from(std::io::ErrorKind::TimedOut);
        zbus::Error::InputOutput(std::sync::Arc::new(error))
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

    /// Shows a sentence that asks nothing.
    ///
    /// Errors: there is no desktop, or it does not answer.
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

    /// Shows a notification with two buttons, one of which is called `yes`, and waits for what the
    /// user does.
    ///
    /// Errors: there is no desktop, or it does not answer.
    pub(crate) async fn ask(title: &str, text: &str, yes: &str) -> zbus::Result<Decision> {
        // The names of the buttons towards the desktop, each with its label.
        let actions = ["accept", yes, "refuse", "Refuse"];
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
        let what = ("Hither", 0_u32, "", title, text, &actions[..], hints, 0_i32);
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
