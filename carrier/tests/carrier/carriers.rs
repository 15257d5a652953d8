//! Both carriers do the same thing: streams between proven devices.

// The whole program is a test: it fails by panicking.

use crate::common::*;
use bytes::{Bytes, BytesMut};
use hither_carrier::{
    CarrierKind, Endpoint, EndpointConfig, FramingError, Identity, Incoming, LinkError,
    MessageReader, RelayReader, write_chunk_frame, write_message, write_put_chunk,
    write_relay_message,
};
use hither_proto::{Message, RelayMessage, RelayPurpose, Space};
use std::collections::HashSet;
use std::io::ErrorKind;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Answers each stream with what it says, until it ends.
fn echo(endpoint: &Arc<Endpoint>) {
    let endpoint = Arc::clone(endpoint);
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            let Incoming::Stream(mut stream) = incoming else {
                continue;
            };
            tokio::spawn(async move {
                tokio::io::copy(&mut stream.recv, &mut stream.send).await?;
                stream.send.finish().await?;
                stream.send.delivered().await
            });
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_mebibytes_come_back_unchanged() {
    const PIECE: usize = 1 << 20;
    let (a, b) = (endpoint(), endpoint());
    echo(&b);
    for carrier in BOTH {
        let link = connect(&a, &b, carrier).await.unwrap();
        assert_eq!(
            (link.device(), link.carrier(), link.remote()),
            (b.device(), carrier, address(&b, carrier))
        );
        assert!(link.rtt() < SOON && link.close_reason().is_none());
        let stream = link.open().await.unwrap();
        assert_eq!(
            (stream.device, stream.carrier, stream.opened_here),
            (b.device(), carrier, true)
        );
        let (mut send, mut recv) = (stream.send, stream.recv);
        let piece = |i: usize| {
            Bytes::from(
                (0..PIECE)
                    .map(|at| (at * 31 + i * 7) as u8)
                    .collect::<Vec<_>>(),
            )
        };
        let sender = tokio::spawn(async move {
            for i in 0..64 {
                send.send_bytes(piece(i)).await.unwrap();
            }
            send.finish().await.unwrap();
            send
        });
        let mut buffer = BytesMut::new();
        for i in 0..64 {
            buffer.clear();
            soon(recv.read_exact_into(&mut buffer, PIECE))
                .await
                .unwrap();
            assert!(buffer == piece(i), "{carrier} piece {i}");
        }
        assert_eq!(
            soon(recv.read(&mut [0; 1])).await.unwrap(),
            0,
            "then it ends"
        );
        drop(sender.await.unwrap());
        assert_eq!(link.stats().is_some(), carrier == CarrierKind::Quic);
    }
}

#[tokio::test]
async fn another_device_is_not_taken_for_the_expected_one() {
    let (a, b) = (endpoint(), endpoint());
    let expected = Identity::generate().unwrap().device_id();
    let wrong = Err(LinkError::WrongDevice { found: b.device() });
    let at = |carrier| [address(&b, carrier)];
    assert_eq!(
        a.dial(hither_carrier::Dial::quic(expected, &at(CarrierKind::Quic)))
            .await
            .map(drop),
        wrong
    );
    assert_eq!(
        a.dial(hither_carrier::Dial::tcp(expected, &at(CarrierKind::Tcp)))
            .await
            .map(drop),
        wrong
    );
    assert_eq!(
        a.dial(hither_carrier::Dial::quic(
            a.device(),
            &at(CarrierKind::Quic)
        ))
        .await
        .map(drop),
        Err(LinkError::Ourselves)
    );
    assert_eq!(
        a.dial(hither_carrier::Dial::quic(b.device(), &[]))
            .await
            .map(drop),
        Err(LinkError::NoAddress)
    );
}

#[tokio::test]
async fn both_ends_know_each_other_and_share_a_binding_of_their_own() {
    let (a, b) = (endpoint(), endpoint());
    let mut bindings = HashSet::new();
    for carrier in BOTH.into_iter().chain(BOTH) {
        let link = connect(&a, &b, carrier).await.unwrap();
        let (here, mut there) = joined(&link, &b).await;
        assert_eq!(there.recv.read_u8().await.unwrap(), b'x');
        assert_eq!(
            (there.device, there.carrier, there.opened_here),
            (a.device(), carrier, false)
        );
        assert_eq!(here.binding, there.binding);
        assert!(
            bindings.insert(here.binding),
            "another connection, another binding"
        );
        let (more, beside) = joined(&link, &b).await;
        assert_eq!(more.binding, beside.binding);
        assert!(
            bindings.insert(more.binding),
            "another stream of the same link, another binding"
        );
    }
}

#[tokio::test]
async fn a_stream_back_on_the_same_connection_has_another_binding() {
    let (a, b) = (endpoint(), endpoint());
    let link = connect(&a, &b, CarrierKind::Quic).await.unwrap();
    let Some(Incoming::Link(back)) = soon(b.accept()).await else {
        panic!("the link is announced first")
    };
    let mut there = link.open().await.unwrap();
    there.send.write_all(b"x").await.unwrap();
    let opened_there = next_stream(&b).await;
    let mut here = back.open().await.unwrap();
    here.send.write_all(b"x").await.unwrap();
    let opened_here = next_stream(&a).await;
    assert_eq!(
        (there.binding, here.binding),
        (opened_there.binding, opened_here.binding)
    );
    assert_ne!(there.binding, here.binding);
}

#[tokio::test]
async fn streams_go_both_ways_on_one_quic_connection() {
    let (a, b) = (endpoint(), endpoint());
    let _link = connect(&a, &b, CarrierKind::Quic).await.unwrap();
    let Some(Incoming::Link(back)) = soon(b.accept()).await else {
        panic!("the link is announced first")
    };
    assert_eq!(back.device(), a.device());
    let mut stream = back.open().await.unwrap();
    stream.send.write_all(b"hello").await.unwrap();
    let mut there = next_stream(&a).await;
    let mut text = [0; 5];
    there.recv.read_exact(&mut text).await.unwrap();
    assert_eq!((&text, there.device), (b"hello", b.device()));
}

#[tokio::test]
async fn what_is_cut_off_never_looks_complete() {
    let (a, b) = (endpoint(), endpoint());
    for carrier in BOTH {
        let link = connect(&a, &b, carrier).await.unwrap();
        for reset in [true, false] {
            let mut here = link.open().await.unwrap();
            here.send
                .send_bytes(Bytes::from_static(b"half of it"))
                .await
                .unwrap();
            let mut there = next_stream(&b).await;
            if reset {
                here.send.reset();
            }
            drop(here);
            let mut text = Vec::new();
            assert!(
                soon(there.recv.read_to_end(&mut text)).await.is_err(),
                "{carrier} {reset}"
            );
        }
        // Refusing to read is noticed by the writer.
        let (mut here, mut there) = joined(&link, &b).await;
        there.recv.stop();
        let endless = async {
            while here
                .send
                .send_bytes(Bytes::from_static(&[0; 65536]))
                .await
                .is_ok()
            {}
        };
        soon(endless).await;
    }
}

#[tokio::test]
async fn last_words_arrive_although_nobody_read_the_question_to_its_end() {
    let (a, b) = (endpoint(), endpoint());
    for carrier in BOTH {
        let link = connect(&a, &b, carrier).await.unwrap();
        for _ in 0..20 {
            let mut here = link.open().await.unwrap();
            here.send
                .send_bytes(Bytes::from_static(&[7; 100_000]))
                .await
                .unwrap();
            let mut there = next_stream(&b).await;
            there
                .send
                .send_bytes(Bytes::from_static(b"no"))
                .await
                .unwrap();
            there.send.finish().await.unwrap();
            drop(there);
            let mut text = Vec::new();
            soon(here.recv.read_to_end(&mut text)).await.unwrap();
            assert_eq!(text, b"no", "{carrier}");
        }
    }
}

#[tokio::test]
async fn messages_and_chunks_cross_both_carriers() {
    let (a, b) = (endpoint(), endpoint());
    for carrier in BOTH {
        let link = connect(&a, &b, carrier).await.unwrap();
        let mut here = link.open().await.unwrap();
        let payload = Bytes::from(vec![9; 300_000]);
        let header = Message::Chunk {
            request: 3,
            position: 4,
            length: payload.len() as u32,
        };
        let sent = payload.clone();
        let sender = tokio::spawn(async move {
            write_message(&mut here.send, &Message::Ping { nonce: 1 })
                .await
                .unwrap();
            write_chunk_frame(&mut here.send, &header, sent)
                .await
                .unwrap();
            write_message(&mut here.send, &Message::Pong { nonce: 2 })
                .await
                .unwrap();
            here.send.finish().await.unwrap();
            here
        });
        let mut there = next_stream(&b).await;
        let mut reader = MessageReader::new(1024);
        assert_eq!(
            reader.next(&mut there.recv).await.unwrap(),
            Some(Message::Ping { nonce: 1 })
        );
        assert!(matches!(
            reader.next(&mut there.recv).await.unwrap(),
            Some(Message::Chunk { .. })
        ));
        assert!(reader.payload(&mut there.recv).await.unwrap() == payload);
        assert_eq!(
            reader.next(&mut there.recv).await.unwrap(),
            Some(Message::Pong { nonce: 2 })
        );
        assert_eq!(reader.next(&mut there.recv).await.unwrap(), None);
        drop(sender.await.unwrap());
    }
}

#[tokio::test]
async fn a_stream_changes_to_the_relay_protocol_on_both_carriers() {
    let (a, b) = (endpoint(), endpoint());
    for carrier in BOTH {
        let link = connect(&a, &b, carrier).await.unwrap();
        let mut here = link.open().await.unwrap();
        let payload = Bytes::from(vec![9; 300_000]);
        let open = Message::RelayOpen {
            protocol: 1,
            purpose: Some(RelayPurpose::Upload),
        };
        let header = RelayMessage::PutChunk {
            space: Space::Data,
            position: 4,
            length: payload.len() as u32,
        };
        let (sent, said) = (payload.clone(), (open.clone(), header.clone()));
        let sender = tokio::spawn(async move {
            write_message(&mut here.send, &said.0).await.unwrap();
            write_put_chunk(&mut here.send, &said.1, sent)
                .await
                .unwrap();
            write_relay_message(&mut here.send, &RelayMessage::PutEnd)
                .await
                .unwrap();
            let answer = RelayReader::new(1024).next(&mut here.recv).await.unwrap();
            assert_eq!(answer, Some(RelayMessage::PutDone));
            here
        });
        let mut there = next_stream(&b).await;
        let mut reader = MessageReader::new(1024);
        assert_eq!(reader.next(&mut there.recv).await.unwrap(), Some(open));
        let mut reader = reader.into_relay(1024);
        assert_eq!(reader.next(&mut there.recv).await.unwrap(), Some(header));
        let mut taken = vec![0; payload.len()];
        let shorter = reader.payload_to(&mut there.recv, &mut taken[1..]).await;
        assert!(matches!(shorter, Err(FramingError::NoPayload)));
        reader
            .payload_to(&mut there.recv, &mut taken)
            .await
            .unwrap();
        assert!(taken == payload);
        assert_eq!(
            reader.next(&mut there.recv).await.unwrap(),
            Some(RelayMessage::PutEnd)
        );
        write_relay_message(&mut there.send, &RelayMessage::PutDone)
            .await
            .unwrap();
        drop(soon(sender).await.unwrap());
    }
}

#[tokio::test]
async fn closing_is_noticed_at_once_and_by_name() {
    let (a, b) = (endpoint(), endpoint());
    let link = connect(&a, &b, CarrierKind::Quic).await.unwrap();
    let Some(Incoming::Link(back)) = soon(b.accept()).await else {
        panic!()
    };
    link.close("enough\u{1b}[31m");
    assert_eq!(
        soon(back.closed()).await,
        LinkError::ClosedByPeer("enough\u{fffd}[31m".into())
    );
    assert_eq!(link.close_reason(), Some(LinkError::Closed));
    assert_eq!(link.open().await.map(drop), Err(LinkError::Closed));

    let (quic, tcp) = (
        connect(&a, &b, CarrierKind::Quic).await.unwrap(),
        connect(&a, &b, CarrierKind::Tcp).await.unwrap(),
    );
    let accepting = tokio::spawn({
        let b = Arc::clone(&b);
        async move { while b.accept().await.is_some() {} }
    });
    soon(b.close()).await;
    soon(accepting).await.unwrap();
    assert!(b.accept().await.is_none());
    assert!(matches!(
        soon(quic.closed()).await,
        LinkError::ClosedByPeer(_)
    ));
    // The first stream is the connection that was made before; the next one finds nobody.
    let _ = tcp.open().await;
    assert!(matches!(tcp.open().await, Err(LinkError::Unreachable(_))));
    assert!(matches!(
        soon(tcp.closed()).await,
        LinkError::Unreachable(_)
    ));
    assert_eq!(
        b.dial(hither_carrier::Dial::tcp(
            a.device(),
            &[address(&a, CarrierKind::Tcp)]
        ))
        .await
        .map(drop),
        Err(LinkError::Closed)
    );
    soon(a.close()).await;
}

#[tokio::test]
async fn a_dead_first_address_does_not_matter() {
    let (a, b) = (endpoint(), endpoint());
    // A UDP socket that never answers, and a TCP port where nobody listens.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let refusing = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for (carrier, dead) in [
        (CarrierKind::Quic, silent.local_addr().unwrap()),
        (CarrierKind::Tcp, refusing),
    ] {
        let good = address(&b, carrier);
        let link = connect_at(&a, &b, carrier, &[dead, "[::1]:1".parse().unwrap(), good])
            .await
            .unwrap();
        assert_eq!(link.remote(), good);
    }
}

