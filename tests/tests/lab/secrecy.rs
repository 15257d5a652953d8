//! Who does not know the ticket learns nothing.

use crate::common::pair;
use hither_api::ErrorCode;
use hither_proto::{Refusal, ShareSecret, Ticket};
use hither_tests::lab::{self, Holder, MIB, Tree, fill, noise};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

#[test]
fn a_wrong_ticket_is_answered_by_nobody() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let file = fill(desk.path("file"), 1, MIB);
        let mut ticket: Ticket = desk.share(&file).ticket.parse().unwrap();
        let mut secret = *ticket.secret.expose();
        secret[7] ^= 1;
        ticket.secret = ShareSecret::new(secret);
        laptop.up();
        laptop.sees(1);
        let began = Instant::now();
        let into = laptop.path("got");
        let fetch = [
            "fetch",
            &ticket.to_string(),
            "--yes",
            "-o",
            into.to_str().unwrap(),
            "--wait",
            "3s",
        ];
        assert_eq!(laptop.hither(&fetch).failed(3).code, ErrorCode::NoHolder);
        assert!(
            began.elapsed() < Duration::from_secs(8),
            "{:?}",
            began.elapsed()
        );
        assert!(laptop.transfers().is_empty() && !into.join("file").exists());
        // Neither of them has told the other its name.
        assert!(
            laptop
                .status()
                .links
                .iter()
                .all(|link| link.name.is_empty())
        );
        // A ticket with a letter changed is refused at once.
        let typo = ticket.to_string().replace("hither1q", "hither1p");
        assert_eq!(
            laptop.hither(&["fetch", &typo, "--yes"]).failed(2).code,
            ErrorCode::BadTicket
        );
    });
}

#[test]
fn a_share_that_is_there_looks_like_one_that_is_not() {
    lab::run(|lab| {
        let desk = lab.device("desk");
        let place = lab.device("corner");
        let ticket: Ticket = desk
            .share(&fill(desk.path("file"), 1, MIB))
            .ticket
            .parse()
            .unwrap();
        let port = desk.status().udp_port.unwrap();
        let at = SocketAddr::new(desk.cable.address().parse().unwrap(), port);
        let wrong = ShareSecret::new([7; 16]);
        let knock =
            |share, secret: &ShareSecret| Holder::knocks(&place, (ticket.owner, at), share, secret);
        assert_eq!(
            knock(ticket.share(), &ticket.secret),
            None,
            "whoever knows the secret is let in"
        );
        assert_eq!(knock(ticket.share(), &wrong), Some(Refusal::NotFound));
        assert_eq!(knock(wrong.share_id(), &wrong), Some(Refusal::NotFound));
    });
}

#[test]
fn a_listener_hears_nothing() {
    lab::run(|lab| {
        let (desk, laptop) = (lab.device("Adas Rechner"), lab.device("Bertas Laptop"));
        let capture = lab.capture();
        let secret = "the plan for Thursday, and nobody is to know of it";
        let folder = desk.path("Geheimnisse of Ada");
        fill(folder.join("Kontoauszug 2026.pdf"), 1, 2 * MIB);
        std::fs::write(folder.join("plan.txt"), secret.repeat(10)).unwrap();
        let ticket = desk.share(&folder).ticket;
        laptop.fetch(&ticket, "got");
        Tree::of(&folder).assert_same(&Tree::of(laptop.path("got/Geheimnisse of Ada")));
        desk.down();
        laptop.down();
        let heard = capture.finish();
        println!("{} bytes were heard", heard.len());
        assert!(heard.len() as u64 > 2 * MIB);
        let parsed: Ticket = ticket.parse().unwrap();
        let (share, content) = (parsed.share(), noise(1, 2 << 20));
        let secrets: [(&str, &[u8]); 10] = [
            ("a folder's name", b"Geheimnisse"),
            ("a file's name", b"Kontoauszug"),
            ("another file's name", b"plan.txt"),
            ("text", b"nobody is to know"),
            ("content", &content[1_000_000..1_000_032]),
            ("a device's name", b"Rechner"),
            ("another device's name", b"Laptop"),
            ("the ticket", &ticket.as_bytes()[8..40]),
            ("the secret", parsed.secret.expose()),
            ("the share's id", share.as_bytes()),
        ];
        for (what, bytes) in secrets {
            assert!(
                !heard.windows(bytes.len()).any(|window| window == bytes),
                "{what} was heard"
            );
        }
    });
}
