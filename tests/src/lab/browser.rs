//! A browser, as far as a relay sees one: HTTP/1.1 with or without TLS, and a WebSocket of its own
//! making, in which Hither's TLS runs as in a page.
//!
//! It is written from RFC 6455 and SPEC.md and shares nothing with what the relay uses: messages are
//! cut where they like, in fragments and in frames of one byte.

use super::device::Device;
use super::holder::drive;
use super::namespace::Namespace;
use hither_carrier::{
    Endpoint, EndpointConfig, Identity, MessageReader, PipeIo, Stream, write_message,
};
use hither_proto::limits::{MAX_FRAME, PROTOCOL};
use hither_proto::{
    ChunkToken, DeviceId, Message, Proof, ProofKey, ProofKind, Purpose, Ranges, Refusal, Side,
    SignedHead, Space, Ticket, Want,
};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex, split};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// RFC 6455, section 1.3: a key, and what a server answers to it.
const KEY: (&str, &str) = ("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// Opcodes (RFC 6455, section 5.2).
const CONTINUATION: u8 = 0;
/// A text message.
pub const TEXT: u8 = 1;
/// A binary message.
pub const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// Bytes of masking: any will do.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// An answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status; 0: the connection ended without one.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// The bytes behind them.
    pub body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: Vec<u8>) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.map_or(bytes.len(), |at| at + 4);
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
        Self {
            status: status.unwrap_or(0),
            head,
            body: bytes[end..].to_vec(),
        }
    }

    /// A header of it.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// The part of a share that was read over a pipe.
#[derive(Debug, Clone)]
pub struct Read {
    /// The head that its owner signed.
    pub head: SignedHead,
    /// Ciphertexts of root, manifest and data, each in the order of its positions.
    pub root: Vec<Vec<u8>>,
    /// Chunks of the manifest.
    pub manifest: Vec<Vec<u8>>,
    /// Chunks of the files.
    pub data: Vec<Vec<u8>>,
    /// The token for reading by GET, and for how long it is good, milliseconds.
    pub token: Option<(String, u32)>,
}

/// A browser at the place of a device.
#[derive(Debug)]
pub struct Browser {
    network: File,
    at: SocketAddr,
    host: String,
    trusts: Option<CertificateDer<'static>>,
    headers: String,
}

impl Browser {
    /// A browser at a device, that connects to `at` and calls it `host`.
    pub fn new(place: &Device, at: SocketAddr, host: &str) -> Self {
        Self {
            network: place.network().handle(),
            at,
            host: host.into(),
            trusts: None,
            headers: String::new(),
        }
    }

    /// A browser that speaks TLS, with a server that must show this certificate.
    pub fn trusting(mut self, certificate: &[u8]) -> Self {
        self.trusts = Some(CertificateDer::from(certificate.to_vec()));
        self
    }

    /// A browser with one more header in every request.
    pub fn with_header(mut self, header: &str) -> Self {
        self.headers += &format!("{header}\r\n");
        self
    }