#[tokio::test]
async fn ports_are_shared_when_free_and_given_up_when_not() {
    let identity = Identity::generate().unwrap();
    let bind = |config: EndpointConfig| {
        Endpoint::bind(
            &identity,
            &EndpointConfig {
                loopback_only: true,
                ..config
            },
        )
    };
    let first = bind(EndpointConfig::default()).unwrap();
    assert_eq!(
        first.tcp_port(),
        Some(first.port()),
        "one number for both, normally"
    );
    let second = bind(EndpointConfig {
        port: first.port(),
        ..Default::default()
    })
    .unwrap();
    assert_ne!(second.port(), first.port());
    assert_ne!(second.tcp_port(), first.tcp_port());
    let tcp_only = bind(EndpointConfig {
        quic: false,
        ..Default::default()
    })
    .unwrap();
    assert_eq!(Some(tcp_only.port()), tcp_only.tcp_port());
    let (device, nowhere) = (first.device(), [loopback(1)]);
    let other = endpoint();
    assert_eq!(
        tcp_only
            .dial(hither_carrier::Dial::quic(other.device(), &nowhere))
            .await
            .map(drop),
        Err(LinkError::NoCarrier)
    );
    let quic_only = bind(EndpointConfig {
        tcp: false,
        ..Default::default()
    })
    .unwrap();
    assert_eq!(quic_only.tcp_port(), None);
    assert!(
        bind(EndpointConfig {
            quic: false,
            tcp: false,
            ..Default::default()
        })
        .is_err()
    );
    assert_eq!(device, identity.device_id());
}

#[tokio::test]
async fn an_end_before_the_expected_length_is_an_error() {
    let (a, b) = (endpoint(), endpoint());
    for carrier in BOTH {
        let link = connect(&a, &b, carrier).await.unwrap();
        let mut here = link.open().await.unwrap();
        here.send
            .send_bytes(Bytes::from_static(b"123"))
            .await
            .unwrap();
        here.send.finish().await.unwrap();
        let mut there = next_stream(&b).await;
        let mut buffer = BytesMut::new();
        let error = there
            .recv
            .read_exact_into(&mut buffer, 4)
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), &buffer[..]),
            (ErrorKind::UnexpectedEof, &b"123"[..])
        );
    }
}
