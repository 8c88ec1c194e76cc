//! From the blocks to the network: what each may err when the whole may err so much, and what their errors add up to.
//!
//! The inverse passes the blocks from the last to the first. What one of them is wrong by, each block after it in that
//! order amplifies by at most `1 / (1 - L)`: the preimages of `y` and `y'` under `x + g(x)` are at most
//! `||y - y'|| / (1 - L)` apart. Constants here are in the order of the inverse, the last block's first.

/// What each block may err, so that the whole inverse errs by at most `tolerance`: equal shares at the network's input,
/// each divided by what the blocks that follow amplify it by.
///
/// Shares shrink fast where constants are near 1, and soon lie below the rounding of the number format; a solver then
/// ends at that floor, and error bars say what was reached. `None` unless every constant is in
/// `[0, 1)`.
pub fn share_tolerance(tolerance: f64, constants: &[f64]) -> Option<Vec<f64>> {
    let contractive = constants.iter().all(|lipschitz| (0.0..1.0).contains(lipschitz));
    contractive.then(|| {
        let mut share = tolerance / constants.len().max(1) as f64;
        let mut shares = vec![0.0; constants.len()];
        for (slot, lipschitz) in shares.iter_mut().zip(constants).rev() {
            *slot = share;
            share *= 1.0 - lipschitz;
        }
        shares
    })
}

/// Bound on the distance of the whole inverse from the true preimage, from the error bars of its blocks: as good as these, up
/// to their estimate of round-off.
///
/// `None` if a block has no bar, or a constant is not in `[0, 1)`.
///
/// # Panics
/// If there are not as many bars as constants.
pub fn network_error_bar(bars: &[Option<f64>], constants: &[f64]) -> Option<f64> {
    assert_eq!(bars.len(), constants.len(), "an error bar and a Lipschitz constant for every block");
    bars.iter().zip(constants).try_fold(0.0, |total, (bar, lipschitz)| {
        (0.0..1.0).contains(lipschitz).then_some(())?;
        Some(total / (1.0 - lipschitz) + (*bar)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shares spent to the full make the tolerance: the two functions are each other's inverse.
    #[test]
    fn shares_add_up_to_the_tolerance() {
        let constants = [0.9, 0.0, 0.5, 0.73];
        let shares = share_tolerance(1e-3, &constants).unwrap();
        let bars: Vec<Option<f64>> = shares.iter().copied().map(Some).collect();
        let total = network_error_bar(&bars, &constants).unwrap();
        assert!((total - 1e-3).abs() < 1e-15, "{total:e}");
        // The first block solved is amplified by 1 / (1 * 0.5 * 0.27).
        assert!((shares[0] - 1e-3 / 4.0 * 0.5 * 0.27).abs() < 1e-18, "{shares:?}");
    }

    #[test]
    fn nothing_is_promised_without_contraction() {
        assert_eq!(share_tolerance(1e-3, &[0.5, 1.0]), None);
        assert_eq!(share_tolerance(1e-3, &[f64::NAN]), None);
        assert_eq!(share_tolerance(1e-3, &[]), Some(vec![]));
        assert_eq!(network_error_bar(&[Some(1.0)], &[1.0]), None);
        assert_eq!(network_error_bar(&[Some(1.0), None], &[0.5, 0.5]), None);
        assert_eq!(network_error_bar(&[], &[]), Some(0.0));
    }
}
