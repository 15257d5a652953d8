//! A stranger's manifest must never do this: name a file outside the share. `hostile/names.txt` is
//! the corpus; `hostile/odd.txt` has names that are hostile on some systems only, and are written
//! in another way there.

use hither_proto::{Manifest, ManifestError, wire};
use prost::Message;

/// One name per line, with Rust's escapes for what cannot be written plainly; `#` begins a comment.
fn corpus(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| unescape(line.strip_suffix('$').unwrap_or(line)))
        .collect()
}

fn unescape(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match rest.next().unwrap() {
            'u' => {
                let code: String = rest.by_ref().skip(1).take_while(|c| *c != '}').collect();
                out.push(char::from_u32(u32::from_str_radix(&code, 16).unwrap()).unwrap());
            }
            'n' => out.push('\n'),
            '0' => out.push('\0'),
            c => out.push(c),
        }
    }
    out
}

fn entry(depth: u32, name: &str, kind: wire::EntryKind) -> wire::Entry {
    let target = if kind == Symlink {
        "/".to_owned()
    } else {
        String::new()
    };
    wire::Entry {
        depth,
        name: name.to_owned(),
        kind: kind.into(),
        mode: 0o644,
        mtime_ns: 0,
        size: 0,
        target,
    }
}

fn encode(entries: &[wire::Entry]) -> Vec<u8> {
    let header = wire::ManifestHeader {
        format: 1,
        name: entries[0].name.clone(),
        single_file: entries[0].kind() == File,
        entries: entries.len() as u64,
        chunks: 0,
        average: 65_536,
    };
    let mut out = header.encode_length_delimited_to_vec();
    entries
        .iter()
        .for_each(|entry| out.extend(entry.encode_length_delimited_to_vec()));
    out
}

use wire::EntryKind::{File, Folder, Symlink};

#[test]
fn no_hostile_name_gets_into_a_manifest_anywhere() {
    let names = corpus(include_str!("hostile/names.txt"));
    assert!(names.len() > 15);
    for name in names {
        for kind in [File, Folder, Symlink] {
            let top = encode(&[entry(0, &name, kind)]);
            assert!(
                matches!(Manifest::decode(&top), Err(ManifestError::Name { .. })),
                "{name:?} on top"
            );
            let inside = encode(&[
                entry(0, "top", Folder),
                entry(1, "sub", Folder),
                entry(2, &name, kind),
            ]);
            assert!(
                matches!(Manifest::decode(&inside), Err(ManifestError::Name { .. })),
                "{name:?} inside"
            );
        }
    }
}

#[test]
fn field_b13_what_is_odd_somewhere_is_written_as_one_component_there() {
    use hither_content::{FetchTarget, Handles, IfExists, NameRules, TargetOptions, unescape};
    let to = tempfile::tempdir().unwrap();
    let names = corpus(include_str!("hostile/odd.txt"));
    assert!(names.len() > 30);
    let mut entries = vec![entry(0, "top", Folder)];
    entries.extend(names.iter().map(|name| entry(1, name, File)));
    let layout = hither_content::Layout::new(std::sync::Arc::new(
        Manifest::decode(&encode(&entries)).unwrap(),
    ));
    let options = TargetOptions {
        rules: Some(NameRules::windows()),
        ..TargetOptions::new(IfExists::Fail)
    };
    let target = FetchTarget::prepare(&Handles::new(16), to.path(), layout, &options).unwrap();
    let path = target.finish().unwrap().place.path();
    let mut back = Vec::new();
    for written in crate::common::names(&path) {
        assert!(NameRules::windows().takes(&written), "{written:?}");
        back.push(unescape(&written).unwrap_or(written));
    }
    let mut wanted = names;
    wanted.sort();
    back.sort();
    assert_eq!(back, wanted);
}

#[test]
fn trees_that_lead_outside_are_refused() {
    let top = || entry(0, "top", Folder);
    let trees = [
        // Through a link, to its target.
        vec![top(), entry(1, "link", Symlink), entry(2, "passwd", File)],
        vec![entry(0, "top", Symlink), entry(1, "passwd", File)],
        // Below a file; several levels at once; a second top; nothing on top.
        vec![top(), entry(1, "file", File), entry(2, "inside", File)],
        vec![top(), entry(2, "too deep", File)],
        vec![top(), entry(u32::MAX, "much too deep", File)],
        vec![top(), entry(0, "second", File)],
        vec![entry(1, "floating", File)],
        // A link and a folder of one name: the folder's files would go through the link.
        vec![
            top(),
            entry(1, "a", Symlink),
            entry(1, "a", Folder),
            entry(2, "x", File),
        ],
    ];
    for tree in trees {
        assert!(Manifest::decode(&encode(&tree)).is_err(), "{tree:?}");
    }
}

/// A link and a folder that are one to a file system that folds names get two names there.
#[test]
fn field_b13_no_folder_goes_through_a_link_that_it_folds_to() {
    use hither_content::{FetchTarget, Handles, IfExists, NameRules, TargetOptions};
    for (link, folder) in [("A", "a"), ("\u{e9}", "e\u{301}"), ("\u{fb01}", "fi")] {
        let to = tempfile::tempdir().unwrap();
        let tree = [
            entry(0, "top", Folder),
            entry(1, link, Symlink),
            entry(1, folder, Folder),
            entry(2, "x", File),
        ];
        let layout = hither_content::Layout::new(std::sync::Arc::new(
            Manifest::decode(&encode(&tree)).unwrap(),
        ));
        let options = TargetOptions {
            rules: Some(NameRules::windows()),
            ..TargetOptions::new(IfExists::Fail)
        };
        let target = FetchTarget::prepare(&Handles::new(16), to.path(), layout, &options).unwrap();
        let path = target.finish().unwrap().place.path();
        let names = crate::common::names(&path);
        let folded: std::collections::HashSet<_> = names
            .iter()
            .map(|name| hither_proto::folded(name).into_owned())
            .collect();
        assert_eq!((names.len(), folded.len()), (2, 2), "{names:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_link_to_anywhere_arrives_as_a_link_and_touches_nothing() {
    let to = tempfile::tempdir().unwrap();
    let victim = to.path().join("victim");
    std::fs::write(&victim, "untouched").unwrap();
    let mut link = entry(1, "link", Symlink);
    link.target = victim.to_str().unwrap().to_owned();
    let manifest = Manifest::decode(&encode(&[entry(0, "top", Folder), link])).unwrap();
    let layout = hither_content::Layout::new(std::sync::Arc::new(manifest));
    let finished = crate::common::prepare(to.path(), &layout, hither_content::IfExists::Fail)
        .unwrap()
        .finish()
        .unwrap();
    assert_eq!(
        finished.place.path().join("link").read_link().unwrap(),
        victim
    );
    assert_eq!(std::fs::read(&victim).unwrap(), b"untouched");
}
