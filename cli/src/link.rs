//! Links that open a share in a browser: which relay's page they lead to.

use crate::session::Session;
use crate::upload;
use hither_api::{ApiError, Client, Done, ErrorCode, RelayInfo};
use hither_proto::{ShareLink, Ticket, WebAddress, display_name};

/// The relays that serve a page, before anything is shared: without one there is no link.
pub async fn pages(client: &Client) -> Result<Vec<RelayInfo>, ApiError> {
    let mut relays = client.get::<Vec<RelayInfo>>("/v1/relays").await?;
    let joined = !relays.is_empty();
    relays.retain(|relay| relay.web.is_some());
    if !relays.is_empty() {
        return Ok(relays);
    }
    let (message, hint) = match joined {
        true => (
            "None of your relays serves browsers, so there is no link.",
            "Whoever runs the relay can have it serve them: web.listen and web.url in its configuration. \
             Without --link there is a ticket.",
        ),
        false => (
            "A link leads to a relay, and this device has joined none.",
            "Join one with: hither relay add URL. Without --link there is a ticket.",
        ),
    };
    Err(ApiError::new(ErrorCode::NoRelay, message).with_hint(hint))
}

/// The link of what was shared, when everything it opens is there: at the relay that stores it, or,
/// where nothing is to be uploaded, on this device alone.
pub async fn of(
    session: &Session<'_>,
    client: &Client,
    done: &Done,
    pages: &[RelayInfo],
    no_upload: bool,
) -> Result<Option<String>, ApiError> {
    let Done::Shared { share, ticket, .. } = done else {
        return Ok(None);
    };
    let page = if no_upload {
        session.warn_people("The link opens only while this device is on: nothing is uploaded.");
        pages.first()
    } else {
        let uploaded = upload::wait(session, client, share).await?;
        let at = uploaded.relay.unwrap_or_default();
        let stores = pages.iter().find(|relay| relay.host == at);
        if stores.is_none() && !at.is_empty() {
            let message = format!(
                "It was uploaded to {}, which serves no browsers.",
                display_name(&at)
            );
            return Err(ApiError::new(ErrorCode::NoRelay, message)
                .with_hint("It is shared: its ticket stands in hither list --json."));
        }
        stores.or(pages.first())
    };
    let web = page.and_then(|page| page.web.as_deref()?.parse::<WebAddress>().ok());
    let (Some(web), Ok(ticket)) = (web, ticket.parse::<Ticket>()) else {
        let message = "The relay's web address cannot be understood.";
        return Err(
            ApiError::new(ErrorCode::NoRelay, message).with_hint("Update Hither on this device.")
        );
    };
    Ok(Some(ShareLink { web, ticket }.to_string()))
}
