//! The way in which a relay wakes this device when something waits for it there and it is not
//! connected.
//!
//! Invariant: an address leaves this device towards the relay that is meant, and is kept nowhere here;
//! the relay never tells it again.

use crate::failure;
use crate::relay_named::{self, Among, Unheard};
use hither_api::{ApiError, ErrorCode, WakeInfo, WakeRequest, WakeWay};
use hither_proto::limits::{MAX_MAIL_ADDRESS, MAX_WAKE_URL};
use hither_proto::{OwnAnswer, OwnRequest, WakeChannel, WakeKind, WakeWays};
use hither_relay_client::{Relay, RelayClient};

/// Says by what ways a relay can wake this device, and which is set.
///
/// Errors: no relay is meant, or several may be; it is not reached, or wakes nobody.
pub(crate) async fn show(relays: &RelayClient, wanted: Option<&str>) -> Result<WakeInfo, ApiError> {
    let relay = relay_named::named(relays, wanted, Among::All)?;
    Ok(info(&relay, &ways(&relay).await?))
}

/// Sets the way, or ends it; gives how things stand then.
///
/// Errors: the same, or the relay does not have that way, or the address is none.
pub(crate) async fn set(relays: &RelayClient, request: WakeRequest) -> Result<WakeInfo, ApiError> {
    let relay = relay_named::named(relays, request.relay.as_deref(), Among::All)?;
    let channel = channel(request)?;
    let ways = ways(&relay).await?;
    let lacks = match &channel {
        Some(WakeChannel::Mail(_)) if !ways.mail => Some("sends no mail"),
        Some(WakeChannel::Webhook(_)) if !ways.webhook => Some("posts to no addresses"),
        _ => None,
    };
    if let Some(lacks) = lacks {
        let message = format!("The relay {} {lacks}.", relay.url.at);
        return Err(ApiError::new(ErrorCode::Refused, message)
            .with_hint("Its operator decides that: wake in its configuration."));
    }
    let set = match channel {
        None => None,
        Some(WakeChannel::Mail(_)) => Some(WakeKind::Mail),
        Some(WakeChannel::Webhook(_)) => Some(WakeKind::Webhook),
        Some(WakeChannel::WebPush { .. }) => Some(WakeKind::WebPush),
    };
    match relay_named::ask(&relay, OwnRequest::Wake(channel)).await {
        Ok(OwnAnswer::WakeKept) => Ok(info(&relay, &WakeWays { set, ..ways })),
        Ok(_) => Err(failure::internal("another answer than to a way of waking")),
        Err(unheard) => Err(unreached(&relay, unheard)),
    }
}

fn channel(request: WakeRequest) -> Result<Option<WakeChannel>, ApiError> {
    let bad = |message: &str, hint: &str| {
        Err(ApiError::new(ErrorCode::BadRequest, message).with_hint(hint))
    };
    let fits = |text: &str, most: usize, without: &[u8]| {
        let may = |byte: u8| byte.is_ascii_graphic() && !without.contains(&byte);
        text.len() <= most && text.bytes().all(may)
    };
    match (request.mail, request.webhook) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => bad("One way can be set, not two.", "Give one of them."),
        (Some(mail), None) => {
            let parts = mail.rsplit_once('@');
            let whole = parts.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
            match whole && fits(&mail, MAX_MAIL_ADDRESS, b"<>,;") {
                true => Ok(Some(WakeChannel::Mail(mail))),
                false => bad(
                    "That is no address for mail.",
                    "It looks like anna@example.org",
                ),
            }
        }
        (None, Some(url)) => {
            let host = url.strip_prefix("https://").unwrap_or_default();
            let whole = !host.is_empty() && !host.starts_with('/');
            match whole && fits(&url, MAX_WAKE_URL, b"") {
                true => Ok(Some(WakeChannel::Webhook(url))),
                false => bad("That is no address to post to.", "It begins with https://"),
            }
        }
    }
}

async fn ways(relay: &Relay) -> Result<WakeWays, ApiError> {
    match relay_named::ask(relay, OwnRequest::AskWake).await {
        Ok(OwnAnswer::WakeWays(ways)) => Ok(ways),
        Ok(_) => Err(failure::internal("another answer than the ways of waking")),
        Err(unheard) => Err(unreached(relay, unheard)),
    }
}

fn unreached(relay: &Relay, unheard: Unheard) -> ApiError {
    let host = &relay.url.at;
    match unheard {
        Unheard::Never => {
            let message = format!("The relay {host} wakes no devices.");
            ApiError::new(ErrorCode::Refused, message).with_hint(
                "Its operator decides that, and a relay of an earlier version wakes none.",
            )
        }
        Unheard::Because(why) => {
            ApiError::new(ErrorCode::NoRelay, format!("The relay {host}: {why}."))
        }
    }
}

fn info(relay: &Relay, ways: &WakeWays) -> WakeInfo {
    let has = [
        (ways.push_key.is_some(), WakeWay::Push),
        (ways.mail, WakeWay::Mail),
        (ways.webhook, WakeWay::Webhook),
    ];
    WakeInfo {
        host: relay.url.at.to_string(),
        ways: has
            .into_iter()
            .filter(|(has, _)| *has)
            .map(|(_, way)| way)
            .collect(),
        set: ways.set.map(|kind| match kind {
            WakeKind::WebPush => WakeWay::Push,
            WakeKind::Mail => WakeWay::Mail,
            WakeKind::Webhook => WakeWay::Webhook,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(mail: Option<&str>, webhook: Option<&str>) -> Result<Option<WakeChannel>, ApiError> {
        channel(WakeRequest {
            relay: None,
            mail: mail.map(str::to_owned),
            webhook: webhook.map(str::to_owned),
        })
    }

    #[test]
    fn w7_an_address_is_one_before_a_relay_hears_it() {
        assert_eq!(set(None, None).unwrap(), None);
        assert!(set(Some("anna@example.org"), None).unwrap().is_some());
        assert!(set(None, Some("https://a.example/x")).unwrap().is_some());
        let wrong = ["anna", "@b", "a@", "a b@c", "a@b\r\nTo: c@d", "<a@b>"];
        assert!(wrong.iter().all(|mail| set(Some(mail), None).is_err()));
        let wrong = ["http://a", "https://", "https:///a", "https://a b"];
        assert!(wrong.iter().all(|url| set(None, Some(url)).is_err()));
        assert!(set(Some("a@b"), Some("https://a")).is_err());
    }
}
