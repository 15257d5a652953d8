//! The code with which QUIC connections and streams are closed.

use quinn::VarInt;

/// Closing code; codes have no meaning in this protocol, reasons are text.
pub(crate) const CODE: VarInt = VarInt::from_u32(0);
