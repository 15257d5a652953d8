//! The page that a daemon serves on its network, and the dashboard, as a browser without Hither uses
//! and misuses them: every request is made byte by byte.
//!
//! Siblings: another page's word, another share, another version, a range beyond the end, a file that
//! changed, a body that breaks off or never ends, a name that leads away, a page that ended, a
//! daemon that was killed; another user, another origin, another host, a code that was spent.

use crate::common::pair;
use hither_api::{DashboardInfo, MessageInfo, PageInfo};
use hither_tests::lab::{self, Device, HttpAnswer, MIB, fill, noise, until};
use serde_json::{Value, json};
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;

/// Opens a page.
#[track_caller]
fn page(device: &Device, arguments: &[&str]) -> PageInfo {
    let mut run = device.hither(&[&["page"], arguments].concat()).well();
    serde_json::from_value(run.lines.remove(0)).unwrap()
}

/// The id of the only share on a page.
#[track_caller]
fn only_share(guest: &Device, url: &str) -> String {
    let page = guest.http_get(&format!("{url}api/page")).json();
    assert_eq!(page["shares"].as_array().unwrap().len(), 1, "{page}");
    page["shares"][0]["id"].as_str().unwrap().to_owned()
}

/// The number of the entry with this path in a share.
#[track_caller]
fn entry(share: &Value, path: &[&str]) -> u64 {
    let entries = share["entries"].as_array().unwrap();
    let found = entries.iter().find(|one| one["path"] == json!(path));
    found.unwrap_or_else(|| panic!("{path:?}: {share}"))["index"]
        .as_u64()
        .unwrap()
}

fn inbox(device: &Device) -> Vec<MessageInfo> {
    device.api().get("/v1/inbox").unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// A folder with a large file, a small one, an empty one, a folder in it and a link out of it.
fn album(desk: &Device) -> std::path::PathBuf {
    let top = desk.path("album");
    std::fs::create_dir_all(top.join("deep/er")).unwrap();
    fill(top.join("film.mp4"), 1, 5 * MIB + 77);
    std::fs::write(top.join("deep/er/notes \"ü\".txt"), "words\n").unwrap();
    std::fs::write(top.join("deep/empty"), "").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", top.join("link")).unwrap();
    top
}

#[test]
fn w5_a_browser_on_the_network_looks_and_downloads() {
    lab::run(|lab| {
        let (desk, guest) = pair(lab);
        let top = album(&desk);
        desk.share(&top);
        let other = fill(desk.path("secret.txt"), 9, 1000);
        let hidden = desk.share_with(&other, &["--no-list"]).share;
        let shown = page(&desk, &["--for", "10m"]);
        assert_eq!(shown.shares, ["album"]);
        let url = &shown.urls[0];
        assert!(url.starts_with(&format!("http://{}:47448/p/", desk.cable.address())));

        let html = guest.http_get(url);
        assert_eq!(
            (html.status, html.header("content-type")),
            (200, "text/html; charset=utf-8")
        );
        let policy = html.header("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(
            guest.http_get(url.trim_end_matches('/')).header("location"),
            &url[url.find("/p/").unwrap()..]
        );

        let view = guest.http_get(&format!("{url}api/page")).json();
        assert_eq!(
            (&view["device"], &view["may_upload"]),
            (&json!("desk"), &json!(true))
        );
        let share = only_share(&guest, url);
        let contents = guest.http_get(&format!("{url}api/shares/{share}")).json();
        let film = entry(&contents, &["album", "film.mp4"]);
        let at = format!("{url}files/{share}/{film}");
        let bytes = std::fs::read(top.join("film.mp4")).unwrap();

        let whole = guest.http_get(&at);
        assert!(whole.status == 200 && whole.whole && whole.body == bytes);
        assert_eq!(whole.header("content-type"), "application/octet-stream");
        assert!(
            whole
                .header("content-disposition")
                .starts_with("attachment; filename=\"film.mp4\"")
        );
        let tag = whole.header("etag").to_owned();
        let ranged = |range: &str, more: &[(&str, &str)]| {
            let headers = [&[("Range", range)], more].concat();
            guest.http("GET", &at, &headers, b"")
        };
        let part = ranged("bytes=1000000-3000000", &[("If-Range", &tag)]);
        assert!(part.status == 206 && part.body == bytes[1_000_000..=3_000_000]);
        assert_eq!(
            part.header("content-range"),
            format!("bytes 1000000-3000000/{}", bytes.len())
        );
        let tail = ranged("bytes=-77", &[]);
        assert!(tail.status == 206 && tail.body == bytes[bytes.len() - 77..]);
        assert_eq!(
            ranged("bytes=1-2", &[("If-Range", "\"another\"")]).status,
            200
        );
        assert_eq!(ranged("bytes=99999999-", &[]).status, 416);
        let head = guest.http("HEAD", &at, &[], b"");
        assert!(head.status == 200 && head.body.is_empty());
        assert_eq!(
            guest
                .http_get(&format!("{at}?inline"))
                .header("content-type"),
            "video/mp4"
        );

        let empty = entry(&contents, &["album", "deep", "empty"]);
        let empty = guest.http_get(&format!("{url}files/{share}/{empty}"));
        assert!(empty.status == 200 && empty.whole && empty.body.is_empty());
        // A link is nothing that can be downloaded, and nothing else is here.
        let link = entry(&contents, &["album", "link"]);
        for missing in [
            format!("{url}files/{share}/{link}"),
            format!("{url}files/{share}/0"),
            format!("{url}files/{share}/999"),
            format!("{url}files/{hidden}/0"),
            format!("{url}api/shares/{hidden}"),
            format!("{url}zip/{hidden}"),
            format!("{url}zip/{share}?entry=999"),
        ] {
            assert_eq!(guest.http_get(&missing).status, 404, "{missing}");
        }

        let zip = guest.http_get(&format!("{url}zip/{share}"));
        assert!(zip.status == 200 && zip.whole);
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(zip.body)).unwrap();
        let found: Vec<String> = archive
            .file_names()
            .map(|name| name.unwrap().into_owned())
            .collect();
        assert_eq!(found.len(), 6, "{found:?}");
        let mut film = Vec::new();
        archive
            .by_name("album/film.mp4")
            .unwrap()
            .read_to_end(&mut film)
            .unwrap();
        let mut words = String::new();
        let notes = "album/deep/er/notes %22ü%22.txt";
        archive
            .by_name(notes)
            .unwrap()
            .read_to_string(&mut words)
            .unwrap();
        assert!(film == bytes && words == "words\n");
        let deep = entry(&contents, &["album", "deep"]);
        let zip = guest.http_get(&format!("{url}zip/{share}?entry={deep}"));
        let archive = zip::ZipArchive::new(std::io::Cursor::new(zip.body.clone())).unwrap();
        assert!(
            archive
                .file_names()
                .all(|name| name.unwrap().starts_with("deep/"))
        );
        assert_eq!(
            zip.header("content-disposition"),
            "attachment; filename=\"deep.zip\"; filename*=UTF-8''deep.zip"
        );

        // A file that changed is not given for what it was.
        std::fs::write(top.join("film.mp4"), noise(2, 5 * MIB as usize)).unwrap();
        let changed = guest.http_get(&at);
        assert!(
            changed.status >= 400 || !changed.whole,
            "{}",
            changed.status
        );
        let broken = guest.http_get(&format!("{url}zip/{share}"));
        assert!(
            !broken.whole,
            "an archive of changed files ended as if it were whole"
        );
    });
}

