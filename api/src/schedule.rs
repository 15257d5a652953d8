//! Limits that are in force at certain times of the week.
//!
//! A rule is a text like `mon-fri 08:00-18:00 upload=1MB download=4MB`: days (all when none is
//! named), a time of day (all of it when none is named), and the rates that then take the place of
//! the plain limits; `upload=any` lifts one. A time that ends before it begins goes on after
//! midnight, and belongs to the day on which it began.

use crate::limits::{Rates, take_rates};
use std::num::NonZeroU64;
use std::{fmt, str::FromStr};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// Minutes of a day.
const DAY: u16 = 24 * 60;
/// Every day, as bits from Monday on.
const ALL_DAYS: u8 = (1 << DAYS.len()) - 1;

/// A moment of the week, on the clock on the wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeekTime {
    /// Days since Monday, 0 to 6.
    pub day: u8,
    /// Minutes since midnight, 0 to 1439.
    pub minute: u16,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRule {
    /// Days on which it begins, as bits from Monday on.
    days: u8,
    /// First minute, and the first one after it.
    from: u16,
    to: u16,
    rates: Rates,
}

/// The text is no rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a rule like \"mon-fri 08:00-18:00 upload=1MB download=4MB\"")]
pub struct ScheduleError;

impl ScheduleRule {
    /// Whether it is in force at that moment.
    pub fn is_in_force(&self, at: WeekTime) -> bool {
        let on = |day: u8| self.days & (1 << (day % 7)) != 0;
        if self.from < self.to {
            return on(at.day) && (self.from..self.to).contains(&at.minute);
        }
        (on(at.day) && at.minute >= self.from) || (on(at.day + 6) && at.minute < self.to)
    }

    /// What then goes instead of this limit on what is sent.
    pub fn upload(&self, plain: Option<NonZeroU64>) -> Option<NonZeroU64> {
        self.rates.upload.unwrap_or(plain)
    }

    /// What then goes instead of this limit on what is received.
    pub fn download(&self, plain: Option<NonZeroU64>) -> Option<NonZeroU64> {
        self.rates.download.unwrap_or(plain)
    }
}

impl FromStr for ScheduleRule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let (when, rates) = take_rates(text).ok_or(ScheduleError)?;
        let (mut days, mut times) = (0, None);
        for word in when.split_whitespace() {
            match (parse_days(word), parse_times(word)) {
                // Days come before the time.
                (Some(more), _) if times.is_none() => days |= more,
                (_, Some(said)) if times.is_none() => times = Some(said),
                _ => return Err(ScheduleError),
            }
        }
        let (from, to) = times.unwrap_or((0, DAY));
        Ok(Self {
            days: if days == 0 { ALL_DAYS } else { days },
            from,
            to,
            rates,
        })
    }
}

/// `sat`, `mon-fri`, or `fri-mon` over the end of the week.
fn parse_days(word: &str) -> Option<u8> {
    let day = |text: &str| DAYS.iter().position(|day| text.eq_ignore_ascii_case(day));
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    let (first, last) = (day(first)?, day(last)?);
    let count = (last + DAYS.len() - first) % DAYS.len();
    Some((0..=count).fold(0, |days, n| days | 1 << ((first + n) % DAYS.len())))
}

/// `08:00-18:00`; it may end at 24:00.
fn parse_times(word: &str) -> Option<(u16, u16)> {
    let (from, to) = word.split_once('-')?;
    let (from, to) = (parse_minute(from)?, parse_minute(to)?);
    (from != to && from < DAY && to > 0).then_some((from, to))
}

fn parse_minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| {
        text.parse::<u16>()
            .ok()
            .filter(|_| text.len() <= 2 && !text.starts_with('+'))
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    (minute < 60 && hour * 60 + minute <= DAY).then_some(hour * 60 + minute)
}

impl fmt::Display for ScheduleRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named: Vec<&str> = DAYS
            .iter()
            .enumerate()
            .filter(|(n, _)| self.days & (1 << n) != 0)
            .map(|(_, day)| *day)
            .collect();
        match self.days {
            ALL_DAYS => {}
            0b001_1111 => write!(f, "mon-fri ")?,
            _ => write!(f, "{} ", named.join(" "))?,
        }
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        write!(f, "{}-{}{}", clock(self.from), clock(self.to), self.rates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> ScheduleRule {
        text.parse().unwrap()
    }

    fn at(day: &str, time: &str) -> WeekTime {
        let day = DAYS.iter().position(|known| *known == day).unwrap() as u8;
        WeekTime {
            day,
            minute: parse_minute(time).unwrap(),
        }
    }

    #[test]
    fn a_rule_is_in_force_in_its_time_and_on_its_days() {
        let work = rule("mon-fri 08:00-18:00 upload=1MB download=4MB");
        assert!(work.is_in_force(at("mon", "8:00")) && work.is_in_force(at("fri", "17:59")));
        assert!(!work.is_in_force(at("mon", "07:59")) && !work.is_in_force(at("mon", "18:00")));
        assert!(!work.is_in_force(at("sat", "12:00")));
        let weekend = rule("sat sun upload=any");
        assert!(weekend.is_in_force(at("sat", "0:00")) && weekend.is_in_force(at("sun", "23:59")));
        assert!(!weekend.is_in_force(at("mon", "0:00")));
        assert!(rule("fri-mon upload=1MB").is_in_force(at("sun", "3:00")));
        assert!(!rule("fri-mon upload=1MB").is_in_force(at("wed", "3:00")));
        let always = rule("18:00-24:00 upload=1MB");
        assert!(always.is_in_force(at("wed", "23:59")) && !always.is_in_force(at("wed", "0:00")));
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_began() {
        let night = rule("fri 22:00-06:00 upload=any");
        assert!(night.is_in_force(at("fri", "22:00")) && night.is_in_force(at("sat", "05:59")));
        assert!(!night.is_in_force(at("fri", "05:00")) && !night.is_in_force(at("sat", "22:00")));
        let sunday = rule("sun 22:00-06:00 upload=any");
        assert!(
            sunday.is_in_force(at("mon", "1:00")),
            "over the end of the week"
        );
    }

    #[test]
    fn what_a_rule_does_not_say_stays_as_it_is() {
        let plain = NonZeroU64::new(7_000_000);
        let rule = rule("upload=any");
        assert_eq!((rule.upload(plain), rule.download(plain)), (None, plain));
    }

    #[test]
    fn rules_are_shown_as_they_can_be_written() {
        for (text, shown) in [
            (
                "Mon-Fri 8:00-18:00 upload=1MB",
                "mon-fri 08:00-18:00 upload=1000000B/s",
            ),
            (
                "sat sun download=any upload=8Mbit",
                "sat sun 00:00-24:00 upload=1000000B/s download=any",
            ),
            ("22:00-06:00 upload=any", "22:00-06:00 upload=any"),
        ] {
            assert_eq!(rule(text).to_string(), shown);
            assert_eq!(rule(shown), rule(text));
        }
        for wrong in [
            "",
            "mon-fri 08:00-18:00",
            "mon-foo 08:00-18:00 upload=1MB",
            "08:00-18:00 mon upload=1MB",
            "08:00-08:00 upload=1MB",
            "08:00-24:01 upload=1MB",
            "24:00-08:00 upload=1MB",
            "8-18 upload=1MB",
            "08:60-18:00 upload=1MB",
            "08:00-18:00 20:00-22:00 upload=1MB",
            "mon upload=fast",
        ] {
            assert_eq!(wrong.parse::<ScheduleRule>(), Err(ScheduleError), "{wrong}");
        }
    }
}
