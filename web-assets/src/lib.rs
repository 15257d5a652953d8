//! The files of Hither's page, built into the programs that serve it.
//!
//! Invariant: a look-up never touches the disk: a path is a key of a table that was made when the
//! program was built, so no path leads anywhere else.

/// One file of the page.
#[derive(Debug, Clone, Copy)]
pub struct Asset {
    /// Path below the page's root, without a `/` in front.
    pub path: &'static str,
    /// Its content.
    pub bytes: &'static [u8],
    /// Its content, compressed by Brotli.
    pub br: Option<&'static [u8]>,
    /// Its content, compressed by gzip.
    pub gz: Option<&'static [u8]>,
    /// Its hash as the `integrity` of HTML has it (`sha384-…`).
    pub integrity: &'static str,
    /// Its `ETag`, in quotes: names the content as it is sent without compression.
    pub etag: &'static str,
    /// The same of the content compressed by Brotli: other bytes have another tag (RFC 9110, 8.8.3).
    pub etag_br: &'static str,
    /// The same of the content compressed by gzip.
    pub etag_gz: &'static str,
    /// Its `Content-Type`.
    pub content_type: &'static str,
}

/// The form in which a file is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Without compression.
    Plain,
    /// `br`.
    Brotli,
    /// `gzip`.
    Gzip,
}

impl Encoding {
    /// The value of `Content-Encoding`; `None`: there is none.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Brotli => Some("br"),
            Self::Gzip => Some("gzip"),
        }
    }
}

/// Every file, sorted by its path.
const ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// Every file, sorted by its path.
pub fn all() -> &'static [Asset] {
    ASSETS
}

/// The file with that path, exactly as it is written: no `/` in front, no `..`, no escapes.
pub fn find(path: &str) -> Option<&'static Asset> {
    let at = ASSETS.binary_search_by(|asset| asset.path.cmp(path)).ok()?;
    ASSETS.get(at)
}

/// An answer to a request for a file, for whichever library sends it.
#[derive(Debug, Clone, Copy)]
pub struct Reply {
    /// Nothing is sent (304): the client has it.
    pub known: bool,
    /// The bytes to send otherwise.
    pub body: &'static [u8],
    /// The encoding of these bytes; `None`: none, or nothing is sent.
    pub content_encoding: Option<&'static str>,
    /// The `ETag` of the form that is sent, or that the client has.
    pub etag: &'static str,
    /// The file.
    pub asset: &'static Asset,
}

impl Reply {
    /// The headers of the answer, by their names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let always = [
            ("content-type", self.asset.content_type),
            ("etag", self.etag),
            ("vary", "accept-encoding"),
            (
                "cache-control",
                match self.asset.is_immutable() {
                    true => "public, max-age=31536000, immutable",
                    false => "no-cache",
                },
            ),
        ];
        let encoding = self.content_encoding.map(|name| ("content-encoding", name));
        always.into_iter().chain(encoding)
    }
}

impl Asset {
    /// The answer to a request with these values of `Accept-Encoding` and `If-None-Match`.
    pub fn reply(&'static self, accepted: Option<&str>, known: Option<&str>) -> Reply {
        // RFC 9110, 13.1.2: tags are compared weakly.
        let (encoding, bytes) = self.encoded(accepted);
        let etag = match encoding {
            Encoding::Plain => self.etag,
            Encoding::Brotli => self.etag_br,
            Encoding::Gzip => self.etag_gz,
        };
        let known = known.is_some_and(|tags| {
            let mut tags = tags
                .split(',')
                .map(|tag| tag.trim().trim_start_matches("W/"));
            tags.any(|tag| tag == etag)
        });
        Reply {
            known,
            body: if known { &[] } else { bytes },
            content_encoding: encoding.name().filter(|_| !known),
            etag,
            asset: self,
        }
    }

    /// True when the content never changes under this path: its name has a hash of it.
    pub fn is_immutable(&self) -> bool {
        self.path.starts_with("assets/")
    }

