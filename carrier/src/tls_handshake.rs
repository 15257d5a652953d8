//! The TLS handshake of a connection that is one stream.

use crate::ahead::ReadAhead;
use crate::duplex::{Io, READ_BUFFER};
use crate::endpoint_core::Core;
use crate::error::LinkError;
use crate::other_tls::OtherTls;
use crate::socket::Socket;
use crate::tls::{
    ALPN, EXPORTER_LABEL, ONLY_STREAM, SERVER_NAME, TlsError, exporter_context, peer_device,
};
use hither_proto::{DeviceId, StreamBinding};
use rustls::pki_types::ServerName;
use rustls::server::Acceptor;
use std::io;
use std::sync::Arc;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor, TlsConnector, TlsStream};

/// Bytes read from the socket at once at a relay, which holds thousands of connections that are silent most of the time: one
/// TLS record.
const RELAY_READ_BUFFER: usize = 16 * 1024 + 256;
/// Returns what TLS proved about a finished handshake of the device `own`: the other device, and
/// what binds to the stream.
fn proven(io: &Io, own: DeviceId) -> Result<(DeviceId, StreamBinding), TlsError> {
    let (_, state) = io.get_ref();
    if state.alpn_protocol() != Some(ALPN) {
        return Err(TlsError::Protocol);
    }
    let device = peer_device(state.peer_certificates())?;
    let context = exporter_context(ONLY_STREAM);
    let (label, context) = (EXPORTER_LABEL, Some(&context[..]));
    let binding = match io {
        TlsStream::Client(io) => {
            let exporter = io
                .get_ref()
                .1
                .export_keying_material([0; 32], label, context)?;
            StreamBinding::new(exporter, own, device)
        }
        TlsStream::Server(io) => {
            let exporter = io
                .get_ref()
                .1
                .export_keying_material([0; 32], label, context)?;
            StreamBinding::new(exporter, device, own)
        }
    };
    Ok((device, binding))
}

/// The dialling side of a handshake; nobody but `device` may answer.
pub(crate) async fn handshake_with(
    core: &Core,
    device: DeviceId,
    socket: Socket,
) -> Result<(Io, StreamBinding), LinkError> {
    let broken = |error: &dyn std::fmt::Display| LinkError::Broken(error.to_string());
    let (config, verifier) = core.tls.client(device).map_err(|error| broken(&error))?;
    let name = ServerName::try_from(SERVER_NAME).map_err(|error| broken(&error))?;
    let socket = ReadAhead::new(READ_BUFFER, socket);
    let io = TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await
        .map_err(|error| {
            let failed = || LinkError::of_handshake(&error);
            verifier
                .refused()
                .map_or_else(failed, |found| LinkError::WrongDevice { found })
        })?;
    let io = Io::from(io);
    let (found, binding) = proven(&io, core.device).map_err(|error| broken(&error))?;
    if found == device {
        Ok((io, binding))
    } else {
        Err(LinkError::WrongDevice { found })
    }
}

/// The accepting side: any device may come.
pub(crate) async fn handshake_of(
    core: &Core,
    acceptor: &TlsAcceptor,
    socket: Socket,
) -> io::Result<Proven> {
    let io = Io::from(acceptor.accept(read_ahead(core, socket)).await?);
    let (device, binding) = proven(&io, core.device).map_err(io::Error::other)?;
    Ok((io, device, binding))
}

/// A connection, the device that proved its key on it, and what binds to it.
type Proven = (Io, DeviceId, StreamBinding);

fn read_ahead(core: &Core, socket: Socket) -> ReadAhead {
    let buffer = if core.relay {
        RELAY_READ_BUFFER
    } else {
        READ_BUFFER
    };
    ReadAhead::new(buffer, socket)
}

/// The accepting side where somebody else is there too: who does not offer Hither's protocol in its
/// hello is a client of `other` (`Err`). A hello is at most 64 KiB long (RFC 8446, section 4, as
/// rustls bounds it).
pub(crate) async fn handshake_by_hello(
    core: &Core,
    other: &dyn OtherTls,
    socket: Socket,
) -> io::Result<Result<Proven, TlsStream<ReadAhead>>> {
    let begun = LazyConfigAcceptor::new(Acceptor::default(), read_ahead(core, socket)).await?;
    let hello = begun.client_hello();
    let ours = hello
        .alpn()
        .is_some_and(|mut offered| offered.any(|protocol| protocol == ALPN));
    if !ours {
        let refused = || io::Error::other("a client of nobody");
        let config = other.config(&hello).ok_or_else(refused)?;
        return Ok(Err(begun.into_stream(config).await?.into()));
    }
    let io = Io::from(begun.into_stream(core.tls.server()).await?);
    let (device, binding) = proven(&io, core.device).map_err(io::Error::other)?;
    Ok(Ok((io, device, binding)))
}
