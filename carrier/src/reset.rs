//! Stateless resets (RFC 9000, section 10.3): how a device that crashed and came back ends the
//! links of its former life.
//!
//! A packet for a connection that is not known here is answered with a token, which the other side
//! was given, encrypted, while the connection lived: it then knows at once that the link is dead,
//! instead of after 10 s of silence. The token of a connection id follows from the id and a key.
//! That key must outlive the process, so it follows from the device's.
//!
//! Invariant: no two connections of one device have a connection id in common, or what the other
//! side of one knows would end the other. Ids are 64 random bits: a stranger that makes 2³²
//! connections to harvest tokens hits one of the 100 ids in use with a chance of one in 2²⁵. For
//! the same reason the library's own generator, whose ids have 24 random bits, will not do here;
//! and it would drop packets of a former life, because it only knows the ids that it made itself.

use crate::identity::{Identity, IdentityError};
use aws_lc_rs::hmac;
use quinn::EndpointConfig;
use quinn_proto::RandomConnectionIdGenerator;
use std::sync::Arc;
use std::time::Duration;

/// The purpose of the key, in the form that BLAKE3's key derivation wants: unlike those of any
/// other use of the device's key.
const PURPOSE: &str = "hither 2026 carrier QUIC stateless reset key v1";
/// Length of connection ids, bytes.
const ID_LENGTH: usize = 8;
/// Shortest time between two resets that a relay sends; what comes in between gets none: no limit.
/// With the library's 20 ms the ten thousand devices of one that was killed found out one after the
/// other, over minutes. With any limit, of all packets that are read from the socket at once, only
/// one is answered. A reset costs less than the handshake that anyone may ask for, and is shorter
/// than what it answers, so it is of no use against others.
const RELAY_INTERVAL: Duration = Duration::ZERO;

/// A configuration whose resets are those of this device, whichever process sends them: the key is
/// `HMAC-SHA256(BLAKE3-derive-key(PURPOSE, ed25519 secret key))`.
pub(crate) fn endpoint_config(
    identity: &Identity,
    relay: bool,
) -> Result<EndpointConfig, IdentityError> {
    let key = identity.derive(PURPOSE)?;
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &*key)));
    config.cid_generator(|| Box::new(RandomConnectionIdGenerator::new(ID_LENGTH)));
    // The bit tells QUIC from STUN on the same socket (RFC 9443).
    config.grease_quic_bit(false);
    if relay {
        config.min_reset_interval(RELAY_INTERVAL);
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_follows_from_device_and_purpose() {
        let (one, other) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        assert_eq!(*one.derive(PURPOSE).unwrap(), *one.derive(PURPOSE).unwrap());
        assert_ne!(
            *one.derive(PURPOSE).unwrap(),
            *one.derive("something else").unwrap()
        );
        assert_ne!(
            *one.derive(PURPOSE).unwrap(),
            *other.derive(PURPOSE).unwrap()
        );
    }
}
