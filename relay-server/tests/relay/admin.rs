//! What an operator does with a node: while it runs over its admin socket, otherwise on its folder.

use crate::storing_common::{Device, Disk, End, Open, Settings, Version, World, start};
use hither_carrier::CarrierKind;
use hither_content::storage::{DEFAULT_ENGINE, Storage, open};
use hither_proto::{Purpose, RelayMessage, RelayPurpose, RelayRefusalCode, RelayUrl, Space};
use hither_relay::admin::types::{
    Backup, Check, Checked, Collected, Devices, Invite, Invited, Revoke, Revoked, Saved, Stats,
    Users,
};
use hither_relay::admin::{self, Client, Code};
use hither_relay::config::{Config, Folder};
use hither_relay::ops::Gates;
use hither_relay::state::Embedded;
use hither_relay::store::open_index;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

async fn administered() -> (World, Client) {
    let world = World::with(Settings::one_pack).await;
    admin::start(&world.node, &world.gates).await.unwrap();
    let client = Client::new(Folder::of(&world.node.config).socket());
    (world, client)
}

async fn invite(client: &Client, uses: u32, user: Option<String>) -> Invited {
    let invite = Invite {
        uses,
        valid_s: 3600,
        user,
        label: "me".into(),
    };
    client.post("/v1/invitations", &invite).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_lets_devices_in_until_they_are_revoked() {
    let (world, client) = administered().await;
    let invited = invite(&client, 2, None).await;
    let url: RelayUrl = invited.url.parse().unwrap();
    assert_eq!((url.key, invited.uses), (world.node.id(), 2));
    let hello = RelayMessage::Hello {
        invitation: url.invitation,
        instance: 0,
    };
    let (one, two, three) = (Device::new(), Device::new(), Device::new());
    let mut long = Vec::new();
    for device in [&one, &two] {
        let mut relay = device
            .relay(&world, RelayPurpose::Device, CarrierKind::Quic)
            .await;
        relay.say(&hello).await;
        assert!(matches!(relay.hear().await, RelayMessage::Welcome(_)));
        long.push(relay);
    }
    let mut relay = three
        .relay(&world, RelayPurpose::Device, CarrierKind::Quic)
        .await;
    relay.say(&hello).await;
    let refused = relay.hear().await;
    assert!(
        matches!(&refused, RelayMessage::Refused(refusal) if refusal.code == RelayRefusalCode::Invitation),
        "{refused:?}"
    );
    let users: Users = client.get("/v1/users").await.unwrap();
    assert_eq!((users.users.len(), users.more), (1, false));
    assert_eq!(
        (users.users[0].devices, users.users[0].label.as_str()),
        (2, "me")
    );
    assert_eq!(users.users[0].user, invited.user);
    let more = invite(&client, 1, Some(invited.user.clone())).await;
    assert_eq!(more.user, invited.user);
    let devices: Devices = client
        .get(&format!("/v1/devices?user={}", invited.user))
        .await
        .unwrap();
    assert_eq!((devices.devices.len(), devices.next), (2, None));
    let nobody: Devices = client
        .get(&format!("/v1/devices?user={}", "0".repeat(32)))
        .await
        .unwrap();
    assert!(nobody.devices.is_empty());
    let revoked: Revoked = client
        .post("/v1/revoke", &Revoke::Device(one.id().to_string()))
        .await
        .unwrap();
    assert_eq!(revoked.devices, [one.id().to_string()]);
    let refused = loop {
        match long[0].hear().await {
            RelayMessage::Refused(refusal) => break refusal,
            _ => continue,
        }
    };
    assert_eq!(refused.code, RelayRefusalCode::Revoked);
    let all: Revoked = client
        .post("/v1/revoke", &Revoke::User(invited.user.clone()))
        .await
        .unwrap();
    assert_eq!(all.devices, [two.id().to_string()]);
    let devices: Devices = client.get("/v1/devices").await.unwrap();
    assert!(devices.devices.len() == 2 && devices.devices.iter().all(|device| device.revoked));
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_questions_are_answered_in_words() {
    let (world, client) = administered().await;
    let mode = std::fs::metadata(Folder::of(&world.node.config).socket())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let unknown = Revoke::Device(Device::new().id().to_string());
    let error = client
        .post::<Revoked>("/v1/revoke", &unknown)
        .await
        .unwrap_err();
    assert_eq!(error.code, Code::NotFound);
    assert!(error.message.ends_with('.') && error.hint.is_some());
    let error = client
        .post::<Revoked>("/v1/revoke", &Revoke::Device("me".into()))
        .await
        .unwrap_err();
    assert_eq!((error.code, error.code.exit()), (Code::Usage, 2));
    let error = client.get::<Users>("/v1/nothing").await.unwrap_err();
    assert_eq!(error.code, Code::NotFound);
    let none = Invite {
        uses: 0,
        valid_s: 1,
        user: None,
        label: String::new(),
    };
    assert_eq!(
        client
            .post::<Invited>("/v1/invitations", &none)
            .await
            .unwrap_err()
            .code,
        Code::Usage
    );
    world.node.stop().await;
    let error = Client::new(world.dir.path().join("no.sock"))
        .get::<Stats>("/v1/stats")
        .await
        .unwrap_err();
    assert_eq!(error.code, Code::NotRunning);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_node_says_what_it_holds_and_checks_it() {
    let (world, client) = administered().await;
    let owner = world.somebody().await;
    let version = Version::random(&owner, 1, 20, 10_000);
    owner.share(&world, &version).await;
    let stats: Stats = client.get("/v1/stats").await.unwrap();
    assert!(stats.problems.is_empty(), "{stats:?}");
    assert_eq!(
        (stats.users, stats.devices, stats.node),
        (Some(1), Some(1), world.node.id().to_string())
    );
    let store = stats.store.unwrap();
    assert_eq!(
        (store.kept, store.packs, store.damaged),
        (version.bytes(), 1, 0)
    );
    let checked: Checked = client
        .post("/v1/check", &Check { repair: false })
        .await
        .unwrap();
    assert!(checked.clean && checked.chunks == 23, "{checked:?}");
    let users: Users = client.get("/v1/users").await.unwrap();
    assert_eq!(users.users[0].bytes, Some(version.bytes()));
    damage(&Folder::of(&world.node.config).chunks());
    let checked: Checked = client
        .post("/v1/check", &Check { repair: true })
        .await
        .unwrap();
    assert!(!checked.clean && checked.damaged == 1, "{checked:?}");
    // What was damaged is asked for again.
    let again = owner.upload(&world, &version, usize::MAX).await;
    assert_eq!((again.end, again.asked), (End::Done, 1));
    let checked: Checked = client
        .post("/v1/check", &Check { repair: false })
        .await
        .unwrap();
    assert!(checked.clean, "{checked:?}");
    let _: Collected = client.post("/v1/gc", &()).await.unwrap();
    world.node.stop().await;
}

/// Runs a sub-command as the program does.
async fn command(data: &Path, command: admin::Command) -> ExitCode {
    let config = Config {
        data: Some(data.to_owned()),
        ..Config::default()
    };
    tokio::task::spawn_blocking(move || admin::run(command, &config, true))
        .await
        .unwrap()
}

/// Changes one byte of a chunk in the first pack.
fn damage(chunks: &Path) {
    let mut folders = vec![chunks.join("packs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            return;
        }
    }
    panic!("there is no pack");
}

/// A node on a real disk.
async fn on_disk(dir: &Path) -> (World, Arc<Embedded>) {
    let (folder, gates) = (Folder::new(dir), Gates::default());
    let (path, gate) = (folder.state(), gates.state.clone());
    let opener =
        move || -> Result<Arc<dyn Storage>, _> { Ok(gate.watch(open(&path, DEFAULT_ENGINE)?.0)) };
    let state = Arc::new(Embedded::start(Box::new(opener)).unwrap());
    let index = gates
        .index
        .watch(open_index(&folder.index(), DEFAULT_ENGINE).unwrap());
    let node = start(dir, Arc::clone(&state) as _, index, Settings::one_pack).await;
    admin::start(&node, &gates).await.unwrap();
    (
        World {
            node,
            gates,
            index: Disk::default(),
            dir: tempfile::tempdir().unwrap(),
        },
        state,
    )
}

/// Lets go of the folder.
async fn close(world: World, state: Arc<Embedded>) {
    let store = world.node.store.clone().unwrap();
    world.node.stop().await;
    drop(world);
    state.close().await;
    Arc::into_inner(store)
        .expect("nobody uses the store any more")
        .close()
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_running_node_becomes_a_node() {
    let dir = tempfile::tempdir().unwrap();
    let (live, to, new) = (
        dir.path().join("live"),
        dir.path().join("backup"),
        dir.path().join("new"),
    );
    std::fs::create_dir(&live).unwrap();
    let (world, state) = on_disk(&live).await;
    let client = Client::new(Folder::new(&live).socket());
    let owner = world.somebody().await;
    let version = Version::random(&owner, 1, 20, 10_000);
    owner.share(&world, &version).await;
    let saved: Saved = client
        .post("/v1/backup", &Backup { to: to.clone() })
        .await
        .unwrap();
    assert!(saved.linked >= 1 && saved.files >= 4, "{saved:?}");
    let error = client
        .post::<Saved>("/v1/backup", &Backup { to: to.clone() })
        .await
        .unwrap_err();
    assert_eq!(error.code, Code::Exists);
    // What comes after the backup is not in it.
    let later = Version::random(&owner, 1, 5, 10_000);
    owner.share(&world, &later).await;
    let id = world.node.id();
    close(world, state).await;

    assert_eq!(
        command(&new, admin::Command::Restore { from: to.clone() }).await,
        ExitCode::SUCCESS
    );
    assert_eq!(
        command(&new, admin::Command::Restore { from: to.clone() }).await,
        ExitCode::from(1)
    );
    let (world, _state) = on_disk(&new).await;
    assert_eq!(world.node.id(), id);
    let reader = Device::new();
    let mut bulk = reader
        .read(&world, &Open::of(&version, Purpose::Bulk), CarrierKind::Tcp)
        .await
        .unwrap();
    bulk.want(1, 1, Space::Data, 0..20).await;
    assert_eq!(bulk.answer(1).await.chunks, version.all(Space::Data));
    reader
        .read(
            &world,
            &Open::of(&version, Purpose::Lookup),
            CarrierKind::Tcp,
        )
        .await
        .unwrap();
    reader
        .read(&world, &Open::of(&later, Purpose::Bulk), CarrierKind::Tcp)
        .await
        .map(drop)
        .unwrap_err();
    // The devices are known still.
    assert_eq!(
        owner.upload(&world, &version, usize::MAX).await.end,
        End::Done
    );
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_and_backup_work_without_a_node_and_not_beside_one() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    assert_eq!(
        command(&live, admin::Command::Check { repair: false }).await,
        ExitCode::from(1)
    );
    assert!(!live.exists(), "looking has made a store");
    assert_eq!(
        command(&live, admin::Command::Stats).await,
        ExitCode::from(1)
    );
    std::fs::create_dir(&live).unwrap();
    let (world, state) = on_disk(&live).await;
    let owner = world.somebody().await;
    owner
        .share(&world, &Version::random(&owner, 1, 20, 10_000))
        .await;
    close(world, state).await;
    assert_eq!(
        command(&live, admin::Command::Check { repair: false }).await,
        ExitCode::SUCCESS
    );
    let to = dir.path().join("backup");
    let lock = std::fs::File::create(Folder::new(&live).lock()).unwrap();
    lock.lock().unwrap();
    assert_eq!(
        command(&live, admin::Command::Backup { to: to.clone() }).await,
        ExitCode::from(1)
    );
    assert!(!to.exists());
    drop(lock);
    assert_eq!(
        command(&live, admin::Command::Backup { to: to.clone() }).await,
        ExitCode::SUCCESS
    );
    damage(&Folder::new(&live).chunks());
    assert_eq!(
        command(&live, admin::Command::Check { repair: false }).await,
        ExitCode::from(5)
    );
    // Packs of the backup are the same files: what damages one damages both, and the other is a
    // copy's business.
    assert_eq!(
        command(&live, admin::Command::Check { repair: true }).await,
        ExitCode::SUCCESS
    );
    assert_eq!(
        command(&live, admin::Command::Check { repair: false }).await,
        ExitCode::SUCCESS
    );
}
