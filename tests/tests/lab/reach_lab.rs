//! The routers of the lab are what they say: everything that is said about reaching devices rests
//! on it.

use hither_tests::lab::{
    self, DependsOn, Device, Echo, Internet, Lan, Mapping, Nat, NatBehaviour, OuterPorts, Protocol,
    Proxy, Puncher, StunServer,
};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

/// The ports of the servers that are tried: that of relays, and that of the web.
const PORTS: &[u16] = &[4817, 443];

fn public(lan: &Lan<'_>) -> Ipv4Addr {
    lan.router.address.parse().unwrap()
}

/// A server beside the relays: how it is reached at each of [`PORTS`].
fn server(internet: &Internet<'_>) -> (Device, Echo, [SocketAddr; 2]) {
    let host = internet.device("server");
    let address: IpAddr = host.cable.address().parse().unwrap();
    let at = [0, 1].map(|number| SocketAddr::new(address, PORTS[number]));
    let echo = Echo::start(&host, PORTS);
    (host, echo, at)
}

#[test]
fn r1_every_router_of_the_lab_is_what_it_says() {
    lab::run(|lab| {
        let internet = lab.internet();
        let stun = StunServer::start(&internet);
        let kinds = Nat::all().chain(Nat::all().map(Nat::hairpinning));
        let homes: Vec<_> = kinds
            .map(|nat| {
                let lan = internet.lan_behind(nat);
                let device = lan.device(&format!("behind {nat}"));
                (nat, lan, device)
            })
            .collect();
        // All at once: most of it is waiting for what must not come.
        let seen = thread::scope(|scope| {
            let probing: Vec<_> = homes
                .iter()
                .map(|(.., device)| scope.spawn(|| NatBehaviour::of(device, &stun)))
                .collect();
            let probed = probing.into_iter().map(|one| one.join().unwrap());
            probed.collect::<Vec<_>>()
        });
        let mut wrong = Vec::new();
        for ((nat, lan, _), seen) in homes.iter().zip(seen) {
            println!("{nat}: {seen:?}");
            if seen != Some(NatBehaviour::expected(nat, public(lan))) {
                wrong.push(nat.to_string());
            }
        }
        assert!(wrong.is_empty(), "{wrong:?}");
    });
}

#[test]
fn r1_routers_with_a_long_way_behind_them_translate_the_same() {
    lab::run(|lab| {
        let internet = lab.internet();
        let stun = StunServer::start(&internet);
        for nat in [
            Nat::HOME.hairpinning(),
            Nat::new(Mapping::PerAddress, DependsOn::Address),
        ] {
            let lan = internet.lan_behind(nat);
            lan.router.delay(Duration::from_millis(25));
            let device = lan.device(&format!("behind {nat}"));
            let seen = NatBehaviour::of(&device, &stun);
            assert_eq!(
                seen,
                Some(NatBehaviour::expected(&nat, public(&lan))),
                "{nat}"
            );
        }
    });
}

#[test]
fn r1_two_routers_in_a_row_do_what_the_stricter_one_does() {
    lab::run(|lab| {
        let internet = lab.internet();
        let stun = StunServer::start(&internet);
        let carrier = internet.carrier(Nat::new(Mapping::Remap, DependsOn::Address));
        let lan = carrier.lan_behind(Nat::HOME);
        assert!(lan.router.address.starts_with("100.64."));
        let seen = NatBehaviour::of(&lan.device("laptop"), &stun);
        let expected = NatBehaviour {
            mapping: DependsOn::Nothing,
            ports: OuterPorts::Other,
            filtering: DependsOn::AddressAndPort,
            hairpin: false,
            address: carrier.router.address.parse().unwrap(),
        };
        assert_eq!(seen, Some(expected));
    });
}

#[test]
fn r1_a_stray_packet_does_not_take_the_port_of_a_device() {
    lab::run(|lab| {
        let internet = lab.internet();
        let stun = StunServer::start(&internet);
        let (stranger, lan) = (internet.device("stranger"), internet.lan_behind(Nat::HOME));
        let laptop = lan.device("laptop");
        // To the port that the laptop is going to have, before it has sent anything.
        let wanted = SocketAddr::new(public(&lan).into(), 4817);
        assert!(!Echo::over_udp(&stranger, wanted));
        let seen = NatBehaviour::of(&laptop, &stun).unwrap();
        assert_eq!(seen.ports, OuterPorts::Kept);
    });
}

#[test]
fn r1_where_udp_is_blocked_only_tcp_passes() {
    lab::run(|lab| {
        let internet = lab.internet();
        let (_host, _echo, [at, _]) = server(&internet);
        let lan = internet.lan();
        let laptop = lan.device("laptop");
        assert!(Echo::over_udp(&laptop, at) && Echo::over_tcp(&laptop, at));
        lan.router.block(Protocol::Udp);
        assert!(!Echo::over_udp(&laptop, at) && Echo::over_tcp(&laptop, at));
    });
}

#[test]
fn r1_where_only_https_passes_nothing_else_does() {
    lab::run(|lab| {
        let internet = lab.internet();
        let (_host, _echo, [relay, web]) = server(&internet);
        for delayed in [false, true] {
            let lan = internet.lan();
            lan.router.only_https();
            if delayed {
                lan.router.delay(Duration::from_millis(25));
            }
            let laptop = lan.device(if delayed { "far" } else { "near" });
            assert!(Echo::over_tcp(&laptop, web));
            assert!(!Echo::over_tcp(&laptop, relay));
            assert!(!Echo::over_udp(&laptop, relay) && !Echo::over_udp(&laptop, web));
        }
    });
}

