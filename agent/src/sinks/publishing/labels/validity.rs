//! The time until which labels are valid: the agent renews it while it looks, and users compare it when they select nodes.

use std::time::Duration;

use crate::model::time::Timestamp;

/// The time for which labels are valid after the look that they are based on.
const HOLD: Duration = Duration::from_secs(6 * 3600);

/// The remaining time at which it is renewed: at the earliest two hours after the last renewal, at the latest three.
const LATE: Duration = Duration::from_secs(3 * 3600);
const SPREAD: Duration = Duration::from_secs(3600);

/// The time until which one node's labels hold.
#[derive(Debug)]
pub struct Validity {
    left: Duration,
    until: Option<Timestamp>,
}

impl Validity {
    /// Returns the state without a time. `chance`, from 0 to 1, keeps agents that started together from renewing together.
    pub fn new(chance: f64) -> Self {
        Self {
            left: LATE + SPREAD.mul_f64(chance),
            until: None,
        }
    }

    /// Returns the time after a look: the current one, or a later one if it must be renewed or `changed` labels are written
    /// anyway.
    pub fn after(&mut self, look: Timestamp, changed: bool) -> Timestamp {
        match self.until {
            Some(until) if !changed && self.serves(until, look) => until,
            _ => *self
                .until
                .insert(Timestamp::from_unix(look.as_unix().saturating_add(HOLD.as_secs()))),
        }
    }

    /// Takes over the time that a node has already, unless it must be renewed; true if it was taken over.
    pub fn adopt(&mut self, value: &str, look: Timestamp) -> bool {
        let until = value.parse().map(Timestamp::from_unix);
        let served = until.ok().filter(|&until| self.serves(until, look));
        self.until = served.or(self.until);
        served.is_some()
    }

    /// True if enough time is left, and no more than a look can give: a clock may have been wrong, or another program set the
    /// label.
    fn serves(&self, until: Timestamp, look: Timestamp) -> bool {
        (self.left..=HOLD).contains(&until.since(look))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    fn at(hour: u64) -> Timestamp {
        Timestamp::from_unix(1_795_521_600 + hour * HOUR)
    }

    #[test]
    fn the_time_is_renewed_every_few_hours_and_never_expires() {
        for (chance, renewals) in [(0.0, 8), (1.0, 12)] {
            let mut validity = Validity::new(chance);
            let mut times = vec![validity.after(at(0), false)];
            for quarter in 1..24 * 4 {
                let look = Timestamp::from_unix(at(0).as_unix() + quarter * HOUR / 4);
                times.push(validity.after(look, false));
                assert!(times.last().is_some_and(|until| until.since(look) >= LATE), "{quarter}");
            }
            times.dedup();
            assert!(times.len().abs_diff(renewals) <= 1, "{chance}: {}", times.len());
        }
    }

    #[test]
    fn a_change_renews_the_time() {
        let mut validity = Validity::new(0.0);
        validity.after(at(0), false);
        assert_eq!(validity.after(at(1), true), at(7));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_long_validity() {
        let mut validity = Validity::new(0.0);
        validity.after(at(24), false);
        assert_eq!(validity.after(at(0), false), at(6));
    }

    #[test]
    fn only_a_time_that_a_look_can_give_is_taken_over() {
        for (value, taken) in [
            (at(6).as_unix().to_string(), true),
            (at(3).as_unix().to_string(), true),
            (at(2).as_unix().to_string(), false),
            (at(7).as_unix().to_string(), false),
            ("4102444800".to_owned(), false),
            ("-1".to_owned(), false),
            (String::new(), false),
            ("tomorrow".to_owned(), false),
        ] {
            let mut validity = Validity::new(0.0);
            assert_eq!(validity.adopt(&value, at(0)), taken, "{value}");
            let kept = taken.then(|| value.parse().expect("a number"));
            assert_eq!(
                validity.after(at(0), false),
                kept.map_or(at(6), Timestamp::from_unix),
                "{value}"
            );
        }
    }
}
