//! Relay URLs: what people paste to connect a device to a relay.
//!
//! `hither://HOST:PORT/#<key>[.<invitation>]`: the key in its text form (`12D3KooW…`), so that
//! nobody on the way can pose as the relay, and the invitation in 32 hexadecimal digits. Both stand
//! in the fragment, which no program that takes the text for a link sends anywhere. With an
//! invitation it is a secret.

use super::address::{HostPort, HostPortError, RelayAddress};
use crate::device::DeviceId;
use crate::ids::Invitation;
use crate::limits::MAX_RELAY_URL;
use std::{fmt, str::FromStr};

const SCHEME: &str = "hither://";

/// Why a text is no relay URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelayUrlError {
    /// Longer than any.
    #[error("this is too long for a relay URL")]
    TooLong,
    /// Another scheme, or none.
    #[error("a relay URL begins with \"{SCHEME}\"")]
    Scheme,
    /// No fragment: often lost when a URL is copied without quotes.
    #[error("the relay's key is missing: it follows a \"#\" at the end of the URL")]
    NoKey,
    /// Something between address and fragment.
    #[error("nothing but \"/\" may stand between the relay's address and the \"#\"")]
    Path,
    /// The host or port.
    #[error("the relay's address is wrong: {0}")]
    Address(#[from] HostPortError),
    /// The key is not the text of an ed25519 key.
    #[error(
        "the relay's key is incomplete or mistyped (it begins with 12D3KooW and has 52 characters)"
    )]
    Key,
    /// The invitation does not have 32 hexadecimal digits.
    #[error("the invitation is incomplete or mistyped (it has 32 hexadecimal digits)")]
    Invitation,
}

/// Where a relay is, which key it must prove, and perhaps an invitation to it.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayUrl {
    /// Where it listens, for both carriers.
    pub at: HostPort,
    /// Its key.
    pub key: DeviceId,
    /// What a device shows to be registered.
    pub invitation: Option<Invitation>,
}

impl RelayUrl {
    /// The relay's address on both carriers.
    pub fn address(&self) -> RelayAddress {
        RelayAddress {
            key: self.key,
            udp: vec![self.at.clone()],
            tcp: vec![self.at.clone()],
        }
    }

    /// The URL without its invitation: no secret any more.
    pub fn without_invitation(&self) -> Self {
        Self {
            at: self.at.clone(),
            key: self.key,
            invitation: None,
        }
    }
}

impl fmt::Display for RelayUrl {
    /// The whole URL: with an invitation a secret, show it only to those who are invited.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/#{}", self.at, self.key)?;
        match &self.invitation {
            Some(invitation) => write!(f, ".{}", invitation.to_hex()),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let invitation = if self.invitation.is_some() {
            ".(secret)"
        } else {
            ""
        };
        write!(f, "RelayUrl({SCHEME}{}/#{}{invitation})", self.at, self.key)
    }
}

impl FromStr for RelayUrl {
    type Err = RelayUrlError;

