//! Whom a request comes from: the address that limits count by.

use crate::config::WebConfig;
use axum::http::{HeaderMap, HeaderName};
use std::net::{IpAddr, SocketAddr};

/// Whom a request comes from; the port is the connection's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client(pub(super) SocketAddr);

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// True when an address is that of a proxy whose word is believed.
pub(super) fn is_proxy(config: &WebConfig, ip: IpAddr) -> bool {
    config
        .trusted_proxies
        .iter()
        .any(|proxy| proxy.contains(ip))
}

/// Whom a request on a connection from `peer` comes from: behind proxies that are believed, the
/// last address that no such proxy has. Each proxy adds what it sees at the end, so that what stands
/// before the word of the last stranger is the stranger's own.
pub(super) fn of(config: &WebConfig, peer: SocketAddr, headers: &HeaderMap) -> Client {
    let mut last = peer.ip().to_canonical();
    let texts = headers.get_all(FORWARDED_FOR);
    let mut said: Vec<&str> = texts
        .iter()
        .flat_map(|value| value.to_str().unwrap_or_default().split(','))
        .collect();
    while is_proxy(config, last) {
        match said.pop().and_then(|text| address(text.trim())) {
            Some(before) => last = before,
            None => break,
        }
    }
    Client(SocketAddr::new(last, peer.port()))
}

/// An address, perhaps with a port, as proxies write them.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let ip = match bare.unwrap_or(text).parse::<IpAddr>() {
        Ok(ip) => ip,
        Err(_) => text.parse::<SocketAddr>().ok()?.ip(),
    };
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_the_word_of_trusted_proxies_counts_and_only_the_last_stranger() {
        let config = WebConfig {
            trusted_proxies: vec!["127.0.0.1".parse().unwrap(), "10.0.0.0/8".parse().unwrap()],
            ..WebConfig::default()
        };
        let of = |peer: &str, said: &[&str]| {
            let mut headers = HeaderMap::new();
            for text in said {
                headers.append(FORWARDED_FOR, HeaderValue::from_str(text).unwrap());
            }
            let peer = SocketAddr::new(peer.parse().unwrap(), 7);
            of(&config, peer, &headers).0.ip().to_string()
        };
        assert_eq!(of("192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
        assert_eq!(of("127.0.0.1", &[]), "127.0.0.1");
        assert_eq!(of("::ffff:127.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        let forged = ["203.0.113.9, 198.51.100.1, 10.0.0.2"];
        assert_eq!(of("10.0.0.1", &forged), "198.51.100.1");
        let split = ["203.0.113.9", "198.51.100.1:4711"];
        assert_eq!(of("127.0.0.1", &split), "198.51.100.1");
        assert_eq!(of("127.0.0.1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(of("127.0.0.1", &["[2001:db8::1]"]), "2001:db8::1");
        assert_eq!(of("127.0.0.1", &["198.51.100.1, nonsense"]), "127.0.0.1");
    }
}