    fn there<T: Send>(&self, work: impl AsyncFnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let working = scope.spawn(|| {
                Namespace::enter(&self.network);
                drive(async { timeout(PATIENCE, work()).await.expect("it ends in time") })
            });
            working.join().unwrap()
        })
    }

    async fn connect(&self) -> std::io::Result<Box<dyn PipeIo>> {
        let socket = TcpStream::connect(self.at).await?;
        let Some(trusted) = &self.trusts else {
            return Ok(Box::new(socket));
        };
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Browsers offer both.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = self.host.split(':').next().unwrap().to_owned();
        let name = ServerName::try_from(name).unwrap();
        let tls = TlsConnector::from(Arc::new(config));
        Ok(Box::new(tls.connect(name, socket).await?))
    }

    /// True when a connection comes about at all, with this certificate.
    pub fn connects(&self) -> bool {
        self.there(async || self.connect().await.is_ok())
    }

    /// Sends bytes as they are, and reads until the connection ends.
    pub fn raw(&self, sent: &[u8]) -> Answer {
        self.there(async || {
            let mut io = self.connect().await.unwrap();
            // A server that has heard enough may hang up in the middle.
            let _ = io.write_all(sent).await;
            let _ = io.flush().await;
            let mut bytes = Vec::new();
            let _ = io.read_to_end(&mut bytes).await;
            Answer::parse(bytes)
        })
    }

    /// One request, on a connection of its own.
    pub fn ask(&self, method: &str, path: &str, more: &str) -> Answer {
        let (host, headers) = (&self.host, &self.headers);
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}{more}\r\n"
        );
        self.raw(request.as_bytes())
    }

    /// `GET`.
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "")
    }

    /// A `GET` of which only so many bytes are read before the browser goes.
    pub fn begins(&self, path: &str, bytes: usize) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        self.there(async || {
            let mut io = self.connect().await.unwrap();
            io.write_all(request.as_bytes()).await.unwrap();
            io.read_exact(&mut vec![0; bytes]).await.unwrap();
        });
    }

    /// Sends the beginning of a request and then a byte now and then; how long that is borne.
    pub fn dawdles(&self) -> Duration {
        self.there(async || {
            let mut io = self.connect().await.unwrap();
            let begun = std::time::Instant::now();
            io.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
                .await
                .unwrap();
            let (mut read, mut write) = split(io);
            let sending = async {
                loop {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    if write.write_all(b"a").await.is_err() || write.flush().await.is_err() {
                        return std::future::pending().await;
                    }
                }
            };
            let ended = async {
                let mut waste = Vec::new();
                let _ = read.read_to_end(&mut waste).await;
            };
            tokio::select! {
                () = ended => {}
                () = sending => {}
            }
            begun.elapsed()
        })
    }

    // --- WebSockets ---

    async fn socket(&self, more: &str) -> Result<Box<dyn PipeIo>, Answer> {
        let mut io = self.connect().await.unwrap();
        let (host, headers, (key, accepted)) = (&self.host, &self.headers, KEY);
        let request = format!(
            "GET /hither/1/pipe HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{headers}{more}\r\n"
        );
        io.write_all(request.as_bytes()).await.unwrap();
        io.flush().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match io.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => break,
            }
        }
        let answer = Answer::parse(head);
        if answer.status != 101 {
            return Err(answer);
        }
        assert_eq!(answer.header("sec-websocket-accept"), Some(accepted));
        assert_eq!(answer.header("sec-websocket-protocol"), Some("hither.v1"));
        Ok(io)
    }

    /// Opens a WebSocket with these further headers; `Err`: the answer instead.
    pub fn upgrades(&self, more: &str) -> Result<(), Answer> {
        self.there(async || self.socket(more).await.map(drop))
    }

    /// Sends one message on a WebSocket, and returns the code that it is closed with.
    pub fn closes(&self, opcode: u8, payload: &[u8]) -> Option<u16> {
        self.there(async || {
            let io = self.socket(PROTOCOLS).await.unwrap();
            let (mut read, mut write) = split(io);
            // The relay may close before it has taken all of it.
            let _ = frame(&mut write, true, opcode, payload).await;
            loop {
                match message(&mut read).await {
                    Some((CLOSE, payload)) => return code(&payload),
                    Some(_) => {}
                    None => return None,
                }
            }
        })
    }

    /// Reads all of a share that a relay stores, and asks for a token, over one pipe; also the code
    /// that the pipe is closed with.
    pub fn reads(&self, relay: &str, ticket: &Ticket) -> (Result<Read, Refusal>, Option<u16>) {
        let relay: DeviceId = relay.parse().unwrap();
        self.there(async || {
            let io = self.socket(PROTOCOLS).await.unwrap();
            let (near, far) = duplex(64 * 1024);
            let pumped = tokio::spawn(pump(io, far));
            let identity = Identity::generate().unwrap();
            let endpoint = Endpoint::bind(&identity, &EndpointConfig::default()).unwrap();
            let stream = endpoint
                .dial_pipe(relay, self.at, Box::new(near))
                .await
                .unwrap();
            let read = read(stream, ticket).await;
            endpoint.close().await;
            (read, pumped.await.unwrap())
        })
    }
}

/// The header that a page's WebSocket has.
const PROTOCOLS: &str =
    "Sec-WebSocket-Protocol: other, hither.v1\r\nOrigin: https://elsewhere.example\r\n";

fn code(payload: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(payload.get(..2)?.try_into().ok()?))
}

/// Writes a frame, masked as a client's.
async fn frame(
    io: &mut (impl AsyncWrite + Unpin),
    last: bool,
    opcode: u8,
    payload: &[u8],
) -> std::io::Result<()> {
    let mut bytes = vec![opcode | if last { 0x80 } else { 0 }];
    match payload.len() {
        short @ ..=125 => bytes.push(0x80 | short as u8),
        middle @ ..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((middle as u16).to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(a, b)| a ^ b));
    io.write_all(&bytes).await?;
    io.flush().await
}

/// Reads a frame; `None`: the connection has ended.
async fn message(io: &mut (impl AsyncRead + Unpin)) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    io.read_exact(&mut head).await.ok()?;
    assert_eq!(head[1] & 0x80, 0, "a server masks nothing");
    assert_eq!(head[0] & 0x70, 0, "no extension was agreed on");
    let length = match head[1] {
        126 => u64::from(io.read_u16().await.ok()?),
        127 => io.read_u64().await.ok()?,
        short => u64::from(short),
    };
    assert!(length <= 64 * 1024, "a message of {length} bytes");
    let mut payload = vec![0; length as usize];
    io.read_exact(&mut payload).await.ok()?;
    Some((head[0] & 0x0f, payload))
}

