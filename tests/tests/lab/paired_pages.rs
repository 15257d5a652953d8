//! W3: a page in a browser becomes one of a user's devices, with less than a device has.
//!
//! Siblings: a yes, a no, a second try with the same link; what a page may (write) and what it may
//! not (remove devices, make others pages, list folders, hold an allowance); its removal. The relay's
//! rules: `relay-server/tests/relay/serve_visit.rs`; which circuits are taken: `swarm/src/nameplates.rs`.
//! The page speaks QUIC; the page's core in a browser has tests of its own.

use crate::page_world::{HOST, served};
use crate::relay_world::{World, join_all};
use hither_api::{AnswerCode, DeviceInfo, DeviceRelation, Event, MessageInfo};
use hither_proto::PairGrant;
use hither_tests::lab::{self, Device, PairedPage, until};
use std::thread;

const PORT: u16 = 8443;

/// Shows a link on a device; the page opens it, and the user answers.
fn pairs(world: &World, desk: &Device, yes: bool) -> (PairedPage, Result<PairGrant, String>) {
    let mut shown = desk.begin(&["pair", "--web"]);
    let link = shown.line("a code", |line| {
        let link = line["link"].as_str().filter(|_| line["event"] == "code")?;
        Some(link.to_owned())
    });
    assert!(link.starts_with(&format!("https://{HOST}:{PORT}/p#hither-pair1")));
    let page = PairedPage::new(&world.two.device("cafe"), &link, &world.relay.url());
    let granted = thread::scope(|scope| {
        let pairing = scope.spawn(|| page.pair());
        let met = shown.wait_for("the question", |event| match event {
            Event::CodeMet(met) => Some(met.clone()),
            _ => None,
        });
        assert!(
            met.web && met.name == "Firefox" && met.devices == 0,
            "{met:?}"
        );
        assert_eq!(met.relays.len(), 1);
        let path = format!("/v1/codes/{}/answer", met.id);
        let answered = desk.api().post::<AnswerCode>(&path, &AnswerCode { yes });
        answered.unwrap();
        pairing.join().unwrap()
    });
    let run = shown.finish();
    assert_eq!(run.status == 0, yes, "{:?}", run.lines);
    (page, granted)
}

fn listed(device: &Device, page: &PairedPage) -> Option<DeviceInfo> {
    let id = page.id().to_string();
    device.devices().into_iter().find(|one| one.device == id)
}

#[test]
fn w3_a_page_becomes_a_device_that_may_little_and_is_removed() {
    lab::run(|lab| {
        let (world, _) = served(lab, PORT, |_| {});
        let (desk, phone) = (world.one.device("desk"), world.two.device("phone"));
        join_all(&[&desk, &phone], &world.relay.invitation());
        let (none, refused) = pairs(&world, &desk, false);
        assert!(refused.is_err());
        assert!(listed(&desk, &none).is_none());

        let (page, granted) = pairs(&world, &desk, true);
        let grant = granted.unwrap();
        assert!(grant.devices.is_empty() && grant.relays.len() == 1);
        assert!(page.pair().is_err(), "the link is spent");
        assert_eq!(page.join(grant.relays[0].invitation.clone()), Ok(3));
        for device in [&desk, &phone] {
            let info = until("the page is listed", || listed(device, &page));
            assert!(info.web && info.relation == DeviceRelation::Own, "{info:?}");
        }
        let lines = desk.hither(&["devices"]).well().lines;
        let web = lines.iter().filter(|line| line["web"] == true);
        assert_eq!(web.count(), 1);

        // It writes as a device of the user's does.
        page.text(1, "from the page").unwrap();
        let came: Vec<MessageInfo> = until("the text", || {
            let all: Vec<MessageInfo> = desk.api().get("/v1/inbox").unwrap();
            (!all.is_empty()).then_some(all)
        });
        assert_eq!(came[0].text.as_deref(), Some("from the page"));
        assert_eq!(came[0].from, page.id().to_string());
        // It removes nobody, and makes nobody less than a device.
        let names = |name: &str| {
            let id: hither_proto::DeviceId = phone.id().parse().unwrap();
            [&[1][..], id.as_bytes(), name.as_bytes()].concat()
        };
        page.body(2, "removal", names("phone")).unwrap();
        page.body(3, "page", names("phone")).unwrap();
        page.text(4, "later").unwrap();
        until("the text behind them", || {
            let all: Vec<MessageInfo> = desk.api().get("/v1/inbox").unwrap();
            (all.len() == 2).then_some(())
        });
        let phone_id = phone.id();
        let devices = desk.devices();
        let still = devices.iter().find(|one| one.device == phone_id).unwrap();
        assert!(!still.web && still.relation == DeviceRelation::Own);
        // It holds no allowance.
        let name = page.id().to_string();
        let run = desk.hither(&["asks", "allow", &name, "photo"]);
        assert_ne!(run.status, 0, "{:?}", run.lines);

        // It is removed as any other, on any other.
        phone.hither(&["devices", "remove", &name, "--yes"]).well();
        assert!(page.join(None).is_err());
        until("desk has forgotten it", || {
            listed(&desk, &page).is_none().then_some(())
        });
    });
}
