//! Round numbers along an axis.

/// Up to so many powers of ten a logarithmic axis is marked at 1, 2 and 5 of each.
const DECADES: f64 = 3.0;

/// Ticks of an axis from `low` to `high`, and what stands beside each.
pub fn labelled((low, high): (f64, f64), logarithmic: bool) -> Vec<(f64, String)> {
    let decades = (high / low).log10();
    let (ticks, text): (Vec<f64>, fn(f64) -> String) = match logarithmic {
        false => (linear((low, high)), decimal),
        true if decades <= DECADES => (digits((low, high)), decimal),
        true => (powers((low, high)), power),
    };
    ticks.into_iter().map(|tick| (tick, text(tick))).collect()
}

/// About five round numbers between the ends.
fn linear((low, high): (f64, f64)) -> Vec<f64> {
    let rough = (high - low) / 5.0;
    let unit = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|s| s * unit).into_iter().find(|s| *s >= rough * 0.99).unwrap_or(unit);
    let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
    (first..=last).map(|i| i as f64 * step).collect()
}

/// 1, 2 and 5 of each power of ten.
fn digits((low, high): (f64, f64)) -> Vec<f64> {
    let powers = low.log10().floor() as i32..=high.log10().floor() as i32;
    let ticks = powers.flat_map(|exponent| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(exponent)));
    ticks.filter(|tick| (low..=high).contains(tick)).collect()
}

/// Every other power of ten.
fn powers((low, high): (f64, f64)) -> Vec<f64> {
    (low.log10().ceil() as i32..=high.log10().floor() as i32).step_by(2).map(|exponent| 10f64.powi(exponent)).collect()
}

/// The number with six decimals at most, and a true minus sign.
fn decimal(value: f64) -> String {
    ((value * 1e6).round() / 1e6).to_string().replace('-', "\u{2212}")
}

/// `10` with a raised exponent.
fn power(value: f64) -> String {
    let exponent = value.log10().round().to_string().replace('-', "\u{2212}");
    format!("10<tspan dy=\"-5\" font-size=\"10\">{exponent}</tspan>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(linear((0.0, 1.0)).len(), 6);
        assert_eq!(linear((0.0, 20.0)), [0.0, 5.0, 10.0, 15.0, 20.0]);
        assert_eq!(linear((-1.05, 1.05)), [-1.0, -0.5, 0.0, 0.5, 1.0]);
        assert_eq!([decimal(0.1 + 0.2), decimal(-1.0), decimal(20.0)], ["0.3", "\u{2212}1", "20"]);
        let values = |ends, logarithmic| labelled(ends, logarithmic).into_iter().map(|(tick, _)| tick);
        assert_eq!(values((1e-8, 1.0), true).len(), 5);
        assert!(values((0.03, 12.0), true).eq([0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]));
    }
}
