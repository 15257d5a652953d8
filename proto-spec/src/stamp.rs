//! Stamps: the order of what one device says again and again (its card, its note to a group).
//!
//! A stamp is Unix milliseconds where the clock is right, and otherwise a number that only grows:
//! the statement that was made later has the higher one. The wall clock of either side may be
//! wrong, so it orders nothing by itself.
//!
//! Rules (SPEC.md, "Clocks"):
//! - An author gives each statement a higher stamp than the one before, also after a restart and
//!   when its clock went back ([`next`]). A stamp beyond [`AUTHOR_AHEAD_MS`] of its clock came from
//!   a clock that was wrong: it goes on from the clock, unless that lies before [`EARLIEST_MS`].
//! - A reader takes a statement with a stamp at least as high as that of the one it has
//!   ([`replaces`]). A stamp that lies beyond [`AHEAD_MS`] of its own clock is not kept as an
//!   order: any later arrival replaces it. So a clock that was 73 years ahead for an hour keeps
//!   nobody unheard for 73 years.

/// How far a stamp may lie ahead of a clock that is right, milliseconds: a day, more than any time
/// zone that was set wrongly.
pub const AHEAD_MS: u64 = 24 * 3600 * 1000;

/// The same for an author and its own last stamp, milliseconds: eight days. It is more than what
/// readers hold for possible, so that an author goes back only behind stamps that readers do not
/// keep.
pub const AUTHOR_AHEAD_MS: u64 = 8 * 24 * 3600 * 1000;
/// A clock before this time, Unix milliseconds, is wrong: 1 November 2026, when this rule was
/// written.
pub const EARLIEST_MS: u64 = 1_793_491_200_000;

/// Returns whether a stamp can have been made by a clock that is right, as seen from one that says
/// `now_ms`.
pub const fn is_plausible(stamp: u64, now_ms: u64) -> bool {
    stamp <= now_ms.saturating_add(AHEAD_MS)
}

/// Returns the stamp of a statement that is made now, after one with the stamp `last` (0: there was
/// none).
pub fn next(last: u64, now_ms: u64) -> u64 {
    let possible = last <= now_ms.saturating_add(AUTHOR_AHEAD_MS) || now_ms < EARLIEST_MS;
    if possible {
        now_ms.max(last.saturating_add(1))
    } else {
        now_ms.max(1)
    }
}

/// Returns whether a statement with the stamp `new` takes the place of one with the stamp `old`,
/// for a reader whose clock says `now_ms`.
pub const fn replaces(old: u64, new: u64, now_ms: u64) -> bool {
    new >= old || !is_plausible(old, now_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_000_000_000;
    const HOUR: u64 = 3600 * 1000;
    const YEAR: u64 = 365 * 24 * HOUR;

    /// What clocks say that are wrong in the ways of the field.
    const CLOCKS: [u64; 6] = [
        0,
        NOW - 24 * HOUR,
        NOW - HOUR,
        NOW,
        NOW + HOUR,
        NOW + 73 * YEAR,
    ];

    #[test]
    fn field_a7_whatever_the_clocks_say_the_latest_statement_counts() {
        // An author whose clock jumps from any of them to any other, and a reader with any clock of
        // its own.
        for first in CLOCKS {
            for second in CLOCKS {
                for third in CLOCKS {
                    for reader in CLOCKS {
                        let (mut last, mut held) = (0, 0);
                        for clock in [first, second, third, NOW, NOW] {
                            let stamp = next(last, clock);
                            let heard = replaces(held, stamp, reader);
                            let what = format!(
                                "{first} {second} {third} {clock} at {reader}: {held} {stamp}"
                            );
                            // Refused only where the author has gone back from a time that the
                            // reader holds for possible.
                            assert!(heard || is_plausible(held, reader), "{what}");
                            if heard {
                                held = stamp;
                            }
                            last = stamp;
                        }
                        // With both clocks right nothing stays refused.
                        let stamp = next(last, NOW + HOUR);
                        assert!(
                            replaces(held, stamp, NOW + HOUR),
                            "{first} {second} {third} at {reader}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn an_older_statement_that_is_shown_again_changes_nothing() {
        assert!(!replaces(NOW, NOW - 1, NOW));
        assert!(
            !replaces(NOW + HOUR, NOW, NOW),
            "an hour ahead is a wrong time zone"
        );
        assert!(replaces(NOW, NOW, NOW));
    }

    #[test]
    fn stamps_grow_while_the_clock_stands_or_goes_back_a_little() {
        let mut last = 0;
        for clock in [NOW, NOW, NOW - HOUR, NOW - 20 * HOUR, NOW + 1] {
            let stamp = next(last, clock);
            assert!(stamp > last);
            last = stamp;
        }
        assert_eq!(next(u64::MAX, NOW), NOW);
        assert_eq!(next(0, 0), 1, "0 is no stamp");
        assert_eq!(
            next(NOW, 300_000),
            NOW + 1,
            "a machine without a clock goes on"
        );
    }
}