    /// Parses a URL; space around it and a missing `/` are forgiven.
    fn from_str(text: &str) -> Result<Self, RelayUrlError> {
        let text = text.trim();
        if text.len() > MAX_RELAY_URL {
            return Err(RelayUrlError::TooLong);
        }
        let rest = match text.split_at_checked(SCHEME.len()) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => rest,
            _ => return Err(RelayUrlError::Scheme),
        };
        let (place, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (at, path) = place.split_once('/').unwrap_or((place, ""));
        if !path.is_empty() {
            return Err(RelayUrlError::Path);
        }
        let at = at.parse()?;
        if fragment.is_empty() {
            return Err(RelayUrlError::NoKey);
        }
        let (key, invitation) = match fragment.split_once('.') {
            Some((key, invitation)) => (key, Some(invitation)),
            None => (fragment, None),
        };
        let key = key.parse().map_err(|_| RelayUrlError::Key)?;
        let invitation = invitation
            .map(Invitation::from_hex)
            .transpose()
            .map_err(|_| RelayUrlError::Invitation)?;
        Ok(Self {
            at,
            key,
            invitation,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{MAX_HOST, MAX_HOST_PORT};
    use proptest::prelude::*;

    const KEY: &str = "12D3KooWHFd1gyNYFqxt7ke9FY2VoVVWY2XSPhvL9vg2pB6wQGfa";
    const INVITATION: &str = "000102030405060708090a0b0c0d0e0f";

    #[test]
    fn urls_round_trip_with_and_without_an_invitation() {
        for host in ["relay.example:47447", "192.0.2.7:1", "[2001:db8::1]:47447"] {
            for end in [String::new(), format!(".{INVITATION}")] {
                let text = format!("hither://{host}/#{KEY}{end}");
                let url: RelayUrl = text.parse().unwrap();
                assert_eq!(url.to_string(), text);
                assert_eq!(url.invitation.is_some(), !end.is_empty());
                assert_eq!(url.address().udp, [host.parse().unwrap()]);
                assert_eq!(
                    url.without_invitation().to_string(),
                    format!("hither://{host}/#{KEY}")
                );
                let pasted = format!(" HITHER://{host}#{KEY}{end}\n");
                assert_eq!(pasted.parse::<RelayUrl>().unwrap(), url);
            }
        }
    }

    #[test]
    fn the_longest_url_fits_and_a_longer_text_is_refused() {
        let host = format!("{}:65535", &"abcdefghi.".repeat(26)[..MAX_HOST]);
        assert!(host.len() <= MAX_HOST_PORT);
        let text = format!("hither://{host}/#{KEY}.{INVITATION}");
        assert!(text.len() <= MAX_RELAY_URL);
        assert_eq!(text.parse::<RelayUrl>().unwrap().to_string(), text);
        assert_eq!(
            "h".repeat(MAX_RELAY_URL + 1).parse::<RelayUrl>(),
            Err(RelayUrlError::TooLong)
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        use RelayUrlError::*;
        for (text, why) in [
            (String::new(), Scheme),
            ("hither1qqqqqq".into(), Scheme),
            (format!("https://relay.example:1/#{KEY}"), Scheme),
            ("hither://relay.example:1".into(), NoKey),
            ("hither://relay.example:1/#".into(), NoKey),
            (
                format!("hither://relay.example/#{KEY}"),
                Address(HostPortError::NoPort),
            ),
            (format!("hither:///#{KEY}"), Address(HostPortError::NoPort)),
            (
                format!("hither://relay.example:x/#{KEY}"),
                Address(HostPortError::Port),
            ),
            (
                format!("hither://0.0.0.0:1/#{KEY}"),
                Address(HostPortError::Unusable),
            ),
            (format!("hither://relay.example:1/path#{KEY}"), Path),
            (format!("hither://relay.example:1/#{}", &KEY[..51]), Key),
            (format!("hither://relay.example:1/#.{INVITATION}"), Key),
            (format!("hither://relay.example:1/#{KEY}."), Invitation),
            (
                format!("hither://relay.example:1/#{KEY}.{}", &INVITATION[..31]),
                Invitation,
            ),
            (
                format!("hither://relay.example:1/#{KEY}.{INVITATION}.x"),
                Invitation,
            ),
        ] {
            assert_eq!(text.parse::<RelayUrl>(), Err(why), "{text}");
        }
    }

    #[test]
    fn neither_the_url_nor_its_errors_show_the_invitation() {
        let url: RelayUrl = format!("hither://relay.example:1/#{KEY}.{INVITATION}")
            .parse()
            .unwrap();
        assert_eq!(
            format!("{url:?}"),
            format!("RelayUrl(hither://relay.example:1/#{KEY}.(secret))")
        );
        let mistyped = format!("hither://relay.example:1/#{KEY}.{INVITATION}0")
            .parse::<RelayUrl>()
            .unwrap_err();
        assert!(!format!("{mistyped} {mistyped:?}").contains(&INVITATION[..8]));
    }

    proptest! {
        #[test]
        fn damaged_urls_are_refused_or_print_to_themselves(at in 0usize..120, with in "\\PC") {
            let mut text = format!("hither://relay.example:1/#{KEY}.{INVITATION}");
            let at = at % text.len();
            text.replace_range(at..=at, &with);
            if let Ok(url) = text.parse::<RelayUrl>() {
                prop_assert_eq!(url.to_string().parse::<RelayUrl>(), Ok(url));
            }
        }
    }
}
