//! Colours of series.

/// Colours that stay apart in print and for the colour-blind (Okabe and Ito), the last three darker, for a contrast of 3 to
/// white.
pub const COLOURS: [&str; 6] = ["#d55e00", "#0072b2", "#009e73", "#c0609a", "#b08500", "#3a97cc"];

/// Colour of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Colour {
    /// One of [`COLOURS`].
    Number(usize),
    /// Between the second of them (0) and the first (1).
    Between(f64),
}

impl Colour {
    /// Its value in CSS.
    pub(super) fn css(self) -> String {
        match self {
            Colour::Number(i) => format!("var(--series-{0}, {1})", i % COLOURS.len(), COLOURS[i % COLOURS.len()]),
            Colour::Between(at) => {
                let part =
                    |colour: &str, i: usize| u8::from_str_radix(&colour[1 + 2 * i..3 + 2 * i], 16).expect("a colour");
                let mixed = [0, 1, 2].map(|i| {
                    let [first, second] = [0, 1].map(|c| f64::from(part(COLOURS[c], i)));
                    (at * first + (1.0 - at) * second).round() as u8
                });
                format!("#{:02x}{:02x}{:02x}", mixed[0], mixed[1], mixed[2])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_mix() {
        // Half of #0072b2 and half of #d55e00.
        assert_eq!(Colour::Between(0.5).css(), "#6b6859");
    }
}
