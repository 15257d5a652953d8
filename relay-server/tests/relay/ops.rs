//! What an operator sees of a running node over HTTP, and the files for deploying it.

use crate::storing_common::{Device, End, Open, Version, World, get, parse_metrics, soon};
use hither_carrier::CarrierKind;
use hither_proto::{Purpose, RelayRefusalCode};
use hither_relay::ops::{CONTENT_TYPE, Metrics};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

async fn pages(world: &World) -> SocketAddr {
    hither_relay::ops::start(&world.node, &world.gates)
        .await
        .unwrap()
        .expect("an address")
}

async fn with_pages() -> World {
    World::with(|settings| {
        settings.config.ops.http = "127.0.0.1:0".into();
        settings.one_pack();
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_counts_what_happens_and_names_nobody() {
    let world = with_pages().await;
    let at = pages(&world).await;
    let owner = world.somebody().await;
    let version = Version::random(&owner, 1, 20, 10_000);
    owner.share(&world, &version).await;
    let reader = Device::new();
    let mut bulk = reader
        .read(&world, &Open::of(&version, Purpose::Bulk), CarrierKind::Tcp)
        .await
        .unwrap();
    bulk.want(1, 1, hither_proto::Space::Data, 0..20).await;
    assert_eq!(bulk.answer(1).await.chunks.len(), 20);
    let other = Version::random(&owner, 1, 3, 5_000);
    let refused = owner.upload(&world, &other, usize::MAX).await;
    assert_eq!(refused.end, End::Refused(RelayRefusalCode::NotFound));
    let (head, page) = get(at, "/metrics").await;
    assert!(
        head.starts_with("HTTP/1.1 200") && head.contains(CONTENT_TYPE),
        "{head}"
    );
    assert!(page.ends_with("# EOF\n"));
    let metrics = parse_metrics(&page);
    let value = |name: &str, label: &str| {
        let series = metrics
            .get(&format!("hither_relay_{name}"))
            .unwrap_or_else(|| panic!("no {name}"));
        series
            .iter()
            .find(|(labels, _)| labels.contains(label))
            .unwrap_or_else(|| panic!("no {name} {label}"))
            .1
    };
    assert_eq!(value("upload_bytes_total", ""), version.bytes() as f64);
    assert_eq!(value("upload_chunks_total", ""), 23.0);
    assert_eq!(value("download_bytes_total", ""), 200_000.0);
    assert_eq!(value("downloads", ""), 1.0);
    assert_eq!(
        value("refusals_total", "service=\"upload\",reason=\"not_found\""),
        1.0
    );
    assert_eq!(value("services_total", "service=\"upload\""), 2.0);
    assert_eq!(value("request_seconds_count", "request=\"put_end\""), 1.0);
    assert_eq!(value("packs", ""), 1.0);
    assert_eq!(value("logical_bytes", ""), version.bytes() as f64);
    assert!(value("physical_bytes", "") >= version.bytes() as f64);
    assert!(value("commit_seconds_count", "database=\"index\"") > 0.0);
    assert!(value("commit_seconds_count", "database=\"state\"") > 0.0);
    assert!(value("disk_free_bytes", "") > 0.0);
    assert_eq!(
        value(
            "build_info",
            &format!("version=\"{}\"", env!("CARGO_PKG_VERSION"))
        ),
        1.0
    );
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    for secret in [
        owner.id().to_string(),
        reader.id().short(),
        hex(owner.id().as_bytes()),
        hex(version.share().as_bytes()),
        world.node.id().to_string(),
        "127.0.0.1".into(),
    ] {
        assert!(!page.contains(&secret), "the page names {secret}");
    }
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mailboxes_are_counted() {
    let world = with_pages().await;
    world.somebody().await;
    let user = world.user().await;
    world.device(&user).await;
    world.device(&user).await;
    let at = pages(&world).await;
    let counted = async {
        loop {
            let metrics = parse_metrics(&get(at, "/metrics").await.1);
            if metrics["hither_relay_devices"][0].1 == 3.0 {
                return metrics["hither_relay_users"][0].1;
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(soon(counted).await, 2.0);
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_says_what_is_wrong() {
    let world = World::with(|settings| {
        settings.config.ops.http = "127.0.0.1:0".into();
        settings.config.store.free_floor = hither_relay::config::Size(u64::MAX);
    })
    .await;
    let at = pages(&world).await;
    assert_eq!(get(at, "/healthz").await.1, "ok\n");
    let (head, body) = get(at, "/readyz").await;
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert_eq!(body, r#"{"ready":false,"problems":["disk_full"]}"#);
    assert!(get(at, "/else").await.0.starts_with("HTTP/1.1 404"));
    world.node.stop().await;

    let world = with_pages().await;
    let at = pages(&world).await;
    let (head, body) = get(at, "/readyz").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head} {body}");
    assert_eq!(body, r#"{"ready":true,"problems":[]}"#);
    // A disk that takes nothing more is counted; the store still answers.
    world.index.full.store(true, Ordering::SeqCst);
    let owner = world.somebody().await;
    let version = Version::random(&owner, 1, 3, 5_000);
    owner.place(&world, version.share(), version.bytes()).await;
    assert_eq!(
        owner.upload(&world, &version, usize::MAX).await.end,
        End::Refused(RelayRefusalCode::NoSpace)
    );
    let metrics = parse_metrics(&get(at, "/metrics").await.1);
    let failures = &metrics["hither_relay_commit_failures_total"];
    assert!(
        failures
            .iter()
            .any(|(labels, count)| labels.contains("index") && *count > 0.0),
        "{failures:?}"
    );
    let draining = Arc::clone(&world.node);
    draining.drain(Duration::ZERO).await;
    assert_eq!(
        get(at, "/readyz").await.1,
        r#"{"ready":false,"problems":["draining"]}"#
    );
    world.node.stop().await;
}

/// Every name of a metric in a text.
fn names(text: &str) -> BTreeSet<String> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text
        .split(|c| !part(c))
        .filter(|word| word.starts_with("hither_relay_"));
    words.map(str::to_owned).collect()
}

#[test]
fn the_dashboard_shows_metrics_that_exist_and_all_of_them() {
    let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/grafana.json");
    let text = std::fs::read_to_string(deploy).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.iter().any(|panel| panel["targets"].is_array()));
    let metrics = Metrics::new();
    metrics.refused(
        hither_relay::ops::labels::Service::Upload,
        hither_relay::ops::labels::Reason::Quota,
    );
    let page = metrics.page().unwrap();
    let exported = names(&page);
    let shown = names(&text);
    let unknown: Vec<_> = shown.difference(&exported).collect();
    assert!(unknown.is_empty(), "not exported: {unknown:?}");
    // A histogram is shown by its buckets.
    let described = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    for metric in described {
        let shows = |name: &String| name.starts_with(metric);
        assert!(shown.iter().any(shows), "{metric} is on no panel");
    }
}

#[test]
fn the_files_for_deploying_agree_with_the_defaults() {
    let read = |name: &str| {
        std::fs::read_to_string(format!("{}/deploy/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    let port = hither_relay::config::DEFAULT_PORT;
    assert!(read("Dockerfile").contains(&format!("EXPOSE {port}/udp {port}/tcp")));
    let compose = read("compose.yaml");
    assert!(
        compose.contains(&format!("\"{port}:{port}/udp\""))
            && compose.contains(&format!("\"{port}:{port}/tcp\""))
    );
    let http = hither_relay::config::Config::default().ops.http;
    assert_eq!(http, "127.0.0.1:4819");
    assert!(compose.contains(&format!("\"{http}:4819/tcp\"")));
    let unit = read("hither-relay.service");
    for line in [
        "DynamicUser=yes",
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
        "MemoryDenyWriteExecute=yes",
    ] {
        assert!(unit.lines().any(|there| there == line), "{line}");
    }
}
