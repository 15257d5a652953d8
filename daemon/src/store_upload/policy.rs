//! The rules for uploads: the user's word for a share, then the rules of the configuration.

use super::{Doing, Trouble};
use hither_api::UploadRules;
use hither_swarm::{Facts, is_near};
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Why a share is not uploaded, for people: how "not uploaded: …" ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forbidden {
    /// The user who shared it requested it.
    Asked,
    /// Nothing is uploaded.
    Disabled,
    /// It is smaller than what is uploaded.
    Small,
    /// It is larger than what is uploaded.
    Large,
    /// Not over the network that leads to the relay now.
    Network,
    /// Not while the link costs by volume.
    Metered,
}

impl Forbidden {
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Asked => "shared with --no-upload",
            Self::Disabled => "uploads are switched off (upload.enabled)",
            Self::Small => "smaller than upload.min_size",
            Self::Large => "larger than upload.max_size",
            Self::Network => "not over this network (upload.never_on)",
            Self::Metered => "it waits for a link that is not metered (upload.metered)",
        }
    }
}

impl From<Forbidden> for Doing {
    fn from(why: Forbidden) -> Self {
        let trouble = Trouble {
            reason: None,
            words: why.words().into(),
        };
        // That link is seldom the only one for long: nobody has to do anything.
        if why == Forbidden::Metered {
            Self::Waits(trouble)
        } else {
            Self::Off(trouble)
        }
    }
}

/// Checks that a share of `bytes` is uploaded at all. The user's word for a share goes before the
/// rules.
pub(super) fn share(rules: &UploadRules, no_upload: bool, bytes: u64) -> Result<(), Forbidden> {
    if no_upload {
        return Err(Forbidden::Asked);
    }
    if !rules.enabled {
        return Err(Forbidden::Disabled);
    }
    if rules.min_size.is_some_and(|least| bytes < least) {
        return Err(Forbidden::Small);
    }
    if rules.max_size.is_some_and(|most| bytes > most) {
        return Err(Forbidden::Large);
    }
    Ok(())
}

/// Checks that the way to a relay may be used now.
pub(super) fn network(rules: &UploadRules, relay: SocketAddr) -> Result<(), Forbidden> {
    if rules.never_on.is_empty() {
        return Ok(());
    }
    // Without an answer the rules cannot be kept, so that nothing is uploaded.
    let Some((interface, address)) = leads_to(relay) else {
        return Err(Forbidden::Network);
    };
    let forbidden = rules
        .never_on
        .iter()
        .any(|rule| rule.means(&interface, address));
    if forbidden {
        Err(Forbidden::Network)
    } else {
        Ok(())
    }
}

/// Checks that the link may be used now, as it is metered or not. A relay on a network that this
/// device is on itself is reached without it.
pub(super) fn link(rules: &UploadRules, facts: &Facts, relay: SocketAddr) -> Result<(), Forbidden> {
    let free = rules.metered || !facts.is_metered() || is_near(relay.ip());
    if free {
        Ok(())
    } else {
        Err(Forbidden::Metered)
    }
}

/// The interface that leads to an address, and this device's own address on it: the kernel's
/// routing table is asked. Nothing is sent.
fn leads_to(remote: SocketAddr) -> Option<(String, IpAddr)> {
    let any: SocketAddr = if remote.is_ipv4() {
        ([0; 4], 0).into()
    } else {
        ([0_u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(remote).ok()?;
    let own = socket.local_addr().ok()?.ip();
    let interface = if_addrs::get_if_addrs()
        .ok()?
        .into_iter()
        .find(|interface| interface.ip() == own)?;
    Some((interface.name, own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_word_goes_before_the_rules() {
        let rules = UploadRules {
            min_size: Some(10),
            max_size: Some(100),
            ..UploadRules::default()
        };
        let table = [
            (false, 50, Ok(())),
            (false, 10, Ok(())),
            (false, 100, Ok(())),
            (false, 9, Err(Forbidden::Small)),
            (false, 101, Err(Forbidden::Large)),
            (true, 50, Err(Forbidden::Asked)),
        ];
        for (no_upload, bytes, verdict) in table {
            assert_eq!(share(&rules, no_upload, bytes), verdict, "{bytes}");
        }
        let off = UploadRules {
            enabled: false,
            ..rules
        };
        assert_eq!(share(&off, false, 50), Err(Forbidden::Disabled));
        assert_eq!(share(&off, true, 50), Err(Forbidden::Asked));
    }

    #[test]
    fn a_metered_link_is_spared_unless_the_user_says_otherwise() {
        // Addresses that nobody has (240.0.0.0/4), so that no machine that this runs on is near
        // them.
        let (far, near) = (
            "240.0.0.1:9".parse().unwrap(),
            "127.0.0.1:9".parse().unwrap(),
        );
        let metered = |metered| Facts {
            metered,
            ..Facts::default()
        };
        let rules = UploadRules::default();
        assert_eq!(
            link(&rules, &metered(Some(true)), far),
            Err(Forbidden::Metered)
        );
        assert_eq!(link(&rules, &metered(Some(true)), near), Ok(()));
        assert_eq!(link(&rules, &metered(Some(false)), far), Ok(()));
        assert_eq!(link(&rules, &metered(None), far), Ok(()));
        assert_eq!(
            link(
                &UploadRules {
                    metered: true,
                    ..rules
                },
                &metered(Some(true)),
                far
            ),
            Ok(())
        );
    }

    #[test]
    fn the_network_is_the_one_that_leads_to_the_relay() {
        let relay = "127.0.0.1:9".parse().unwrap();
        let on = |rule: &str| UploadRules {
            never_on: vec![rule.parse().unwrap()],
            ..UploadRules::default()
        };
        assert_eq!(network(&UploadRules::default(), relay), Ok(()));
        assert_eq!(network(&on("127.0.0.0/8"), relay), Err(Forbidden::Network));
        assert_eq!(network(&on("lo"), relay), Err(Forbidden::Network));
        assert_eq!(network(&on("198.51.100.0/24"), relay), Ok(()));
    }
}