/// Passes bytes between a WebSocket and whoever has the other end; returns the code of the close.
async fn pump(io: Box<dyn PipeIo>, far: tokio::io::DuplexStream) -> Option<u16> {
    let (mut read, write) = split(io);
    let (mut from, mut to) = split(far);
    let write = Arc::new(tokio::sync::Mutex::new(write));
    let answering = Arc::clone(&write);
    let sending = async {
        // Messages are cut where no boundary of anything is.
        let mut sizes = [1usize, 7, 125, 126, 4096, 65_535, 65_536]
            .into_iter()
            .cycle();
        loop {
            let mut bytes = vec![0; sizes.next().unwrap_or(1)];
            let Ok(count @ 1..) = from.read(&mut bytes).await else {
                break;
            };
            let bytes = &bytes[..count];
            let mut write = write.lock().await;
            let sent = match count {
                // A long message goes in two fragments, with a ping between them.
                1000.. => {
                    let (one, two) = bytes.split_at(count / 3);
                    frame(&mut *write, false, BINARY, one).await.unwrap();
                    frame(&mut *write, true, PING, b"there?").await.unwrap();
                    frame(&mut *write, true, CONTINUATION, two).await
                }
                _ => frame(&mut *write, true, BINARY, bytes).await,
            };
            if sent.is_err() {
                break;
            }
        }
        // The end has gone: TLS has said so, and now the WebSocket does.
        let mut write = write.lock().await;
        let _ = frame(&mut *write, true, CLOSE, &1000u16.to_be_bytes()).await;
        std::future::pending::<()>().await;
    };
    let hearing = async {
        loop {
            match message(&mut read).await {
                Some((BINARY, bytes)) => drop(to.write_all(&bytes).await),
                Some((PING, bytes)) => {
                    let mut write = answering.lock().await;
                    let _ = frame(&mut *write, true, PONG, &bytes).await;
                }
                Some((PONG, _)) => {}
                Some((CLOSE, payload)) => return code(&payload),
                Some((other, _)) => panic!("an unexpected frame: {other}"),
                None => return None,
            }
        }
    };
    tokio::select! {
        () = sending => None,
        code = hearing => code,
    }
}

/// Opens a share at a store, and reads all of it.
async fn read(stream: Stream, ticket: &Ticket) -> Result<Read, Refusal> {
    let Stream {
        mut send,
        mut recv,
        binding,
        ..
    } = stream;
    let key = ProofKey::of_read_key(&ticket.secret.read_key());
    let (share, purpose) = (ticket.share(), Purpose::Bulk);
    let open = Message::Open {
        protocol: PROTOCOL,
        share,
        proof: Proof::make(&key, &binding, Side::Opener, purpose),
        proof_kind: ProofKind::ReadKey,
        owner: Some(ticket.owner),
        purpose: Some(purpose),
    };
    write_message(&mut send, &open).await.unwrap();
    let mut reader = MessageReader::new(MAX_FRAME);
    let opened = match reader.next(&mut recv).await.unwrap() {
        Some(Message::Opened(opened)) => opened,
        Some(Message::Refused(refusal)) => return Err(refusal),
        other => panic!("{other:?}"),
    };
    assert!(opened.proof.verify(&key, &binding, Side::Acceptor, purpose));
    let signed = SignedHead::open(&opened.head, share, ticket.owner).unwrap();
    let head = signed.head().clone();
    write_message(&mut send, &Message::ChunkTokenRequest)
        .await
        .unwrap();
    let token = match reader.next(&mut recv).await.unwrap() {
        Some(Message::ChunkToken { token, lives_ms }) => {
            token.map(|token: ChunkToken| (token.to_hex(), lives_ms))
        }
        other => panic!("{other:?}"),
    };
    let mut spaces = Vec::new();
    let counts = [
        (Space::Root, 1),
        (Space::Manifest, head.manifest_chunks),
        (Space::Data, head.chunks),
    ];
    for (request, (space, count)) in counts.into_iter().enumerate() {
        let ranges: Ranges = hither_proto::PositionRange::new(0, count)
            .into_iter()
            .collect();
        let want = Want {
            request: request as u64,
            space,
            version: head.version,
            ranges,
        };
        write_message(&mut send, &Message::Want(want))
            .await
            .unwrap();
        let mut chunks = Vec::new();
        loop {
            match reader.next(&mut recv).await.unwrap() {
                Some(Message::Chunk { position, .. }) => {
                    assert_eq!(position as usize, chunks.len());
                    chunks.push(reader.payload(&mut recv).await.unwrap().to_vec());
                }
                Some(Message::Served { .. }) => break,
                other => panic!("a want is answered with {other:?}"),
            }
        }
        spaces.push(chunks);
    }
    let _ = send.finish().await;
    let mut spaces = spaces.into_iter();
    let mut next = || spaces.next().unwrap_or_default();
    Ok(Read {
        head: signed,
        root: next(),
        manifest: next(),
        data: next(),
        token,
    })
}
