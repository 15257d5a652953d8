//! What the child was promised, kept outside the file system that loses its power.

use std::collections::{BTreeMap, BTreeSet};

/// All promises made by one relay, over all rounds on it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Messages that were acknowledged, and what they are, by queue and place.
    mail: BTreeMap<(String, u64), String>,
    /// Up to where a queue was, perhaps, and was surely forgotten.
    forgetting: BTreeMap<String, u64>,
    forgotten: BTreeMap<String, u64>,
    /// Chunks that were reported as stored, and versions that were complete.
    chunks: BTreeSet<String>,
    versions: BTreeSet<String>,
}

impl Ledger {
    /// Messages, chunks and versions that were promised.
    pub(crate) fn promised(&self) -> [usize; 3] {
        [self.mail.len(), self.chunks.len(), self.versions.len()]
    }

    /// Takes note of one line of a writing child.
    pub(crate) fn read(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["mail", queue, seq, what] => {
                self.mail
                    .insert((queue.into(), seq.parse().unwrap()), what.into());
            }
            ["forgetting", queue, seq] => {
                self.forgetting.insert(queue.into(), seq.parse().unwrap());
            }
            ["forgotten", queue, seq] => {
                self.forgotten.insert(queue.into(), seq.parse().unwrap());
            }
            ["chunk", ..] => drop(self.chunks.insert(line.into())),
            ["version", ..] => drop(self.versions.insert(line.into())),
            ["full"] => panic!("the image is too small for this test"),
            _ => {}
        }
    }

    /// Compares what a reading child found with what was promised; one line for each kind of broken
    /// promise.
    pub(crate) fn compare(&mut self, found: &[String]) -> Vec<String> {
        let mut failures = Vec::new();
        let (mut mail, mut rest) = (BTreeMap::new(), BTreeSet::new());
        for line in found {
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["mail", queue, seq, what] => {
                    mail.insert(
                        (queue.to_owned(), seq.parse::<u64>().unwrap()),
                        what.to_owned(),
                    );
                }
                ["chunk" | "version", ..] => drop(rest.insert(line.clone())),
                ["open", "rebuilt", ..] => {
                    failures.push(format!("the state does not open: {line}"))
                }
                ["broken", ..] => failures.push(line.clone()),
                _ => {}
            }
        }
        let up_to =
            |of: &BTreeMap<String, u64>, queue: &String| of.get(queue).copied().unwrap_or(0);
        let kept = self
            .mail
            .iter()
            .filter(|((queue, seq), _)| *seq > up_to(&self.forgetting, queue));
        let lost = kept
            .filter(|(place, what)| mail.get(*place) != Some(what))
            .count();
        let gone = mail
            .keys()
            .filter(|(queue, seq)| *seq <= up_to(&self.forgotten, queue))
            .count();
        let chunks = self.chunks.difference(&rest).count();
        let versions = self.versions.difference(&rest).count();
        for (count, of, what) in [
            (lost, self.mail.len(), "acknowledged messages are lost"),
            (gone, self.mail.len(), "forgotten messages are back"),
            (chunks, self.chunks.len(), "stored chunks are lost"),
            (
                versions,
                self.versions.len(),
                "complete versions are not complete",
            ),
        ] {
            if count > 0 {
                failures.push(format!("{count} of {of}: {what}"));
            }
        }
        // What is there now was read back from the disk: from here on it must stay.
        self.mail.extend(mail);
        failures
    }
}
