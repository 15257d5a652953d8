//! Where bytes came from.

use hither_api::SourceKind;
use hither_proto::display_name;

/// Characters at the end of a device id that people are shown.
const SHORT: usize = 8;

/// A device: what it calls itself, else the end of its id.
pub fn device(name: &str, id: &str) -> String {
    if name.is_empty() {
        display_name(tail(id))
    } else {
        display_name(name)
    }
}

fn tail(id: &str) -> &str {
    id.len()
        .checked_sub(SHORT)
        .and_then(|start| id.get(start..))
        .unwrap_or(id)
}

/// How bytes came, in words.
pub const fn kind_words(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Lan => "same network",
        SourceKind::Direct => "direct",
        SourceKind::Relayed => "through a relay",
        SourceKind::Store => "store",
        SourceKind::Local => "already here",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_without_a_name_show_the_end_of_their_id() {
        assert_eq!(device("laptop", "12D3KooWabcdefgh"), "laptop");
        assert_eq!(device("", "12D3KooWabcdefgh"), "abcdefgh");
        assert_eq!(device("", "short"), "short");
        assert_eq!(device("a\u{1b}[2J", "x"), "a\u{fffd}[2J");
    }
}
