//! A proxy as companies have it: the only way out, by HTTP CONNECT (RFC 9110, 9.3.6), to port 443,
//! for those with a password.

use super::device::Device;
use super::echo::{answers, inside};
use super::going::Going;
use super::holder::drive;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::io::{Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream as BlockingStream};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Its port, as proxies often have it.
const PORT: u16 = 3128;
/// The port to which it connects anybody.
const ALLOWED: u16 = 443;
/// Longest head of a request.
const HEAD: usize = 8 << 10;

/// The proxy. Ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    /// The address at which it listens.
    pub at: SocketAddrV4,
    login: &'static str,
    connected: Arc<Mutex<Vec<String>>>,
    _going: Going,
}

impl Proxy {
    /// Puts one in the place of a device; `login` is `user:password`. It listens when this returns.
    pub fn start(place: &Device, login: &'static str) -> Self {
        let at = SocketAddrV4::new(place.cable.address().parse().unwrap(), PORT);
        let connected = Arc::<Mutex<Vec<String>>>::default();
        let noted = Arc::clone(&connected);
        let (_going, ()) = Going::start(place, move |ready, stop| {
            drive(async move {
                let listener = TcpListener::bind(at).await.unwrap();
                ready.send(()).unwrap();
                let serving = serve(&listener, login, &noted);
                stop.run_until_cancelled(serving).await;
            });
        });
        Self {
            at,
            login,
            connected,
            _going,
        }
    }

    /// Its address with the login, as `HTTPS_PROXY` has it.
    pub fn url(&self) -> String {
        format!("http://{}@{}", self.login, self.at)
    }

    /// Every `host:port` to which it has connected somebody.
    pub fn connected(&self) -> Vec<String> {
        self.connected.lock().unwrap().clone()
    }

    /// Asks it from a device for a connection; gives the status of its answer. Where that is 200,
    /// what is there must send back what it gets.
    pub fn asked(&self, from: &Device, target: SocketAddr, login: Option<&str>) -> u16 {
        let login = login.map_or(String::new(), |login| {
            format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(login))
        });
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{login}\r\n");
        inside(from, || {
            let mut stream = BlockingStream::connect(self.at).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            let head = String::from_utf8(head).unwrap();
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            assert!(status != 200 || answers(stream), "nothing comes through");
            status
        })
    }
}

async fn serve(listener: &TcpListener, login: &str, connected: &Arc<Mutex<Vec<String>>>) {
    let wanted: Arc<str> = format!("Basic {}", STANDARD.encode(login)).into();
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (wanted, connected) = (Arc::clone(&wanted), Arc::clone(connected));
        // A connection that fails ends for both sides, and nobody else is concerned.
        connections.spawn(async move { pass_on(stream, &wanted, &connected).await.ok() });
    }
}

/// Serves one client.
async fn pass_on(
    mut client: TcpStream,
    wanted: &str,
    connected: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let head = read_head(&mut client).await?;
    let target = match judge(&head, wanted) {
        Ok(target) => target,
        Err(refusal) => {
            let answer = format!("HTTP/1.1 {refusal}\r\nContent-Length: 0\r\n\r\n");
            return client.write_all(answer.as_bytes()).await;
        }
    };
    let Ok(mut server) = TcpStream::connect(target).await else {
        return client
            .write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            .await;
    };
    connected.lock().unwrap().push(target.into());
    client
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// The head of a request. Nothing may follow it before it is answered.
async fn read_head(client: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD {
        head.push(client.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// The address that a request may be connected to, or the status that it gets.
fn judge<'a>(head: &'a str, wanted: &str) -> Result<&'a str, &'static str> {
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some("CONNECT"), Some(target), Some("HTTP/1.1")) =
        (words.next(), words.next(), words.next())
    else {
        return Err("405 Method Not Allowed\r\nAllow: CONNECT");
    };
    let shown = lines
        .filter_map(|line| line.split_once(": "))
        .any(|(name, value)| name.eq_ignore_ascii_case("proxy-authorization") && value == wanted);
    if !shown {
        return Err("407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"lab\"");
    }
    match target.rsplit_once(':') {
        Some((_, port)) if port.parse() == Ok(ALLOWED) => Ok(target),
        _ => Err("403 Forbidden"),
    }
}
