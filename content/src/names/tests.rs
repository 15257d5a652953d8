//! Names on file systems of all kinds, without one of them.

use super::*;
use crate::layout::Layout;
use hither_proto::{ManifestBuilder, folded};
use proptest::prelude::*;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// A case-insensitive system that takes everything else.
fn folding() -> NameRules {
    NameRules {
        folds: true,
        ..NameRules::any()
    }
}

fn layout(paths: &[&str]) -> Arc<Layout> {
    let mut builder = ManifestBuilder::new(65_536).unwrap();
    builder.folder(0, "top", 0o755, 0).unwrap();
    for path in paths {
        let names: Vec<&str> = path.split('/').collect();
        let (name, depth) = (names[names.len() - 1], names.len() as u32);
        match name {
            "" => builder
                .folder(depth - 1, names[names.len() - 2], 0o755, 0)
                .unwrap(),
            name => drop(builder.file(depth, name, 0o644, 0, 0).unwrap()),
        }
    }
    Layout::new(Arc::new(builder.finish(Vec::new()).unwrap()))
}

/// The names that a version gets, and what is left out.
fn named(
    paths: &[&str],
    rules: &NameRules,
    naming: Naming,
    before: Option<(&Layout, &Names)>,
) -> (Names, Vec<String>) {
    let layout = layout(paths);
    let names = plan(&layout, rules, naming, before);
    let entries = 1..layout.manifest().entries().len() as u32;
    let here = entries.filter(|entry| !names.is_skipped(*entry));
    let here = here
        .map(|entry| names.name(&layout, entry).to_str().unwrap().to_owned())
        .collect();
    (names, here)
}

#[test]
fn nothing_of_a_share_is_called_as_the_trash_anywhere() {
    for rules in [NameRules::any(), NameRules::windows()] {
        for name in [".hither-trash", ".Hither-TRASH"] {
            let (_, here) = named(&["a", name], &rules, Naming::Rename, None);
            assert!(!here.iter().any(|name| crate::trash::is_trash_name(name)));
            assert!(
                here.iter()
                    .any(|written| unescape(written).as_deref() == Some(name))
            );
            assert_eq!(named(&["a", name], &rules, Naming::Skip, None).1, ["a"]);
        }
    }
}

#[test]
fn what_cannot_be_written_is_written_so_that_it_can_be_read_back() {
    let windows = NameRules::windows();
    for (name, written) in [
        ("aux.c", "%61ux.c"),
        ("a\nb", "a%0Ab"),
        ("a\\b", "a%5Cb"),
        ("12:30", "12%3A30"),
        ("end.", "end%2E"),
        ("..\\x", "..%5Cx"),
        ("100%?", "100%25%3F"),
        ("CON", "%43ON"),
        (" ", "%20"),
    ] {
        assert_eq!(fit(&windows, name), written);
        assert_eq!(unescape(written).as_deref(), Some(name));
    }
    for name in ["100%", "%0A", "a b", "console", "ünïcödé", "...x"] {
        assert_eq!(fit(&windows, name), name);
    }
}

#[test]
fn names_that_are_one_there_get_two() {
    let (_, here) = named(
        &["A.pdf", "a.pdf", "b/", "b/X", "b/x"],
        &folding(),
        Naming::Rename,
        None,
    );
    assert_eq!(here, ["A.pdf", "%61.pdf", "b", "X", "%78"]);
    // What is really called so keeps its name.
    let (_, here) = named(
        &["%61.pdf", "A.pdf", "a.pdf"],
        &folding(),
        Naming::Rename,
        None,
    );
    assert_eq!(here, ["%61.pdf", "A.pdf", "%61%2Epdf"]);
    let (_, here) = named(&["A", "a"], &NameRules::any(), Naming::Rename, None);
    assert_eq!(here, ["A", "a"]);
}

#[test]
fn a_later_version_calls_things_as_the_one_before() {
    let first = layout(&["a.pdf", "d/", "d/x"]);
    let names = plan(&first, &folding(), Naming::Rename, None);
    assert!(names.is_plain());
    let before = Some((&*first, &names));
    let (second, here) = named(
        &["A.pdf", "D/", "D/x", "a.pdf", "d/", "d/x"],
        &folding(),
        Naming::Rename,
        before,
    );
    assert_eq!(here, ["%41.pdf", "%44", "x", "a.pdf", "d", "x"]);
    // Nobody else is there any more, and it is still the same file.
    let layout = layout(&["A.pdf", "D/", "D/x", "a.pdf", "d/", "d/x"]);
    let (_, here) = named(
        &["A.pdf", "D/", "D/x"],
        &folding(),
        Naming::Rename,
        Some((&layout, &second)),
    );
    assert_eq!(here, ["%41.pdf", "%44", "x"]);
}

