//! How QUIC is set up here: windows, packet sizes, patience, ciphers. Needs nothing else of this
//! crate, so that `examples/throughput.rs` can measure the bare library with the very same
//! settings.

use quinn::congestion::CubicConfig;
use quinn::{IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use rustls::CipherSuite;
use rustls::crypto::CryptoProvider;
use std::sync::Arc;
use std::time::Duration;

/// Pause after which a silent side sends a keep-alive.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// Milliseconds of silence after which a connection is dead: three keep-alives lost, and one second
/// to spare.
const IDLE_TIMEOUT_MS: u32 = 10_000;
/// Stream, connection and send window towards near devices, bytes. Measured: larger ones overflow
/// the receiver's socket buffer and make the sender collapse.
const LAN_WINDOW: u32 = 4 * 1024 * 1024;
/// The same towards far devices: a window caps the rate at window / round trip, so 16 MiB at 100 ms
/// is 160 MiB/s.
const WAN_WINDOW: u32 = 16 * 1024 * 1024;
/// Largest UDP payload taken, and tried on networks with jumbo frames, bytes: ten of them, one
/// batch of segmentation offload, must fit into the 65,507 bytes of one UDP send, or sends fail and
/// the packet size falls back to 1200.
pub(crate) const MAX_PAYLOAD: u16 = 6500;
/// Largest UDP payload tried over the internet, bytes: what fits an Ethernet frame over IPv6.
const WAN_MAX_PAYLOAD: u16 = 1452;
/// Congestion window that a connection on a LAN starts with, bytes.
const LAN_INITIAL_WINDOW: u64 = 256 * 1024;

/// The window of an accepted connection of a relay before [`widen`](crate::Stream::widen) marks it
/// as one for bulk data: the relay holds thousands of connections, and anyone may make one.
const RELAY_WINDOW: u32 = 256 * 1024;
/// Streams that may be open on such a connection at once before it has shown that it uses them: for
/// each that may be, open or not, the library holds some 80 bytes.
pub(crate) const RELAY_STREAMS: u32 = 16;
/// Longest idle timeout: quinn counts milliseconds in 62 bits, and nobody waits longer than a day.
const LONGEST_IDLE: Duration = Duration::from_secs(24 * 3600);

/// The settings towards near devices, which may open `streams` streams at once.
pub(crate) fn lan(streams: u32) -> TransportConfig {
    let mut config = transport(streams, LAN_WINDOW, MAX_PAYLOAD);
    let mut cubic = CubicConfig::default();
    cubic.initial_window(LAN_INITIAL_WINDOW);
    config.congestion_controller_factory(Arc::new(cubic));
    config
}

/// The settings towards far devices, which may open `streams` streams at once.
pub(crate) fn wan(streams: u32) -> TransportConfig {
    transport(streams, WAN_WINDOW, WAN_MAX_PAYLOAD)
}

/// Window of a connection after [`widen`](crate::Stream::widen), bytes.
pub(crate) fn wide_window(near: bool) -> VarInt {
    VarInt::from_u32(if near { LAN_WINDOW } else { WAN_WINDOW })
}

/// Between a device and a relay: silent unless there is something to send, dead after `idle` of
/// silence. A side that needs to know sooner pings.
pub(crate) fn quiet(mut config: TransportConfig, idle: Duration) -> TransportConfig {
    let idle = IdleTimeout::try_from(idle.min(LONGEST_IDLE)).ok();
    config.keep_alive_interval(None).max_idle_timeout(idle);
    config
}

/// The side of the relay: what an accepted connection may make it hold begins small.
pub(crate) fn relay(mut config: TransportConfig, idle: Duration, streams: u32) -> TransportConfig {
    config
        .receive_window(VarInt::from_u32(RELAY_WINDOW))
        .max_concurrent_bidi_streams(VarInt::from_u32(streams.min(RELAY_STREAMS)));
    quiet(config, idle)
}

/// The settings that near and far have in common.
fn transport(streams: u32, window: u32, max_payload: u16) -> TransportConfig {
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(max_payload);
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(window))
        .receive_window(VarInt::from_u32(window))
        .send_window(u64::from(window))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        .mtu_discovery_config(Some(mtu))
        .allow_spin(false);
    config
}

/// aws-lc-rs with AES-128-GCM preferred: measured twice as fast as AES-256 or ChaCha20 where the
/// processor has AES instructions. The other suites stay, for a device whose processor has none.
pub(crate) fn provider() -> CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider
        .cipher_suites
        .sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_cipher_first_and_none_missing() {
        let stock = rustls::crypto::aws_lc_rs::default_provider().cipher_suites;
        let ours = provider().cipher_suites;
        assert_eq!(ours[0].suite(), CipherSuite::TLS13_AES_128_GCM_SHA256);
        assert!(ours.len() == stock.len() && stock.iter().all(|suite| ours.contains(suite)));
    }
}
