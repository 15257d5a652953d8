//! Links that open a share in a browser: `https://HOST[:PORT]/l#<ticket>`.
//!
//! The ticket stands in the fragment, which no browser sends to the server; a link is a secret as a
//! ticket is. What a program or a person does to a link on its way is forgiven where nothing is
//! lost by it: upper case, a `/` too many, a `#` written as `%23`.

use crate::limits::{MAX_TICKET, MAX_WEB};
use crate::relay::{WebAddress, WebAddressError};
use crate::ticket::{Ticket, TicketError};
use std::{fmt, str::FromStr};

/// Longest link, bytes: a longest web address, the path and a longest ticket.
pub const MAX_SHARE_LINK: usize = MAX_WEB + 8 + MAX_TICKET;
/// Path of every link.
const PATH: &str = "/l";

/// Reasons why a text is no link to a share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShareLinkError {
    /// The text is longer than any link.
    #[error("this is too long for a link to a share")]
    TooLong,
    /// The part before the path.
    #[error(transparent)]
    Address(#[from] WebAddressError),
    /// Another path, or a query.
    #[error("this address is no link to a share (those end in {PATH}#hither1…)")]
    Path,
    /// The fragment is missing or empty: some programs cut it off.
    #[error("the link has lost what follows the #")]
    NoTicket,
    /// The fragment is no ticket.
    #[error(transparent)]
    Ticket(#[from] TicketError),
}

/// A ticket, and where browsers open it.
#[derive(Clone, PartialEq, Eq)]
pub struct ShareLink {
    /// The relay whose page opens it.
    pub web: WebAddress,
    /// Everything that opens the share.
    pub ticket: Ticket,
}

impl ShareLink {
    /// True when a text is meant as a link and as nothing else that Hither knows.
    pub fn is_meant(text: &str) -> bool {
        text.trim_start()
            .as_bytes()
            .get(..8)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"https://"))
    }
}

impl fmt::Display for ShareLink {
    /// The whole link: a secret, for those who may have the share.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{PATH}#{}", self.web, self.ticket)
    }
}

impl fmt::Debug for ShareLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShareLink({}, secret)", self.web)
    }
}

impl FromStr for ShareLink {
    type Err = ShareLinkError;

    /// Parses a link; blanks and line breaks in it are left out.
    fn from_str(text: &str) -> Result<Self, ShareLinkError> {
        // Blanks come from screens that break long lines; they may be about as many again.
        if text.len() > 2 * MAX_SHARE_LINK {
            return Err(ShareLinkError::TooLong);
        }
        let text: String = text.split_whitespace().collect();
        if text.len() > MAX_SHARE_LINK {
            return Err(ShareLinkError::TooLong);
        }
        let (web, rest) = WebAddress::split(&text)?;
        let (path, fragment) = match (rest.split_once('#'), rest.split_once("%23")) {
            (Some(split), _) | (None, Some(split)) => split,
            (None, None) => (rest, ""),
        };
        if !matches!(path.to_ascii_lowercase().trim_end_matches('/'), "" | PATH) {
            return Err(ShareLinkError::Path);
        }
        if fragment.is_empty() {
            return Err(ShareLinkError::NoTicket);
        }
        Ok(Self {
            web,
            ticket: fragment.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShareSecret;
    use crate::relay::samples::key;
    use proptest::prelude::*;

    fn ticket() -> Ticket {
        Ticket {
            secret: ShareSecret::new([1; 16]),
            owner: key(),
            hints: Vec::new(),
            relays: Vec::new(),
            pin: None,
        }
    }

    fn link() -> ShareLink {
        ShareLink {
            web: "https://relay.example.org:8443".parse().unwrap(),
            ticket: ticket(),
        }
    }

    #[test]
    fn a_link_is_read_as_it_was_printed_and_as_people_change_it() {
        let text = link().to_string();
        assert_eq!(
            text,
            format!("https://relay.example.org:8443/l#{}", ticket())
        );
        let half = text.len() / 2;
        for changed in [
            text.clone(),
            text.to_uppercase(),
            format!("  {text}\n"),
            text.replace('#', "%23"),
            text.replace("/l#", "/l/#"),
            text.replace("/l#", "/#"),
            format!("{}\n  {}", &text[..half], &text[half..]),
        ] {
            assert!(ShareLink::is_meant(&changed), "{changed}");
            assert_eq!(changed.parse(), Ok(link()), "{changed}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_no_secret_with_it() {
        let ticket = ticket().to_string();
        let lost = [
            "https://r.example/l",
            "https://r.example/l#",
            "https://r.example/",
        ];
        for text in lost {
            assert_eq!(text.parse::<ShareLink>(), Err(ShareLinkError::NoTicket));
        }
        let other = format!("https://r.example/elsewhere#{ticket}");
        assert_eq!(other.parse::<ShareLink>(), Err(ShareLinkError::Path));
        let query = format!("https://r.example/l?x=1#{ticket}");
        assert_eq!(query.parse::<ShareLink>(), Err(ShareLinkError::Path));
        let cut = format!("https://r.example/l#{}", &ticket[..ticket.len() - 3]);
        let error = cut.parse::<ShareLink>().unwrap_err();
        assert_eq!(error, ShareLinkError::Ticket(TicketError::Checksum));
        assert!(!error.to_string().contains(&ticket[10..20]));
        let plain = format!("http://r.example/l#{ticket}");
        assert!(!ShareLink::is_meant(&plain) && plain.parse::<ShareLink>().is_err());
        assert!(!ShareLink::is_meant(&ticket));
        let long = format!("https://r.example/l#{}", "q".repeat(MAX_SHARE_LINK));
        assert_eq!(long.parse::<ShareLink>(), Err(ShareLinkError::TooLong));
        assert!(!format!("{:?}", link()).contains("hither1"));
    }

    proptest! {
        #[test]
        fn damaged_links_are_refused_or_print_to_themselves(at in 0usize..400, with in "\\PC") {
            let mut text = link().to_string();
            let at = at % text.len();
            text.replace_range(at..=at, &with);
            if let Ok(link) = text.parse::<ShareLink>() {
                prop_assert_eq!(link.to_string().parse::<ShareLink>(), Ok(link));
            }
        }
    }
}
