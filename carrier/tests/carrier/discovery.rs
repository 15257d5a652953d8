//! Devices find each other by multicast DNS on the loopback interface.

use crate::common::soon;
use hither_carrier::{Discovery, DiscoveryEvent, DiscoveryOptions, Identity, InterfaceFilter};

/// A port of their own, so that these tests meet nobody else's service.
fn options(mdns_port: u16) -> DiscoveryOptions {
    let interfaces = InterfaceFilter {
        loopback_only: true,
        ..Default::default()
    };
    DiscoveryOptions {
        interfaces,
        mdns_port,
        ..Default::default()
    }
}

#[tokio::test]
async fn devices_appear_once_and_say_goodbye() {
    let [a, b] = [(); 2].map(|()| Identity::generate().unwrap().device_id());
    let (first, mut seen_by_a) = Discovery::start(a, 4001, Some(4002), options(15_353)).unwrap();
    let (second, mut seen_by_b) = Discovery::start(b, 4003, None, options(15_353)).unwrap();
    let found = soon(seen_by_b.recv()).await.unwrap();
    let addresses = vec!["127.0.0.1:4001".parse().unwrap()];
    assert_eq!(
        found,
        DiscoveryEvent::Seen {
            device: a,
            addresses,
            tcp_port: Some(4002),
            nameplates: Vec::new(),
        }
    );
    let found = soon(seen_by_a.recv()).await.unwrap();
    let addresses = vec!["127.0.0.1:4003".parse().unwrap()];
    assert_eq!(
        found,
        DiscoveryEvent::Seen {
            device: b,
            addresses: addresses.clone(),
            tcp_port: None,
            nameplates: Vec::new(),
        }
    );
    // It shows a code.
    let nameplates = vec![hither_proto::Word::of_bits(7)];
    second.nameplates().set(nameplates.clone());
    assert_eq!(
        soon(seen_by_a.recv()).await.unwrap(),
        DiscoveryEvent::Seen {
            device: b,
            addresses,
            tcp_port: None,
            nameplates,
        }
    );
    // It asks to be connected to, and does not any more.
    second.call().set(true);
    assert_eq!(
        soon(seen_by_a.recv()).await.unwrap(),
        DiscoveryEvent::Calls { device: b }
    );
    second.call().set(false);
    soon(second.shutdown()).await;
    let mut last = soon(seen_by_a.recv()).await.unwrap();
    while last == (DiscoveryEvent::Calls { device: b }) {
        last = soon(seen_by_a.recv()).await.unwrap();
    }
    assert_eq!(last, DiscoveryEvent::Gone { device: b });
    assert_eq!(soon(seen_by_b.recv()).await, None, "the search ended");
    soon(first.shutdown()).await;
    assert_eq!(soon(seen_by_a.recv()).await, None);
}
