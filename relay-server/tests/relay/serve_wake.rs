//! Devices that are not connected are woken when something waits for them (W7, C2): by web push, by
//! mail and by a webhook, from servers in this process that speak TLS.

use crate::storing_common::{Device, Relay, World, soon};
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hither_proto::{
    DeviceId, MessageId, OwnAnswer, OwnRequest, RelayMessage, RelayRefusalCode, WakeChannel,
    WakeKind, WakeWays,
};
use hither_relay::config::{MailWake, Rate, WakeConfig};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// A point on P-256: the example of RFC 8291.
const KEY: &str =
    "BCVxsr7N/eNgVRqvHtD0zTZsEc6+VV+JvLexhqUzORcxaOzi6+AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4=";

/// A certificate for `localhost`, and the file with it.
struct Tls {
    acceptor: TlsAcceptor,
    roots: PathBuf,
    _dir: tempfile::TempDir,
}

impl Tls {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let der = made.cert.der().clone();
        let dir = tempfile::tempdir().unwrap();
        let roots = dir.path().join("roots.pem");
        let lines = STANDARD.encode(&der);
        let lines: Vec<_> = lines.as_bytes().chunks(64).collect();
        let body = String::from_utf8(lines.join(&b'\n')).unwrap();
        let pem = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        std::fs::write(&roots, pem).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![der], key)
            .unwrap();
        Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            roots,
            _dir: dir,
        }
    }
}

/// The requests that a server got.
type Heard = (String, HeaderMap, Bytes);

/// A server that is posted to.
struct Server {
    port: u16,
    status: Arc<AtomicU16>,
    heard: mpsc::UnboundedReceiver<Heard>,
}

impl Server {
    async fn start(tls: &Tls) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, heard) = mpsc::unbounded_channel();
        let status = Arc::new(AtomicU16::new(201));
        let router = axum::Router::new()
            .fallback(any(hear))
            .with_state((tell, Arc::clone(&status)));
        let acceptor = tls.acceptor.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, router) = (acceptor.clone(), router.clone());
                tokio::spawn(async move {
                    let Ok(io) = acceptor.accept(socket).await else {
                        return;
                    };
                    let service = TowerToHyperService::new(router);
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(io), service)
                        .await;
                });
            }
        });
        Self {
            port,
            status,
            heard,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}/{path}", self.port)
    }

    async fn next(&mut self) -> Heard {
        soon(self.heard.recv()).await.unwrap()
    }
}

async fn hear(
    State((tell, status)): State<(mpsc::UnboundedSender<Heard>, Arc<AtomicU16>)>,
    request: Request,
) -> (StatusCode, [(&'static str, &'static str); 1]) {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let _ = tell.send((parts.uri.path().to_owned(), parts.headers, body));
    let status = StatusCode::from_u16(status.load(Ordering::SeqCst)).unwrap();
    (status, [("location", "/elsewhere")])
}

async fn world(tls: &Tls, change: impl FnOnce(&mut WakeConfig)) -> World {
    World::with(|settings| {
        let wake = &mut settings.config.wake;
        wake.private = true;
        wake.webhooks = true;
        wake.hosts = vec!["localhost".into()];
        wake.roots = Some(tls.roots.clone());
        wake.contact = Some("mailto:operator@example.org".into());
        change(wake);
        settings.config.limits.wake_user = Rate {
            per_second: 100.0,
            burst: 100.0,
        };
    })
    .await
}

async fn ask(talk: &mut Relay, what: OwnRequest) -> Result<OwnAnswer, RelayRefusalCode> {
    talk.say(&RelayMessage::Own { request: 5, what }).await;
    talk.find(|message| match message {
        RelayMessage::OwnAnswered { request: 5, answer } => Some(Ok(answer)),
        RelayMessage::Failed {
            request: 5,
            refusal,
        } => Some(Err(refusal.code)),
        _ => None,
    })
    .await
}

async fn ways(talk: &mut Relay) -> WakeWays {
    match ask(talk, OwnRequest::AskWake).await.unwrap() {
        OwnAnswer::WakeWays(ways) => ways,
        other => panic!("{other:?}"),
    }
}

fn push(endpoint: String) -> WakeChannel {
    WakeChannel::WebPush {
        endpoint,
        key: STANDARD.decode(KEY).unwrap().try_into().unwrap(),
        auth: [9; 16],
    }
}

