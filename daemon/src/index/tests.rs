//! Tests of the messages a daemon sends to the index of a real relay in this process.

use crate::store_upload::tests::{Device, HostState, relay, soon};
use hither_api::Config;
use hither_relay::config::Span;
use hither_relay::start::Running;
use std::time::Duration;

/// Waits until the index has so many announcements.
async fn announced(relay: &Running, entries: u64) {
    let waiting = async {
        while relay.node.index_held().unwrap().entries != entries {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon("another number of announcements", waiting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_announced_until_it_is_not_also_after_a_restart_of_either() {
    let world = HostState::new();
    let folder = world.path("relay");
    let first = relay(&folder, |config| config.index.heartbeat = Span::secs(1)).await;
    let owner = Device::joined(&world.path("owner"), &first).await;
    let (one, _) = owner.share(&world.file("one", b"something"), |_| {}).await;
    announced(&first, 1).await;
    let two = world.file("two", b"something else");
    let (two, _) = owner.share(&two, |request| request.no_upload = true).await;
    announced(&first, 2).await;
    // A relay's knowledge is gone with it, and is announced again when the relay is back.
    let port = first.url.at.port();
    first.kill().await;
    let again = relay(&folder, |config| {
        config.index.heartbeat = Span::secs(1);
        config.port = port;
    })
    .await;
    announced(&again, 2).await;
    owner.app.library.unshare(&one).unwrap();
    announced(&again, 1).await;
    // A daemon that ends takes its announcements along, and begins again with them.
    let home = owner.stop().await;
    announced(&again, 0).await;
    let owner = Device::start(&home).await;
    announced(&again, 1).await;
    let home = owner.stop().await;
    // A device that does not want to be named announces nothing, and is there all the same.
    let shy = Device::start_with(
        &home,
        Config {
            index_announce: false,
            ..Config::default()
        },
    )
    .await;
    // The request comes behind any announcement that it would have made.
    let following = crate::index::follow(&shy.app.index, two.id);
    let subscribed = async {
        while again.node.index_held().unwrap().subscriptions == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon("a subscription", subscribed).await;
    assert_eq!(again.node.index_held().unwrap().entries, 0);
    drop(following);
    shy.stop().await;
    again.kill().await;
}
