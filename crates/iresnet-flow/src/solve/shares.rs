//! From the whole inverse to its layers: what each may err when the whole may err so much.
//!
//! The inverse passes the layers from the last to the first. What one of them is wrong by, each layer after it in that
//! order amplifies by at most the Lipschitz constant of its inverse, `1 / (1 - L)` of a residual layer. Factors here are in
//! the order of the inverse, the last layer's first.

/// What each layer may err, so that the whole inverse errs by at most `tolerance`: equal shares at the chain's input,
/// each divided by what the layers that follow amplify it by.
///
/// Shares shrink fast where factors are large, and soon lie below the rounding of the number format; a solver then
/// ends at that floor, and error bars say what was reached.
pub fn tolerance_shares(tolerance: f64, amplification: &[f64]) -> Vec<f64> {
    let mut share = tolerance / amplification.len().max(1) as f64;
    let mut shares = vec![0.0; amplification.len()];
    for (slot, factor) in shares.iter_mut().zip(amplification).rev() {
        *slot = share;
        share /= factor;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_spent_to_the_full_make_the_tolerance() {
        let factors = [10.0, 1.0, 2.0, 4.0];
        let shares = tolerance_shares(1e-3, &factors);
        let total = shares.iter().zip(factors).fold(0.0, |total, (share, factor)| total * factor + share);
        // Four sums and products in float64.
        assert!((total - 1e-3).abs() < 1e-15, "{total:e}");
        // The first layer solved is amplified by those behind it.
        assert!((shares[0] - 1e-3 / 4.0 / 8.0).abs() < 1e-18, "{shares:?}");
        assert!(tolerance_shares(1e-3, &[]).is_empty());
    }
}
