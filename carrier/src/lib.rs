//! Links between devices: discovery, QUIC, TCP + TLS, circuits through relays.
//!
//! An [`Endpoint`] owns the sockets. It dials devices by identity and address and gives a [`Link`],
//! from which [`Stream`]s are opened; what others open to us comes out of [`Endpoint::accept`], on
//! whatever carrier it arrived. [`Discovery`] finds addresses on the local network.
//! [`MessageReader`] and [`write_message`] put the link protocol's frames on a stream.
//!
//! Invariants:
//! - A device is known by the ed25519 key that TLS proved, never by an address, a name or what
//!   discovery said.
//! - Everything that someone unauthenticated can make us hold is bounded (see [`bounds`]); beyond a
//!   bound a connection or stream is refused at once.
//! - Nothing here parses or trusts what is said on a stream, beyond the length of a frame.
//!
//! [`seal`] and [`group_seal`] are beside the links: what devices write to each other, or to all
//! members of a group, through a relay.

mod ahead;
pub mod bounds;
mod buffers;
mod carrier_kind;
mod checks;
mod circuit;
mod close_code;
pub mod code_seal;
mod dial;
mod discovery;
mod duplex;
mod endpoint;
mod endpoint_config;
mod endpoint_core;
mod error;
mod familiar;
mod framing;
mod gauge;
pub mod group_seal;
mod handshakes;
mod identity;
mod incoming;
mod interfaces;
mod link;
mod news;
mod other_tls;
mod paths;
mod pipe;
mod places;
mod port;
mod progress;
mod quic;
mod quic_config;
mod quic_link;
mod reach;
mod relay;
mod reset;
mod roaming;
pub mod seal;
mod settings;
mod sightings;
mod single;
mod socket;
mod stream;
mod stun;
mod stun_socket;
mod tcp;
mod tls;
mod tls_handshake;
mod vouched;

pub use carrier_kind::CarrierKind;
pub use checks::{CheckRole, Checks, PADDING_PER_CANDIDATE};
pub use circuit::Circuits;
pub use dial::Dial;
pub use discovery::{
    Call, Discovery, DiscoveryError, DiscoveryOptions, LookAnew, Nameplates, Recall,
};
pub use endpoint::Endpoint;
pub use endpoint_config::EndpointConfig;
pub use error::{BindError, LinkError};
pub use familiar::Familiar;
pub use framing::{
    FrameReader, FramingError, MessageReader, RelayReader, WireMessage, write_chunk_frame,
    write_message, write_put_chunk, write_relay_message,
};
pub use gauge::{Finding, Gauge};
pub use identity::{Identity, IdentityError};
pub use incoming::Incoming;
pub use interfaces::InterfaceFilter;
pub use link::{Link, LinkStats};
pub use other_tls::OtherTls;
pub use paths::Paths;
pub use pipe::PipeIo;
pub use progress::Progress;
pub use sightings::DiscoveryEvent;
pub use stream::{RecvHalf, SendHalf, Stream};
