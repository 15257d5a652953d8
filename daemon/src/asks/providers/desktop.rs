//! Things that the desktop knows: the clipboard, what is playing, where the device is.

use super::{live, unsupported};
use hither_api::{ApiError, ErrorCode};
use std::time::Duration;

/// Longest wait for a program or a service of the desktop.
const PATIENCE: Duration = Duration::from_secs(5);

/// The text on the clipboard.
pub(super) async fn clipboard() -> Result<String, ApiError> {
    const PROGRAMS: [&[&str]; 4] = [
        &["wl-paste", "--no-newline", "--type", "text"],
        &["xclip", "-selection", "clipboard", "-out"],
        &["xsel", "--clipboard", "--output"],
        &["termux-clipboard-get"],
    ];
    let wayland = std::env::var_os("WAYLAND_DISPLAY").is_some();
    let usable = |line: &&&[&str]| {
        let program = line.first().copied().unwrap_or_default();
        let shown = match program {
            "wl-paste" => wayland,
            "xclip" | "xsel" => std::env::var_os("DISPLAY").is_some(),
            _ => true,
        };
        shown && live::in_path(program).is_some()
    };
    let Some(line) = PROGRAMS.iter().find(usable) else {
        return Err(unsupported(
            "This device has no program to read the clipboard (wl-paste or xclip).",
        ));
    };
    let line: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
    let text = crate::program::run_command(&line, &[], None, PATIENCE).await?;
    if text.is_empty() {
        return Err(nothing("The clipboard is empty."));
    }
    Ok(text)
}

fn nothing(what: &str) -> ApiError {
    ApiError::new(ErrorCode::NotFound, what)
}

#[cfg(target_os = "linux")]
pub(super) use bus::{location, playing};

#[cfg(not(target_os = "linux"))]
pub(super) async fn playing(_: bool) -> Result<String, ApiError> {
    Err(unsupported("This device cannot tell what is playing."))
}

#[cfg(not(target_os = "linux"))]
pub(super) async fn location() -> Result<String, ApiError> {
    Err(unsupported(
        "This device cannot tell where it is (see: asks.location in the configuration).",
    ))
}

/// Over D-Bus: players by MPRIS, the place by GeoClue.
#[cfg(target_os = "linux")]
mod bus {
    use super::{PATIENCE, nothing, unsupported};
    use hither_api::ApiError;
    use hither_proto::display_name;
    use std::collections::HashMap;
    use std::time::Duration;
    use tokio::time::timeout;
    use zbus::zvariant::{OwnedObjectPath, OwnedValue, Value};
    use zbus::{Connection, Proxy};

    /// Names of players begin so (MPRIS 2.2).
    const PLAYERS: &str = "org.mpris.MediaPlayer2.";
    /// How long GeoClue may look for the place.
    const LOCATING: Duration = Duration::from_secs(15);

    fn failed(error: &zbus::Error) -> ApiError {
        tracing::debug!(%error, "the desktop does not answer");
        unsupported("The desktop of this device does not answer.")
    }

    async fn within<T>(work: impl Future<Output = zbus::Result<T>>) -> Result<T, ApiError> {
        match timeout(PATIENCE, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(failed(&error)),
            Err(_) => Err(unsupported("The desktop of this device does not answer.")),
        }
    }

    /// The thing being played: title, and where; with `place` the position in it too.
    pub(in crate::asks::providers) async fn playing(place: bool) -> Result<String, ApiError> {
        let bus = within(Connection::session()).await?;
        let names = within(async {
            let bus_itself = zbus::fdo::DBusProxy::new(&bus).await?;
            Ok(bus_itself.list_names().await?)
        })
        .await?;
        let mut players: Vec<Playing> = Vec::new();
        for name in names.iter().map(|name| name.as_str()) {
            if name.starts_with(PLAYERS)
                && let Ok(playing) = within(look(&bus, name)).await
            {
                players.push(playing);
            }
        }
        // One that plays goes before one that pauses.
        players.sort_by_key(|one| one.status != "Playing");
        let first = players
            .into_iter()
            .find(|one| !one.title.is_empty() || !one.url.is_empty());
        let Some(first) = first else {
            return Err(nothing("Nothing is playing."));
        };
        Ok(first.words(place))
    }

    #[derive(Debug, Default)]
    pub(super) struct Playing {
        pub(super) status: String,
        pub(super) title: String,
        pub(super) artist: String,
        pub(super) url: String,
        /// Microseconds.
        pub(super) position: i64,
    }

    impl Playing {
        /// A line for each thing that is known; the last one is a link that goes on there.
        pub(super) fn words(&self, place: bool) -> String {
            let mut lines = Vec::new();
            let title = display_name(&self.title);
            match self.artist.as_str() {
                "" => lines.push(title),
                artist => lines.push(format!("{} – {title}", display_name(artist))),
            }
            let seconds = u64::try_from(self.position / 1_000_000).unwrap_or_default();
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            lines.push(format!("at {hours}:{minutes:02}:{:02}", seconds % 60));
            if !self.url.is_empty() {
                let url = display_name(&self.url);
                lines.push(match place {
                    true => resumed(&url, seconds),
                    false => url,
                });
            }
            lines.retain(|line| !line.is_empty());
            lines.join("\n")
        }
    }

