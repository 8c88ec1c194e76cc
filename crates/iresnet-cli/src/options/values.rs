//! Ranges of numbers, for `value_parser`: the message names option and value by itself.

use std::str::FromStr;

/// Images a call; more do not get faster, and fill the memory.
const MOST_IMAGES: usize = 1 << 16;

fn number<T: FromStr>(text: &str, usable: impl Fn(&T) -> bool, rule: &str) -> Result<T, String> {
    text.parse().ok().filter(usable).ok_or_else(|| format!("must be {rule}"))
}

/// A count that is not 0.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    number(text, |n| *n >= 1, "a whole number of at least 1")
}

/// Images of one call.
pub fn images(text: &str) -> Result<usize, String> {
    number(text, |n| (1..=MOST_IMAGES).contains(n), &format!("from 1 to {MOST_IMAGES}"))
}

/// A tolerance; infinite is as good as none.
pub fn not_negative(text: &str) -> Result<f64, String> {
    number(text, |x| *x >= 0.0, "zero or positive")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_refused() {
        assert_eq!(at_least_one("3"), Ok(3));
        assert_eq!(images("65536"), Ok(65536));
        assert_eq!(not_negative("0"), Ok(0.0));
        assert!(["0", "-1", "a"].iter().all(|text| at_least_one(text).is_err()));
        assert!(["0", "65537"].iter().all(|text| images(text).is_err()));
        assert!(["-1e-9", "nan"].iter().all(|text| not_negative(text).is_err()));
    }
}
