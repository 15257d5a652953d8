//! Plain HTTP as a browser speaks it, from the network of a device.

use super::device::Device;
use super::namespace::Namespace;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

/// Time in which an answer must go on.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// Its status; 0 where the connection ended without one.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The bytes that came.
    pub body: Vec<u8>,
    /// All of it came, as its headers say.
    pub whole: bool,
}

impl HttpAnswer {
    /// A header of it, or nothing.
    pub fn header(&self, name: &str) -> &str {
        let mut headers = self.headers.iter();
        let found = headers.find(|(one, _)| one.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    /// Its body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&self.body)))
    }

    fn parse(bytes: &[u8]) -> Self {
        let nothing = Self {
            status: 0,
            headers: Vec::new(),
            body: Vec::new(),
            whole: false,
        };
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return nothing;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let header = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_owned(), value.to_owned()))
        };
        let mut answer = Self {
            status: status.unwrap_or_default(),
            headers: lines.filter_map(header).collect(),
            ..nothing
        };
        let rest = &bytes[end + 4..];
        if answer.header("transfer-encoding") == "chunked" {
            (answer.body, answer.whole) = unchunked(rest);
        } else {
            answer.whole = answer.header("content-length").parse() == Ok(rest.len());
            answer.body = rest.to_vec();
        }
        answer
    }
}

/// The body of a chunked answer (RFC 9112, 7.1), and whether its end came.
fn unchunked(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else {
            return (body, false);
        };
        let size = String::from_utf8_lossy(&rest[..end]).into_owned();
        let Ok(size) = usize::from_str_radix(&size, 16) else {
            return (body, false);
        };
        let from = end + 2;
        if size == 0 {
            return (body, true);
        }
        let Some(chunk) = rest.get(from..from + size) else {
            body.extend_from_slice(&rest[from..]);
            return (body, false);
        };
        body.extend_from_slice(chunk);
        rest = rest.get(from + size + 2..).unwrap_or_default();
    }
}

/// The host and the path of an address.
#[track_caller]
fn parts(url: &str) -> (SocketAddr, String) {
    let rest = url.strip_prefix("http://").expect("plain HTTP");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    (host.parse().expect("an address"), format!("/{path}"))
}

impl Device {
    /// Asks for something with these headers and this body, from this device's network.
    #[track_caller]
    pub fn http(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> HttpAnswer {
        let (host, path) = parts(url);
        let mut request = format!("{method} {path} HTTP/1.1\r\n");
        let mut given: Vec<(String, String)> = vec![("Connection".into(), "close".into())];
        if !headers.iter().any(|(name, _)| *name == "Host") {
            given.push(("Host".into(), host.to_string()));
        }
        if method == "POST" && !headers.iter().any(|(name, _)| *name == "Content-Length") {
            given.push(("Content-Length".into(), body.len().to_string()));
        }
        let more = headers.iter().map(|(a, b)| ((*a).into(), (*b).into()));
        for (name, value) in given.into_iter().chain(more) {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        let bytes = [request.as_bytes(), body].concat();
        self.says(host, bytes)
    }

    /// Asks without more to say than what is asked for.
    #[track_caller]
    pub fn http_get(&self, url: &str) -> HttpAnswer {
        self.http("GET", url, &[], b"")
    }

    /// Sends bytes as they are, and reads until the other side has ended.
    pub fn says(&self, to: SocketAddr, bytes: Vec<u8>) -> HttpAnswer {
        let network = self.network().handle();
        let thread = thread::spawn(move || {
            Namespace::enter(&network);
            let Ok(mut stream) = TcpStream::connect_timeout(&to, PATIENCE) else {
                return Vec::new();
            };
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            // It may be refused before all of it was said.
            let _ = stream.write_all(&bytes);
            let mut heard = Vec::new();
            let mut piece = [0; 64 << 10];
            while let Ok(length @ 1..) = stream.read(&mut piece) {
                heard.extend_from_slice(&piece[..length]);
            }
            heard
        });
        HttpAnswer::parse(&thread.join().unwrap())
    }
}
