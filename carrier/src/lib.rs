//! Links between devices: discovery, QUIC, TCP + TLS.