#[test]
fn r1_where_a_proxy_is_the_only_way_out_it_asks_for_a_login() {
    lab::run(|lab| {
        let internet = lab.internet();
        let (_host, _echo, [relay, web]) = server(&internet);
        let place = internet.device("proxy");
        let proxy = Proxy::start(&place, "anna:secret");
        let lan = internet.lan();
        lan.router.only_to(proxy.at);
        let laptop = lan.device("laptop");
        for at in [relay, web] {
            assert!(!Echo::over_tcp(&laptop, at) && !Echo::over_udp(&laptop, at));
        }
        assert_eq!(proxy.asked(&laptop, web, None), 407);
        assert_eq!(proxy.asked(&laptop, web, Some("anna:wrong")), 407);
        assert_eq!(proxy.asked(&laptop, relay, Some("anna:secret")), 403);
        assert!(proxy.connected().is_empty());
        assert_eq!(proxy.asked(&laptop, web, Some("anna:secret")), 200);
        assert_eq!(proxy.connected(), [web.to_string()]);
        assert_eq!(proxy.url(), format!("http://anna:secret@{}", proxy.at));
    });
}

#[test]
fn r1_a_firewall_of_ipv6_lets_out_everything_and_in_only_answers() {
    lab::run(|lab| {
        let internet = lab.internet();
        let (host, _echo, [at, _]) = server(&internet);
        internet.host_ipv6(&host.cable);
        let (mut lan, mut other) = (internet.lan(), internet.lan());
        internet.ipv6(&mut lan);
        internet.ipv6(&mut other);
        let (laptop, desk) = (lan.device("laptop"), other.device("desk"));
        let there = SocketAddr::new(host.cable.ipv6().into(), at.port());
        for device in [&laptop, &desk] {
            assert!(Echo::over_udp(device, there) && Echo::over_tcp(device, there));
            // The other family is there as before.
            assert!(Echo::over_udp(device, at));
        }
        let _echo = Echo::start(&desk, PORTS);
        let inner = SocketAddr::new(desk.cable.ipv6().into(), at.port());
        assert!(!Echo::over_udp(&laptop, inner) && !Echo::over_tcp(&laptop, inner));
        assert!(!Echo::over_udp(&host, inner));
        // Each lets the other in by sending to it.
        let [one, other] = [(&laptop, 5000), (&desk, 5001)].map(|(device, port)| {
            let seen = SocketAddr::new(device.cable.ipv6().into(), port);
            Puncher::seen_at(device, seen)
        });
        assert!(one.meets(other));
    });
}

#[test]
fn r1_two_routers_let_through_what_rfc_4787_says() {
    lab::run(|lab| {
        let internet = lab.internet();
        let stun = StunServer::start(&internet);
        let kinds: Vec<Nat> = Nat::met().collect();
        // Of each kind two, as it meets its own kind.
        let side = |side: &str| {
            let homes = kinds.iter().map(|nat| {
                let lan = internet.lan_behind(*nat);
                let device = lan.device(&format!("{side} {nat}"));
                (lan, device)
            });
            homes.collect::<(Vec<Lan<'_>>, Vec<Device>)>()
        };
        let ((_lans, ones), (_other_lans, others)) = (side("one"), side("other"));
        let meets = |one: &Device| {
            let meet = |other| {
                let sides = [one, other].map(|device| Puncher::by_stun(device, &stun).unwrap());
                let [one, other] = sides;
                one.meets(other)
            };
            others.iter().map(meet).collect::<Vec<bool>>()
        };
        let meets = &meets;
        let rows = thread::scope(|scope| {
            let rows: Vec<_> = ones
                .iter()
                .map(|one| scope.spawn(move || meets(one)))
                .collect();
            let rows = rows.into_iter().map(|row| row.join().unwrap());
            rows.collect::<Vec<_>>()
        });
        let mut wrong = Vec::new();
        for (one, row) in kinds.iter().zip(rows) {
            let marks: String = row.iter().map(|met| if *met { '+' } else { '-' }).collect();
            println!("{:12} {marks}", one.to_string());
            for (other, met) in kinds.iter().zip(row) {
                if met != one.meets(other) {
                    wrong.push(format!("{one} and {other}: {met}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:?}");
    });
}

#[test]
fn r1_a_router_that_maps_ports_lets_in_what_a_device_asked_for() {
    lab::run(|lab| {
        let internet = lab.internet();
        let stranger = internet.device("stranger");
        let Some((lan, mapper)) = internet.lan_that_maps_ports(Nat::HOME) else {
            return;
        };
        let desk = lan.device("desk");
        let _echo = Echo::start(&desk, PORTS);
        let outer = SocketAddr::new(public(&lan).into(), 20_000);
        assert!(!Echo::over_udp(&stranger, outer));
        let mapped = mapper.maps(&desk, PORTS[0], outer.port());
        assert_eq!(mapped, Some(outer.port()));
        assert!(Echo::over_udp(&stranger, outer));
    });
}