async fn send(talk: &mut Relay, to: DeviceId, id: u8) {
    talk.say(&RelayMessage::Send {
        request: 6,
        to,
        id: MessageId::new([id; 16]),
        sealed: Bytes::from_static(b"a secret"),
        keep_s: 0,
    })
    .await;
    talk.find(|message| matches!(message, RelayMessage::Sent { request: 6, .. }).then_some(()))
        .await;
}

/// Waits until a device is connected no more.
async fn left(world: &World, connections: usize) {
    soon(async {
        while world.node.connections() > connections {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A user's device that sends, and one that has set how it is woken and has gone.
async fn away(world: &World, channel: WakeChannel) -> (Device, Relay, Device) {
    let user = world.user().await;
    let (desk, phone) = (world.device(&user).await, world.device(&user).await);
    let mut talk = phone.talk(world).await;
    let set = OwnRequest::Wake(Some(channel));
    assert_eq!(ask(&mut talk, set).await, Ok(OwnAnswer::WakeKept));
    drop(talk);
    let sends = desk.talk(world).await;
    left(world, 1).await;
    (desk, sends, phone)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w7_a_page_that_is_closed_is_woken_once_until_it_was_there_again() {
    let tls = Tls::new();
    let mut service = Server::start(&tls).await;
    let world = world(&tls, |_| {}).await;
    let (_desk, mut sends, phone) = away(&world, push(service.url("send/1"))).await;
    send(&mut sends, phone.id(), 1).await;
    let (path, headers, body) = service.next().await;
    assert_eq!(path, "/send/1");
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    assert_eq!(
        [
            header("ttl"),
            header("urgency"),
            header("topic"),
            header("content-encoding")
        ],
        ["86400", "normal", "hither", "aes128gcm"]
    );
    assert!(header("authorization").starts_with("vapid t=ey"));
    // The header of RFC 8188, two bytes and their mark, and the tag: nothing of the letter.
    assert_eq!(body.len(), 16 + 4 + 1 + 65 + 2 + 1 + 16);
    send(&mut sends, phone.id(), 2).await;
    // It comes, and goes again: then it is woken again, by the third letter and not by the second.
    let mut talk = phone.talk(&world).await;
    let ways = ways(&mut talk).await;
    assert_eq!(ways.set, Some(WakeKind::WebPush));
    assert!(!ways.mail && ways.webhook);
    let shown = STANDARD.encode(ways.push_key.unwrap());
    let said = header("authorization").replace('-', "+").replace('_', "/");
    assert!(
        said.contains(shown.trim_end_matches('=')),
        "the key that browsers are given"
    );
    drop(talk);
    left(&world, 1).await;
    send(&mut sends, phone.id(), 3).await;
    service.next().await;
    assert!(
        service.heard.try_recv().is_err(),
        "the second letter woke nobody"
    );
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w7_a_subscription_that_is_no_more_is_forgotten_and_a_redirect_is_not_followed() {
    let tls = Tls::new();
    let mut service = Server::start(&tls).await;
    let world = world(&tls, |_| {}).await;
    let (_desk, mut sends, phone) = away(&world, push(service.url("send/1"))).await;
    service.status.store(307, Ordering::SeqCst);
    send(&mut sends, phone.id(), 1).await;
    assert_eq!(service.next().await.0, "/send/1");
    // A failed attempt is repeated with the next letter.
    service.status.store(410, Ordering::SeqCst);
    let key: String = phone
        .id()
        .as_bytes()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let set = async || world.node.state.get("wake", &key).await.unwrap();
    soon(async {
        let mut id = 1;
        while set().await.is_some() {
            id += 1;
            send(&mut sends, phone.id(), id).await;
        }
    })
    .await;
    while let Ok((path, ..)) = service.heard.try_recv() {
        assert_eq!(path, "/send/1");
    }
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c2_a_webhook_hears_that_something_waits_and_nothing_else() {
    let tls = Tls::new();
    let mut service = Server::start(&tls).await;
    let world = world(&tls, |_| {}).await;
    let (_desk, mut sends, phone) = away(&world, WakeChannel::Webhook(service.url("hook"))).await;
    send(&mut sends, phone.id(), 1).await;
    let (path, headers, body) = service.next().await;
    assert_eq!(path, "/hook");
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(body, "{\"v\":1,\"hither\":\"something waits\"}");
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w7_ways_that_a_relay_does_not_have_or_take_are_refused() {
    let tls = Tls::new();
    let world = world(&tls, |wake| {
        (wake.webhooks, wake.private) = (false, false);
    })
    .await;
    let device = world.somebody().await;
    let mut talk = device.talk(&world).await;
    let mail = WakeChannel::Mail("a@example.org".into());
    let hook = WakeChannel::Webhook("https://localhost/".into());
    let bad_point = WakeChannel::WebPush {
        endpoint: "https://localhost/".into(),
        key: [4; 65],
        auth: [9; 16],
    };
    for (channel, code) in [
        (mail, RelayRefusalCode::Role),
        (hook, RelayRefusalCode::Role),
        (
            push("https://evil.example/x".into()),
            RelayRefusalCode::Invalid,
        ),
        (
            push("https://localhost:8443/x".into()),
            RelayRefusalCode::Invalid,
        ),
        (bad_point, RelayRefusalCode::Invalid),
    ] {
        let asked = ask(&mut talk, OwnRequest::Wake(Some(channel))).await;
        assert_eq!(asked, Err(code));
    }
    let listed = OwnRequest::Wake(Some(push("https://localhost/x".into())));
    assert_eq!(ask(&mut talk, listed).await, Ok(OwnAnswer::WakeKept));
    assert_eq!(
        ask(&mut talk, OwnRequest::Wake(None)).await,
        Ok(OwnAnswer::WakeKept)
    );
    assert_eq!(ways(&mut talk).await.set, None);
    world.node.stop().await;
}

/// A server for mail that takes one letter and gives what it was told.
async fn mail_server(tls: &Tls) -> (u16, mpsc::UnboundedReceiver<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, heard) = mpsc::unbounded_channel();
    let acceptor = tls.acceptor.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(io) = acceptor.accept(socket).await else {
                continue;
            };
            let (read, mut write) = tokio::io::split(io);
            let (mut lines, mut said, mut letter) = (BufReader::new(read).lines(), vec![], false);
            let _ = write.write_all(b"220 localhost\r\n").await;
            while let Ok(Some(line)) = lines.next_line().await {
                let answer: &[u8] = match (letter, line.as_str()) {
                    (true, ".") => {
                        letter = false;
                        b"250 taken\r\n"
                    }
                    (true, _) => b"",
                    (false, "DATA") => {
                        letter = true;
                        b"354 go on\r\n"
                    }
                    (false, "QUIT") => b"221 bye\r\n",
                    (false, line) if line.starts_with("EHLO") => {
                        b"250-localhost\r\n250 AUTH PLAIN\r\n"
                    }
                    (false, line) if line.starts_with("AUTH") => b"235 welcome\r\n",
                    (false, _) => b"250 ok\r\n",
                };
                let taken = answer == b"250 taken\r\n";
                said.push(line);
                let _ = write.write_all(answer).await;
                let _ = write.flush().await;
                if taken {
                    let _ = tell.send(std::mem::take(&mut said));
                }
            }
        }
    });
    (port, heard)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w7_mail_is_sent_by_the_operators_server_and_says_nothing_of_what_waits() {
    let tls = Tls::new();
    let (port, mut heard) = mail_server(&tls).await;
    let password = tls.roots.with_file_name("password");
    std::fs::write(&password, "secret\n").unwrap();
    let world = world(&tls, |wake| {
        wake.mail = Some(MailWake {
            server: format!("localhost:{port}"),
            from: "Relay <relay@example.org>".into(),
            user: Some("relay".into()),
            password_file: Some(password),
            tls: Some(true),
        });
    })
    .await;
    let (_desk, mut sends, phone) = away(&world, WakeChannel::Mail("a@example.org".into())).await;
    send(&mut sends, phone.id(), 1).await;
    let said = soon(heard.recv()).await.unwrap().join("\n");
    assert!(said.contains("RCPT TO:<a@example.org>") && said.contains("Something waits"));
    assert!(said.contains(&format!(
        "AUTH PLAIN {}",
        STANDARD.encode("\0relay\0secret")
    )));
    for secret in [phone.id().to_string(), "a secret".into()] {
        assert!(!said.contains(&secret), "{said}");
    }
    world.node.stop().await;
}