#[test]
fn w5_what_a_browser_sends_arrives_once_whole_and_beside_what_is_there() {
    lab::run(|lab| {
        let (desk, guest) = pair(lab);
        let shown = page(&desk, &["--none"]);
        assert!(shown.shares.is_empty());
        let url = &shown.urls[0];
        let received = desk.home().join("received");
        let bytes = noise(3, 3 * MIB as usize + 5);
        for expected in ["a b.bin", "a b (2).bin"] {
            let sent = guest.http(
                "POST",
                &format!("{url}api/upload?name=a%20b.bin"),
                &[],
                &bytes,
            );
            assert_eq!(
                (sent.status, sent.json()["name"].as_str()),
                (201, Some(expected))
            );
            assert!(std::fs::read(received.join(expected)).unwrap() == bytes);
        }
        let text = guest.http("POST", &format!("{url}api/text"), &[], "Grüße\n".as_bytes());
        assert_eq!(text.status, 201);
        let came = inbox(&desk);
        assert_eq!(came.len(), 3);
        assert!(
            came.iter()
                .all(|one| one.page && one.name == "a browser" && !one.read)
        );
        assert_eq!(came[2].text.as_deref(), Some("Grüße\n"));
        let paths = &came[0].arrival.as_ref().unwrap().paths;
        assert_eq!(paths, &[received.join("a b.bin").display().to_string()]);
        let plain = desk.plain(&["inbox"]);
        let plain = String::from_utf8_lossy(&plain.output).into_owned();
        assert!(plain.contains("a browser"), "{plain}");
        assert_eq!(page_list(&desk)[0].received, 3);
        // They are there after a restart; the page is not.
        desk.kill();
        desk.up();
        assert_eq!(inbox(&desk).len(), 3);
        assert!(page_list(&desk).is_empty());
        assert_eq!(guest.http_get(url).status, 0);
    });
}

