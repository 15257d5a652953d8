//! What happened, as a number that names the run and, on demand, as lines to read.

/// Folds every event into a hash; keeps the lines too when asked to.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hash: u64,
    events: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    pub fn new(keep_lines: bool) -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            events: 0,
            lines: keep_lines.then(Vec::new),
        }
    }

    /// Something happened at `now` on device `who`.
    pub fn note(&mut self, now: u64, who: usize, what: &'static str, facts: [u64; 3]) {
        self.events += 1;
        // FNV-1a over words instead of bytes: order and values count, collisions of whole runs do
        // not happen.
        let kind = what
            .bytes()
            .fold(0u64, |h, b| h.wrapping_mul(31) + u64::from(b));
        for word in [now, who as u64, kind, facts[0], facts[1], facts[2]] {
            self.hash = (self.hash ^ word)
                .wrapping_mul(0x0000_0100_0000_01b3)
                .rotate_left(23);
        }
        if let Some(lines) = &mut self.lines {
            let [a, b, c] = facts;
            lines.push(format!(
                "{:>12.6} d{who:<2} {what:<14} {a} {b} {c}",
                now as f64 / 1e9
            ));
        }
    }

    pub const fn hash(&self) -> u64 {
        self.hash
    }

    pub const fn events(&self) -> u64 {
        self.events
    }

    /// The lines kept, if any.
    pub fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}
