//! The addresses of a device, sealed for those who know the share's secret: the index passes them
//! on and cannot read them.
//!
//! Invariant: a key seals for one share and one device only, so that random nonces of 96 bits never
//! meet.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use bytes::Bytes;
use hither_proto::limits::{MAX_ADDRESSES, MAX_INDEX_SEALED};
use hither_proto::{DeviceId, HostPort, IndexTopic, RelayAddress, ShareSecret};
use std::net::SocketAddr;

/// The plaintext is padded to a multiple of this, so that its length says little about how many
/// addresses there are.
const PAD: usize = 256;
/// Bytes of the length before the addresses.
const PREFIX: usize = 2;

/// Seals the addresses of `device` for a topic; `None`: there is no randomness, or too much to
/// seal.
pub(super) fn seal(
    secret: &ShareSecret,
    device: DeviceId,
    topic: IndexTopic,
    addresses: &[SocketAddr],
) -> Option<Bytes> {
    let texts = addresses
        .iter()
        .filter_map(|address| address.to_string().parse::<HostPort>().ok());
    let listed: Vec<HostPort> = texts.take(MAX_ADDRESSES).collect();
    let plain = RelayAddress {
        key: device,
        udp: listed,
        tcp: Vec::new(),
    }
    .encode();
    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce).ok()?;
    let mut sealed = nonce.to_vec();
    sealed.extend_from_slice(&u16::try_from(plain.len()).ok()?.to_be_bytes());
    sealed.extend_from_slice(&plain);
    sealed.resize(NONCE_LEN + (PREFIX + plain.len()).next_multiple_of(PAD), 0);
    let key = cipher(secret, &device)?;
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = key
        .seal_in_place_separate_tag(nonce, aad(device, topic), &mut sealed[NONCE_LEN..])
        .ok()?;
    sealed.extend_from_slice(tag.as_ref());
    (sealed.len() <= MAX_INDEX_SEALED).then(|| sealed.into())
}

/// Opens what a device sealed; `None`: it was not sealed by who knows the share, for this device
/// and topic.
pub(super) fn open(
    secret: &ShareSecret,
    device: DeviceId,
    topic: IndexTopic,
    sealed: &[u8],
) -> Option<Vec<SocketAddr>> {
    let (nonce, ciphertext) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut plain = ciphertext.to_vec();
    let plain = cipher(secret, &device)?
        .open_in_place(nonce, aad(device, topic), &mut plain)
        .ok()?;
    let (length, rest) = plain.split_first_chunk::<PREFIX>()?;
    let listed =
        RelayAddress::decode(rest.get(..usize::from(u16::from_be_bytes(*length)))?).ok()?;
    // A name would have to be looked up; devices tell what they listen on.
    (listed.key == device).then(|| {
        listed
            .udp
            .iter()
            .filter_map(HostPort::socket_addr)
            .collect()
    })
}

fn cipher(secret: &ShareSecret, device: &DeviceId) -> Option<LessSafeKey> {
    let key = secret.index_address_key(device);
    UnboundKey::new(&AES_256_GCM, key.expose())
        .ok()
        .map(LessSafeKey::new)
}

fn aad(device: DeviceId, topic: IndexTopic) -> Aad<[u8; DeviceId::LEN + IndexTopic::LEN]> {
    let mut bytes = [0; DeviceId::LEN + IndexTopic::LEN];
    bytes[..DeviceId::LEN].copy_from_slice(device.as_bytes());
    bytes[DeviceId::LEN..].copy_from_slice(topic.as_bytes());
    Aad::from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> DeviceId {
        hither_carrier::Identity::generate().unwrap().device_id()
    }

    #[test]
    fn addresses_are_for_who_knows_the_share_and_of_that_device_and_topic() {
        let (secret, one, two) = (ShareSecret::new([1; 16]), device(), device());
        let topic = secret.index_topic(&two);
        let addresses = [
            "192.168.1.7:47447".parse().unwrap(),
            "[2001:db8::1]:47447".parse().unwrap(),
        ];
        let sealed = seal(&secret, one, topic, &addresses).unwrap();
        assert_eq!(open(&secret, one, topic, &sealed).unwrap(), addresses);
        assert!(open(&ShareSecret::new([2; 16]), one, topic, &sealed).is_none());
        assert!(open(&secret, two, topic, &sealed).is_none());
        assert!(open(&secret, one, secret.index_topic(&one), &sealed).is_none());
        assert_ne!(
            seal(&secret, one, topic, &addresses).unwrap(),
            sealed,
            "a nonce is used once"
        );
        for at in 0..sealed.len() {
            let mut damaged = sealed.to_vec();
            damaged[at] ^= 1;
            assert!(open(&secret, one, topic, &damaged).is_none(), "{at}");
        }
        for length in 0..sealed.len() {
            assert!(open(&secret, one, topic, &sealed[..length]).is_none());
        }
    }

    #[test]
    fn the_length_says_little_and_keeps_to_its_bound() {
        let (secret, one) = (ShareSecret::new([1; 16]), device());
        let seal = |count: u16| {
            let address =
                |port| format!("[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:{}", 50_000 + port);
            let addresses: Vec<SocketAddr> = (0..count)
                .map(|port| address(port).parse().unwrap())
                .collect();
            seal(&secret, one, secret.index_topic(&one), &addresses).unwrap()
        };
        assert_eq!(seal(0).len(), seal(3).len());
        assert!(seal(8).len() <= MAX_INDEX_SEALED);
        assert_eq!(seal(8).len(), seal(20).len(), "more than that are not told");
    }
}