fn page_list(device: &Device) -> Vec<PageInfo> {
    device.api().get("/v1/pages").unwrap()
}

#[test]
fn w8_a_hostile_browser_gets_and_leaves_nothing() {
    lab::run(|lab| {
        let (mut desk, guest) = pair(lab);
        desk.set("receive.max", "1MiB");
        desk.down();
        desk.up();
        let shared = desk.share(&fill(desk.path("one.txt"), 1, 4000));
        desk.share(&fill(desk.path("two.txt"), 2, 4000));
        let shown = page(&desk, &["one.txt", "--no-upload"]);
        assert_eq!(shown.shares, ["one.txt"]);
        let url = &shown.urls[0];
        let base = &url[..url.find("/p/").unwrap()];
        let (share, received) = (&shared.share, desk.home().join("received"));

        // Another word, or none, opens nothing, and says nothing about those that there are.
        let other = format!("{base}/p/{}/", "0".repeat(32));
        for path in [
            "api/page",
            &format!("api/shares/{share}"),
            &format!("files/{share}/0"),
            &format!("zip/{share}"),
        ] {
            assert_eq!(
                guest.http_get(&format!("{other}{path}")).status,
                404,
                "{path}"
            );
        }
        for path in [
            "/",
            "/p/",
            "/v1/status",
            "/v1/shares",
            "/../etc/passwd",
            "/assets/../../etc/passwd",
            "/assets/%2e%2e/%2e%2e/etc/passwd",
            "/p/../../etc/passwd",
        ] {
            assert_eq!(
                guest.http_get(&format!("{base}{path}")).status,
                404,
                "{path}"
            );
        }
        let refused = guest.http("POST", &format!("{url}api/upload?name=x"), &[], b"x");
        assert_eq!(
            (refused.status, refused.json()["code"].as_str()),
            (403, Some("refused"))
        );
        assert_eq!(
            guest
                .http("POST", &format!("{url}api/text"), &[], b"x")
                .status,
            403
        );
        // A name of somebody else's leads here and is refused.
        let led = guest.http("GET", url, &[("Host", "evil.example:47448")], b"");
        assert_eq!(led.status, 421);

        let open = page(&desk, &["--none"]);
        let at = |name: &str| format!("{}api/upload?name={name}", open.urls[0]);
        for name in [
            "..",
            ".",
            "",
            "a%2fb",
            "..%2f..%2fx",
            "a%00b",
            &"x".repeat(300),
        ] {
            let refused = guest.http("POST", &at(name), &[], b"x");
            assert!(
                (400..500).contains(&refused.status),
                "{name}: {}",
                refused.status
            );
        }
        let large = noise(4, MIB as usize + 1);
        let said = guest.http("POST", &at("large"), &[], &large);
        assert_eq!(said.json()["code"], "over_quota");
        // A body that does not say how much it is fares alike.
        let chunks = chunked(&large);
        let said = guest.http(
            "POST",
            &at("large"),
            &[("Transfer-Encoding", "chunked"), ("Content-Length", "")],
            &chunks,
        );
        assert!(said.status == 0 || said.status >= 400, "{}", said.status);
        let broken = guest.http(
            "POST",
            &at("broken"),
            &[("Content-Length", "5000")],
            &noise(5, 400),
        );
        assert!(broken.status == 0 || broken.status >= 400);
        let long = guest.http(
            "POST",
            &format!("{}api/text", open.urls[0]),
            &[],
            &vec![b'a'; 70_000],
        );
        assert_eq!(long.status, 413);
        assert_eq!(
            guest
                .http("POST", &format!("{}api/text", open.urls[0]), &[], b"\xff")
                .status,
            400
        );
        // Without the word nothing of a body is waited for.
        let to: SocketAddr = base.strip_prefix("http://").unwrap().parse().unwrap();
        let none = format!(
            "POST /p/x/api/text HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Length: 9\r\n\r\n"
        );
        assert_eq!(guest.says(to, none.into_bytes()).status, 404);
        let head = format!(
            "GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
            "a".repeat(1 << 20)
        );
        let said = guest.says(to, head.into_bytes());
        assert!(said.status == 0 || said.status >= 400);
        until("nothing is left", || {
            names(&received).is_empty().then_some(())
        });
        assert!(inbox(&desk).is_empty());

        desk.hither(&["page", "end", &shown.page]).well();
        assert_eq!(guest.http_get(&format!("{url}api/page")).status, 404);
        let brief = page(&desk, &["--for", "1s", "--none"]);
        until("it ends by itself", || {
            (guest.http_get(&format!("{}api/page", brief.urls[0])).status == 404).then_some(())
        });
        desk.hither(&["page", "end"]).well();
        until("nobody listens", || {
            (guest.http_get(url).status == 0).then_some(())
        });
    });
}

