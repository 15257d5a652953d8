//! The places of a share at which a device looks for its next span.
//!
//! Every device reads in an order of its own, so that devices which fetch the same share have
//! different parts to give each other.

/// Places tried for a span that no other fetcher has.
pub(crate) const PLACES: u64 = 8;

/// The reading order of one fetch.
#[derive(Debug)]
pub(crate) struct ReadingOrder {
    /// Makes this device read the share in another order than its neighbours.
    seed: u64,
    /// Number of requests made since a device outside the neighbourhood was first seen to fetch
    /// too; `None` while none was.
    rounds: Option<u64>,
    /// Number of wishes made, so that each looks elsewhere.
    wishes: u64,
}

impl ReadingOrder {
    /// The order that belongs to `seed`.
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            rounds: None,
            wishes: 0,
        }
    }

    /// Begins another space: it is read onwards from one place again.
    pub const fn reset(&mut self) {
        self.rounds = None;
    }

    /// Returns whether spans are taken from many places.
    pub const fn is_spread(&self) -> bool {
        self.rounds.is_some()
    }

    /// Takes spans from many places from now on.
    pub fn spread(&mut self) {
        self.rounds.get_or_insert(0);
    }

    /// Moves on after a request.
    pub fn asked(&mut self) {
        self.rounds = self.rounds.map(|count| count + 1);
    }

    /// Moves on after a wish.
    pub const fn wished(&mut self) {
        self.wishes += 1;
    }

    /// Returns how many places are worth a look.
    pub const fn places(&self) -> u64 {
        if self.is_spread() { PLACES } else { 1 }
    }

    /// Returns the n-th place to look at among `spans` spans: always the same one while nobody
    /// outside the neighbourhood fetches, so that reading goes on in order.
    pub fn place(&self, n: u64, spans: u32) -> u32 {
        self.own_place(self.rounds.map_or(0, |count| count * PLACES + n), spans)
    }

    /// Returns the n-th place to look at for a wish.
    pub fn place_of_wish(&self, n: u64, spans: u32) -> u32 {
        self.own_place(self.wishes * PLACES + n, spans)
    }

    /// The n-th place of this device's own order.
    fn own_place(&self, n: u64, spans: u32) -> u32 {
        // SplitMix64: cheap, and neighbouring inputs give unrelated places.
        let mut z = (self.seed ^ n).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % u64::from(spans.max(1))) as u32
    }
}