    /// A link that goes on at a time: as video sites take it, else by a media fragment (W3C Media
    /// Fragments URI 1.0).
    pub(super) fn resumed(url: &str, seconds: u64) -> String {
        let site = ["youtube.com/", "youtu.be/", "vimeo.com/", "twitch.tv/"];
        if site.iter().any(|site| url.contains(site)) {
            let sign = if url.contains('?') { '&' } else { '?' };
            return format!("{url}{sign}t={seconds}s");
        }
        let plain = url.split('#').next().unwrap_or(url);
        format!("{plain}#t={seconds}")
    }

    async fn look(bus: &Connection, name: &str) -> zbus::Result<Playing> {
        let player = Proxy::new(
            bus,
            name.to_owned(),
            "/org/mpris/MediaPlayer2",
            "org.mpris.MediaPlayer2.Player",
        )
        .await?;
        let metadata: HashMap<String, OwnedValue> = player.get_property("Metadata").await?;
        let text = |key: &str| match metadata.get(key).map(|value| &**value) {
            Some(Value::Str(text)) => text.as_str().to_owned(),
            Some(Value::Array(all)) => match all.iter().next() {
                Some(Value::Str(text)) => text.as_str().to_owned(),
                _ => String::new(),
            },
            _ => String::new(),
        };
        Ok(Playing {
            status: player
                .get_property("PlaybackStatus")
                .await
                .unwrap_or_default(),
            title: text("xesam:title"),
            artist: text("xesam:artist"),
            url: text("xesam:url"),
            position: player.get_property("Position").await.unwrap_or_default(),
        })
    }

    /// The place of the device, by GeoClue: latitude, longitude, and within how many metres.
    pub(in crate::asks::providers) async fn location() -> Result<String, ApiError> {
        let located = timeout(LOCATING, locate()).await;
        match located {
            Ok(Ok(words)) => Ok(words),
            Ok(Err(error)) => {
                tracing::debug!(%error, "no place is known");
                Err(unsupported(
                    "This device cannot tell where it is (see: asks.location in the configuration).",
                ))
            }
            Err(_) => Err(nothing("Where this device is was not found in time.")),
        }
    }

    async fn locate() -> zbus::Result<String> {
        const GEOCLUE: &str = "org.freedesktop.GeoClue2";
        let bus = Connection::system().await?;
        let manager = Proxy::new(
            &bus,
            GEOCLUE,
            "/org/freedesktop/GeoClue2/Manager",
            "org.freedesktop.GeoClue2.Manager",
        )
        .await?;
        let client: OwnedObjectPath = manager.call("GetClient", &()).await?;
        let client = Proxy::new(&bus, GEOCLUE, client, "org.freedesktop.GeoClue2.Client").await?;
        client.set_property("DesktopId", "hither").await?;
        client.set_property("RequestedAccuracyLevel", 8_u32).await?;
        let mut updates = client.receive_signal("LocationUpdated").await?;
        client.call::<_, _, ()>("Start", &()).await?;
        let update = futures::StreamExt::next(&mut updates).await;
        let update = update.ok_or(zbus::Error::InterfaceNotFound)?;
        let (_, place): (OwnedObjectPath, OwnedObjectPath) = update.body().deserialize()?;
        let place = Proxy::new(&bus, GEOCLUE, place, "org.freedesktop.GeoClue2.Location").await?;
        let latitude: f64 = place.get_property("Latitude").await?;
        let longitude: f64 = place.get_property("Longitude").await?;
        let accuracy: f64 = place.get_property("Accuracy").await.unwrap_or_default();
        let _ = client.call::<_, _, ()>("Stop", &()).await; // it ends with the connection too
        Ok(format!("{latitude:.6}, {longitude:.6} (±{accuracy:.0} m)"))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_link_goes_on_where_the_user_was() {
            assert_eq!(
                resumed("https://www.youtube.com/watch?v=x", 90),
                "https://www.youtube.com/watch?v=x&t=90s"
            );
            assert_eq!(
                resumed("https://example.org/film.mp4#t=3", 90),
                "https://example.org/film.mp4#t=90"
            );
            let playing = Playing {
                title: "Film\u{1b}[2J".into(),
                artist: "Anna".into(),
                url: "file:///home/a/film.mkv".into(),
                position: 3_725_000_000,
                ..Playing::default()
            };
            assert_eq!(
                playing.words(true),
                "Anna – Film\u{fffd}[2J\nat 1:02:05\nfile:///home/a/film.mkv#t=3725"
            );
        }
    }
}