/// A body in chunks (RFC 9112, 7.1).
fn chunked(bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    for chunk in bytes.chunks(10_000) {
        all.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        all.extend_from_slice(chunk);
        all.extend_from_slice(b"\r\n");
    }
    all.extend_from_slice(b"0\r\n\r\n");
    all
}

/// Place and code that open the dashboard.
#[track_caller]
fn dashboard(device: &Device) -> (String, String) {
    let mut run = device.hither(&["ui", "--print"]).well();
    let info: DashboardInfo = serde_json::from_value(run.lines.remove(0)).unwrap();
    let (base, code) = info.url.split_once("/#open=").unwrap();
    (base.to_owned(), code.to_owned())
}

#[track_caller]
fn enter(device: &Device, base: &str, code: &str) -> HttpAnswer {
    let body = json!({ "code": code }).to_string();
    let kind = [("Content-Type", "application/json")];
    device.http("POST", &format!("{base}/session"), &kind, body.as_bytes())
}

#[test]
fn w5_w8_the_dashboard_is_for_its_user_and_nobody_else() {
    lab::run(|lab| {
        let (desk, guest) = pair(lab);
        desk.up();
        let (base, code) = dashboard(&desk);
        assert!(base.starts_with("http://127.0.0.1:"), "{base}");
        let html = desk.http_get(&format!("{base}/"));
        assert_eq!(
            (html.status, html.header("content-type")),
            (200, "text/html; charset=utf-8")
        );
        let entered = enter(&desk, &base, &code).json();
        let session = entered["session"].as_str().unwrap();
        let call = |method: &str, path: &str, headers: &[(&str, &str)], body: &str| {
            let all = [headers, &[("Content-Type", "application/json")]].concat();
            desk.http(method, &format!("{base}{path}"), &all, body.as_bytes())
        };
        let own = [("X-Hither-Dashboard", session)];
        assert_eq!(
            call("GET", "/v1/status", &own, "").json()["device"],
            desk.id()
        );
        let set = json!({"key": "wait", "value": "20s"}).to_string();
        assert_eq!(call("POST", "/v1/config", &own, &set).status, 200);
        // Spent codes, made-up ones and calls without a session are refused.
        assert_eq!(enter(&desk, &base, &code).status, 403);
        assert_eq!(enter(&desk, &base, &"0".repeat(32)).status, 403);
        for headers in [
            &[][..],
            &[("X-Hither-Dashboard", "1")],
            &[("Cookie", "session=1")],
        ] {
            let refused = call("GET", "/v1/status", headers, "");
            assert_eq!(refused.status, 403, "{headers:?}");
            assert_eq!(call("POST", "/v1/config", headers, &set).status, 403);
        }
        // Another page in the same browser: by its origin, or by a name that leads here.
        for headers in [
            ("Origin", "https://evil.example"),
            ("Origin", "null"),
            ("Host", "evil.example"),
            ("Host", "127.0.0.1:1"),
        ] {
            let all = [&own[..], &[headers]].concat();
            let refused = call("GET", "/v1/status", &all, "");
            assert_eq!(refused.status, 421, "{headers:?}");
            assert_eq!(refused.header("access-control-allow-origin"), "");
        }
        assert_eq!(
            call(
                "OPTIONS",
                "/v1/config",
                &[("Origin", "https://evil.example")],
                ""
            )
            .header("access-control-allow-origin"),
            ""
        );
        // Nobody on the network, and no other user of the machine.
        let port: u16 = base.rsplit_once(':').unwrap().1.parse().unwrap();
        let outside = format!("http://{}:{port}/", desk.cable.address());
        assert_eq!(guest.http_get(&outside).status, 0);
        let request = format!(
            "exec 3<>/dev/tcp/127.0.0.1/{port} && printf 'GET / HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\nConnection: close\\r\\n\\r\\n' >&3 && head -n 1 <&3; echo ended"
        );
        let line = ["bash", "-c", &request];
        if let Some(other) = desk.program_as(4321, &line) {
            assert_eq!(other.trim(), "ended", "another user was let in");
            let same = desk.program_as(0, &line).unwrap();
            assert!(same.starts_with("HTTP/1.1 200"), "{same}");
        }
    });
}