#[test]
fn what_cannot_be_written_can_be_left_out_or_refused() {
    let paths = ["aux.c", "b", "d?/", "d?/x", "d?/y:"];
    let (names, here) = named(&paths, &NameRules::windows(), Naming::Skip, None);
    assert_eq!(here, ["b"]);
    let told = names.renamed(layout(&paths).manifest());
    assert_eq!(
        (told.skipped, told.skipped_total, told.total),
        (vec!["aux.c".into(), "d?".into()], 2, 0)
    );
    let notes = unwritable(&layout(&paths), &NameRules::windows(), "top", None);
    assert_eq!((notes.total, notes.first[0].path.as_str()), (2, "aux.c"));
    assert_eq!(
        unwritable(&layout(&paths), &NameRules::any(), "top", None).total,
        0
    );
    let (names, _) = named(&paths, &NameRules::windows(), Naming::Rename, None);
    let told = names.renamed(layout(&paths).manifest());
    assert_eq!(told.first[2], ("d?/y:".into(), "d%3F/y%3A".into()));
}

#[test]
fn the_sender_knows_what_not_everybody_can_write() {
    let entries = [
        (0, "top"),
        (1, "A"),
        (1, "a"),
        (1, "d"),
        (2, "aux.c"),
        (1, "x\ny"),
        (1, "fine"),
    ];
    let notes = unportable(entries.into_iter());
    let told: Vec<_> = notes.first.iter().map(|note| note.path.as_str()).collect();
    assert_eq!((told, notes.total), (vec!["a", "d/aux.c", "x\u{fffd}y"], 3));
}

#[test]
fn a_folder_is_asked_what_it_takes_and_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Dir::open(dir.path()).unwrap();
    let names = ["a\nb", "aux.c", "end.", "naïve: what?", "\u{85}"];
    let rules = probe(&folder, names.into_iter(), true).unwrap();
    // Whatever is under the tests: what it says of itself is true.
    for name in names {
        let there = std::fs::write(dir.path().join(name), b"x").is_ok();
        assert_eq!(rules.takes(name), there, "{name:?}");
        let _ = std::fs::remove_file(dir.path().join(name));
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// Names of the letters that make trouble, and long ones.
fn name() -> impl Strategy<Value = String> {
    let letters = prop::sample::select(vec![
        'a', 'A', '%', '6', '1', '.', ' ', '\n', '\\', ':', 'é', 'ß', 'u', 'x', '~',
    ]);
    let short = prop::collection::vec(letters.clone(), 1..6);
    let long = prop::collection::vec(letters, 90..120);
    let special = prop::sample::select(vec!["aux", "con.txt", "%61", "a%0Ab", "%~", "nul "]);
    prop_oneof![
        4 => short.prop_map(String::from_iter),
        1 => long.prop_map(String::from_iter),
        1 => special.prop_map(str::to_owned),
    ]
    .prop_filter("a name", |name| EntryName::parse(name).is_ok())
}

fn all_rules() -> impl Strategy<Value = NameRules> {
    let short = NameRules {
        longest: 60,
        ..NameRules::windows()
    };
    prop::sample::select(vec![
        NameRules::windows(),
        NameRules::any(),
        folding(),
        short,
    ])
}

proptest! {
    #[test]
    fn every_name_is_written_once_and_can_be_read_back(
        names in prop::collection::btree_set(name(), 1..30), rules in all_rules(),
    ) {
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        let layout = layout(&all);
        let plan = plan(&layout, &rules, Naming::Rename, None);
        let mut taken = HashSet::new();
        for (entry, of) in (0u32..).zip(layout.manifest().entries()).skip(1) {
            let written = plan.name(&layout, entry).to_str().unwrap();
            prop_assert!(rules.takes(written), "{:?}", written);
            let key = if rules.folds { folded(written).into_owned() } else { written.to_owned() };
            prop_assert!(taken.insert(key), "{:?} is there twice", written);
            if written != of.name.as_str() && !written.contains("%~") {
                prop_assert_eq!(unescape(written), Some(of.name.as_str().to_owned()));
            }
        }
        prop_assert_eq!(Names::decode(&plan.encode(), all.len() + 1), Ok(plan));
    }

    #[test]
    fn versions_keep_the_names_of_what_stays(
        first in prop::collection::btree_set(name(), 1..20),
        second in prop::collection::btree_set(name(), 1..20),
        rules in all_rules(),
    ) {
        let all: BTreeSet<&String> = first.union(&second).collect();
        let (old, new) = (
            layout(&first.iter().map(String::as_str).collect::<Vec<_>>()),
            layout(&all.iter().map(|name| name.as_str()).collect::<Vec<_>>()),
        );
        let before = plan(&old, &rules, Naming::Rename, None);
        let after = plan(&new, &rules, Naming::Rename, Some((&old, &before)));
        let entry = |layout: &Layout, name: &str| {
            let entries = layout.manifest().entries();
            entries.iter().position(|e| e.depth == 1 && e.name.as_str() == name).map(|at| at as u32)
        };
        for name in &first {
            let (was, is) = (entry(&old, name).unwrap(), entry(&new, name).unwrap());
            prop_assert_eq!(before.name(&old, was), after.name(&new, is));
        }
    }

    #[test]
    fn stored_names_and_rules_that_are_nonsense_are_refused_or_harmless(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(names) = Names::decode(&bytes, 100) {
            prop_assert_eq!(Names::decode(&names.encode(), 100), Ok(names));
        }
        if let Ok(rules) = NameRules::decode(&bytes) {
            prop_assert_eq!(NameRules::decode(&rules.encode()), Ok(rules));
        }
    }
}
