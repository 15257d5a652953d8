//! Bytes as hexadecimal text.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt::Write;

/// Bytes that records store as hexadecimal text. `Debug` shows only how many they are: most of them
/// are secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Hex(pub Vec<u8>);

impl std::fmt::Debug for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hex({} bytes)", self.0.len())
    }
}

/// Returns the bytes as lower-case digits, two each.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Returns the bytes that [`encode`] wrote; `None` for any other text, upper-case digits included:
/// every string of bytes has one text, so that a key made of it is found again.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(byte).collect()
}

/// Returns the `N` bytes that [`encode`] wrote; `None` for any other text.
pub fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    decode(text)?.try_into().ok()
}

fn byte([high, low]: &[u8; 2]) -> Option<u8> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    Some(digit(*high)? << 4 | digit(*low)?)
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        decode(&text)
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("not hexadecimal"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_round_trip_and_nothing_else_is_read() {
        let bytes: Vec<u8> = (0..=255).collect();
        let text = encode(&bytes);
        assert_eq!(text[..8], *"00010203");
        assert_eq!(decode(&text), Some(bytes));
        for wrong in ["FF", "0", "0g", "+1", " 1", "0x", "ää", "12 3"] {
            assert_eq!(decode(wrong), None, "{wrong:?}");
        }
        assert_eq!(decode_array("0aff"), Some([10, 255]));
        assert_eq!(decode_array::<3>("0aff"), None);
    }

    #[test]
    fn a_record_keeps_bytes_and_debug_does_not_show_them() {
        let secret = Hex(vec![1, 171]);
        let json = serde_json::to_string(&secret).unwrap();
        assert_eq!(json, "\"01ab\"");
        assert_eq!(serde_json::from_str::<Hex>(&json).unwrap(), secret);
        assert!(serde_json::from_str::<Hex>("\"1\"").is_err());
        assert_eq!(format!("{secret:?}"), "Hex(2 bytes)");
    }
}
