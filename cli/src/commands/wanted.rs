//! The ticket of something that is wanted: by the names of a device and its share, or by a code.

use crate::commands::code;
use crate::session::Session;
use crate::{failure, show};
use hither_api::{ApiError, ErrorCode, Event, FindRequest, FoundShare};
use hither_proto::{SpokenCode, Ticket, display_name};
use std::time::Duration;

/// A share by the names of its owner and its own, with the path below it that is wanted.
#[derive(Debug, PartialEq, Eq)]
struct Named<'a> {
    owner: &'a str,
    name: &'a str,
    path: Option<&'a str>,
}

/// "OWNER/NAME" or "OWNER/NAME/PATH" in its parts: no name of a share has a slash. The name of a
/// device may have one, so that there are two readings of more than one slash; the usual one first.
fn readings(text: &str) -> Vec<Named<'_>> {
    let text = text.trim();
    let Some((owner, rest)) = text.split_once('/') else {
        return Vec::new();
    };
    let (name, path) = match rest.split_once('/') {
        Some((name, path)) => (name, Some(path).filter(|path| !path.is_empty())),
        None => (rest, None),
    };
    let mut readings = vec![Named { owner, name, path }];
    if let (Some(_), Some((owner, name))) = (path, text.rsplit_once('/')) {
        readings.push(Named {
            owner,
            name,
            path: None,
        });
    }
    readings.retain(|named| !named.owner.is_empty() && !named.name.is_empty());
    readings
}

/// The ticket of what another device of the user shares, as that device told this one, and the path
/// in it.
pub async fn by_name(
    session: &Session<'_>,
    text: &str,
) -> Result<((String, Ticket), Option<String>), ApiError> {
    let mut first = None;
    for named in readings(text) {
        match ticket_of(session, named.owner, named.name).await {
            Ok(found) => return Ok((found, named.path.map(str::to_owned))),
            Err(error) if error.code == ErrorCode::NotFound => {
                first.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(first.unwrap_or_else(|| {
        ApiError::new(
            ErrorCode::BadRequest,
            "That is neither a ticket nor OWNER/NAME.",
        )
        .with_hint("See what your other devices share with: hither list --all")
    }))
}

async fn ticket_of(
    session: &Session<'_>,
    owner: &str,
    name: &str,
) -> Result<(String, Ticket), ApiError> {
    let client = session.daemon().await?;
    let request = FindRequest {
        owner: owner.into(),
        name: name.into(),
    };
    let found = client
        .post::<FoundShare>("/v1/catalogue/find", &request)
        .await?;
    if found.same_name > 0 {
        let (owner, name) = (display_name(owner), display_name(name));
        let age = show::ago(found.share.published, show::now());
        let message = format!(
            "{owner} shares {} things called {name}: this is the newest, published {age}.",
            found.same_name + 1
        );
        session.out.json(&Event::Warning {
            message: message.clone(),
        });
        session.warn_people(&message);
    }
    let ticket = found
        .ticket
        .parse::<Ticket>()
        .map_err(|error| failure::ticket(&error))?;
    Ok((found.ticket, ticket))
}

/// The ticket that a code of three words stands for.
pub async fn by_code(
    session: &Session<'_>,
    code: SpokenCode,
    wait: Option<Duration>,
) -> Result<(String, Ticket), ApiError> {
    let client = session.daemon().await?;
    let text = code::enter_share(session, &client, code, wait).await?;
    let ticket = text
        .parse::<Ticket>()
        .map_err(|error| failure::ticket(&error))?;
    Ok((text, ticket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_more_than_one_slash_has_two_readings() {
        let parts = |text: &'static str| -> Vec<_> {
            let all = readings(text).into_iter();
            all.map(|named| (named.owner, named.name, named.path))
                .collect()
        };
        assert_eq!(parts("desk/photos"), [("desk", "photos", None)]);
        assert_eq!(parts("desk/photos/"), [("desk", "photos", None)]);
        assert_eq!(
            parts("desk/photos/2024/a.jpg"),
            [
                ("desk", "photos", Some("2024/a.jpg")),
                ("desk/photos/2024", "a.jpg", None)
            ]
        );
        assert_eq!(parts("/photos"), []);
        assert_eq!(parts("desk/"), []);
        assert_eq!(parts("desk"), []);
    }
}
