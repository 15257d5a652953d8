//! What the child was promised, kept outside the file system that loses its power.

use std::collections::{BTreeMap, BTreeSet};

/// All promises made by one store, over all rounds on it.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Batches that must be there (or removed by a later one).
    durable: BTreeSet<u64>,
    /// Lazily committed batches in the order of their acknowledgement.
    lazy: Vec<u64>,
    /// For each running durable operation: how many of `lazy` it covers.
    running: BTreeMap<u64, usize>,
    counter: u64,
}

impl Ledger {
    /// Batches known to be durable.
    pub(crate) fn durable(&self) -> usize {
        self.durable.len()
    }

    /// Takes note of one line of a writing child.
    pub(crate) fn read(&mut self, line: &str) {
        let mut words = line.split(' ');
        let word = words.next().unwrap_or_default();
        let number = words.next().and_then(|number| number.parse::<u64>().ok());
        match (word, number) {
            ("begin", Some(id)) => {
                self.running.insert(id, self.lazy.len());
            }
            ("done", Some(id)) => {
                let covered = self.running.remove(&id).expect("done after begin");
                self.durable.extend(&self.lazy[..covered]);
                if id < 1 << 60 {
                    self.durable.insert(id);
                }
            }
            ("lazy", Some(number)) => self.lazy.push(number),
            ("counter", Some(value)) => self.counter = self.counter.max(value),
            ("full", _) => panic!("the image is too small for this test"),
            // A store that had to be rebuilt when it was opened for writing was sound when it was
            // verified before.
            ("open", _) => assert!(
                !line.contains("rebuilt") || self.durable.is_empty(),
                "{line}"
            ),
            _ => {}
        }
    }

    /// Compares what a reading child found with what was promised; one line for each broken
    /// promise.
    pub(crate) fn compare(&mut self, found: &[String]) -> Vec<String> {
        let mut failures = Vec::new();
        let mut whole = BTreeSet::new();
        let mut tombs = BTreeSet::new();
        let mut counter = 0;
        for line in found {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "open" if rest.starts_with("rebuilt") => {
                    failures.push(format!(
                        "does not open ({} batches promised): {rest}",
                        self.durable.len()
                    ));
                    return failures;
                }
                "whole" => drop(whole.insert(rest.parse::<u64>().unwrap())),
                "tomb" => drop(tombs.insert(rest.parse::<u64>().unwrap())),
                "half" => failures.push(format!("a batch is half there: {rest}")),
                "counter" => counter = rest.parse().unwrap(),
                _ => {}
            }
        }
        let lost = self
            .durable
            .iter()
            .filter(|number| !whole.contains(number) && !tombs.contains(number))
            .count();
        if lost > 0 {
            failures.push(format!(
                "{lost} of {} acknowledged batches are lost",
                self.durable.len()
            ));
        }
        if counter < self.counter {
            failures.push(format!(
                "the counter was acknowledged at {} and is {counter}",
                self.counter
            ));
        }
        // An entry that was not promised but is there now was read back from the disk: from here on
        // it must stay.
        self.durable.extend(whole);
        self.lazy.clear();
        self.running.clear();
        self.counter = counter;
        failures
    }
}
