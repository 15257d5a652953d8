//! Patterns of what is left out of a share: of its user, and in `.hitherignore` files.
//!
//! Siblings: a folder and what is in it, a file deeper down, something taken back in, the next
//! version by itself and by hand, a restart, an upload for another device, what is broken.

use crate::common::pair;
use hither_tests::lab::{self, Device, until};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Every path in a folder, in order.
fn paths(folder: &Path) -> Vec<String> {
    fn walk(folder: &Path, above: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = format!("{above}{}", entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &format!("{path}/"), found);
            }
            found.push(path);
        }
    }
    let mut found = Vec::new();
    walk(folder, "", &mut found);
    found.sort();
    found
}

/// The last line of a share.
fn share(device: &Device, path: &Path, options: &[&str]) -> Value {
    let line = [&["share", path.to_str().unwrap()], options].concat();
    let run = device.hither(&line).well();
    run.lines.last().unwrap().clone()
}

fn version(device: &Device) -> u64 {
    let run = device.hither(&["list"]).well();
    run.lines[0]["version"].as_u64().unwrap()
}

#[test]
fn p7_patterns_leave_out_now_and_in_every_later_version() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let code = desk.path("code");
        for folder in ["target/deep", "src", "docs/old"] {
            fs::create_dir_all(code.join(folder)).unwrap();
        }
        let write = |name: &str| fs::write(code.join(name), name).unwrap();
        for name in [
            "a.o",
            "src/b.o",
            "src/keep.o",
            "src/main.c",
            "docs/a.txt",
            "docs/old/b.txt",
        ] {
            write(name);
        }
        write("target/deep/large");
        // An excluded entry is never looked at: a pipe in there would stop whoever reads it.
        fs::write(code.join("secret.key"), "key").unwrap();
        fs::write(code.join(".hitherignore"), "/target/\n*.o\n").unwrap();
        fs::write(code.join("src/.hitherignore"), "!keep.o\n").unwrap();
        fs::write(code.join("docs/.hitherignore"), "old\n.hitherignore\n").unwrap();

        let done = share(&desk, &code, &["--watch", "--exclude", "*.key"]);
        let ticket = done["ticket"].as_str().unwrap().to_owned();
        assert_eq!(done["excluded"], 6, "{done}");
        laptop.fetch(&ticket, "one");
        let shared = [
            ".hitherignore",
            "docs",
            "docs/a.txt",
            "src",
            "src/.hitherignore",
            "src/keep.o",
            "src/main.c",
        ];
        assert_eq!(paths(&laptop.path("one/code")), shared);

        // A change of what is left out is none; after it, one that counts.
        write("target/deep/more");
        write("src/c.o");
        write("src/next.c");
        until("the next version", || (version(&desk) == 2).then_some(()));
        desk.kill();
        desk.up();
        // A file that becomes excluded leaves with the next version.
        fs::write(code.join(".hitherignore"), "/target/\n*.o\n/docs\n").unwrap();
        until("the version after", || (version(&desk) == 3).then_some(()));
        laptop.fetch(&ticket, "two");
        let shared = [
            ".hitherignore",
            "src",
            "src/.hitherignore",
            "src/keep.o",
            "src/main.c",
            "src/next.c",
        ];
        assert_eq!(paths(&laptop.path("two/code")), shared);

        // Shared again without a word about it, the key stays out; and comes in when that is said.
        let again = share(&desk, &code, &[]);
        assert_eq!(
            (&again["version"], &again["ticket"]),
            (&3.into(), &ticket.as_str().into())
        );
        let listed = desk.hither(&["list"]).well().lines;
        assert_eq!(listed[0]["exclude"][0], "*.key");
        let all = share(&desk, &code, &["--no-exclude"]);
        assert_eq!(all["version"], 4, "{all}");

        // A pattern that cannot be understood is named, and nothing is shared.
        let line = [
            "share",
            code.to_str().unwrap(),
            "--exclude",
            "ok",
            "--exclude",
            "a[",
        ];
        let error = desk.hither(&line).failed(2);
        assert!(error.message.contains("a["), "{error:?}");
        fs::write(code.join("src/.hitherignore"), "x[\n").unwrap();
        let error = desk.hither(&["share", code.to_str().unwrap()]).failed(2);
        assert!(
            error.message.contains("src/.hitherignore") && error.message.contains("x["),
            "{error:?}"
        );
    });
}

#[test]
fn p7_what_is_uploaded_for_another_device_honours_the_files() {
    lab::run(|lab| {
        let world = crate::relay_world::World::new(lab);
        let (desk, laptop) = world.pair();
        let open = laptop.path("open");
        fs::create_dir_all(open.join("things")).unwrap();
        for name in ["things/private.txt", "things/public.txt"] {
            fs::write(open.join(name), name).unwrap();
        }
        fs::write(open.join("things/.hitherignore"), "private*\n").unwrap();
        laptop
            .hither(&["expose", open.to_str().unwrap(), "--to", "desk"])
            .well();
        let run = desk
            .hither(&["upload", "--on", "laptop", "open/things"])
            .well();
        let done = run.lines.last().unwrap();
        println!("{done}");
        let ticket = done["done"]["ticket"].as_str().unwrap();
        desk.fetch(ticket, "got");
        assert_eq!(
            paths(&desk.path("got/things")),
            [".hitherignore", "public.txt"]
        );
    });
}