    /// The shortest form that a client takes, by its `Accept-Encoding`; `None`: no such header.
    pub fn encoded(&self, accepted: Option<&str>) -> (Encoding, &'static [u8]) {
        let takes = |name| accepted.is_some_and(|accepted| accepts(accepted, name));
        match (self.br, self.gz) {
            (Some(bytes), _) if takes("br") => (Encoding::Brotli, bytes),
            (_, Some(bytes)) if takes("gzip") => (Encoding::Gzip, bytes),
            _ => (Encoding::Plain, self.bytes),
        }
    }
}

/// True when an `Accept-Encoding` value (RFC 9110, section 12.5.3) names that encoding and does not
/// rule it out. A `*` does not count: plain is always right.
fn accepts(accepted: &str, name: &str) -> bool {
    accepted.split(',').any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let named = parts.next().is_some_and(|n| n.eq_ignore_ascii_case(name));
        let ruled_out = parts.any(|parameter| {
            let value = parameter
                .split_once('=')
                .filter(|(key, _)| key.trim().eq_ignore_ascii_case("q"));
            value.is_some_and(|(_, q)| q.trim().parse::<f32>().is_ok_and(|q| q <= 0.0))
        });
        named && !ruled_out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_found_by_its_path_and_nothing_else_is() {
        assert!(!all().is_empty(), "a build has a page");
        for asset in all() {
            assert_eq!(find(asset.path).map(|found| found.etag), Some(asset.etag));
            assert!(asset.integrity.starts_with("sha384-") && asset.integrity.len() == 7 + 64);
            for other in [
                format!("/{}", asset.path),
                format!("./{}", asset.path),
                format!("assets/../{}", asset.path),
                asset.path.to_uppercase() + "x",
                format!("{}.br", asset.path),
            ] {
                assert!(find(&other).is_none(), "{other}");
            }
        }
        assert!(find("").is_none() && find("..").is_none());
        assert!(find("index.html").is_some(), "links lead there");
    }

    #[test]
    fn the_encoding_is_the_best_that_is_taken() {
        let asset = Asset {
            path: "assets/a-1.js",
            bytes: b"plain",
            br: Some(b"br"),
            gz: Some(b"gz"),
            integrity: "",
            etag: "",
            etag_br: "",
            etag_gz: "",
            content_type: "",
        };
        let sent = |accepted| asset.encoded(accepted).1;
        assert_eq!(sent(None), b"plain");
        assert_eq!(sent(Some("gzip, deflate, br, zstd")), b"br");
        assert_eq!(sent(Some("GZIP;q=1.0")), b"gz");
        assert_eq!(sent(Some("br;q=0, gzip")), b"gz");
        assert_eq!(sent(Some("*")), b"plain");
        assert_eq!(sent(Some("brotli, x-gzip, ;;;q=,")), b"plain");
        assert!(asset.is_immutable());
    }

    #[test]
    fn what_a_client_has_is_not_sent_again() {
        static ASSET: Asset = Asset {
            path: "sw.js",
            bytes: b"plain",
            br: Some(b"br"),
            gz: None,
            integrity: "",
            etag: "\"ab\"",
            etag_br: "\"ab-br\"",
            etag_gz: "\"ab-gz\"",
            content_type: "text/javascript",
        };
        let sent = ASSET.reply(Some("br"), Some("\"cd\""));
        assert!(!sent.known && sent.body == b"br");
        let headers: Vec<_> = sent.headers().collect();
        assert!(headers.contains(&("content-encoding", "br")));
        assert!(headers.contains(&("cache-control", "no-cache")));
        assert!(headers.contains(&("etag", "\"ab-br\"")));
        for tags in ["\"ab-br\"", "W/\"ab-br\"", "\"cd\", W/\"ab-br\""] {
            let known = ASSET.reply(Some("br"), Some(tags));
            assert!(known.known && known.body.is_empty(), "{tags}");
            assert_eq!(known.headers().count(), 4, "{tags}");
        }
        // Other bytes than the ones that would be sent.
        assert!(!ASSET.reply(None, Some("\"ab-br\"")).known);
        assert!(ASSET.reply(None, Some("\"ab\"")).known);
    }
}
