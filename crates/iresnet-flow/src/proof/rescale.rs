//! The smallest change of a block's layers that brings it below a constant.

use iresnet_spectra::UpperBound;

/// Factors for the weights of a block's layers so that `rest prod ||s_i W_i|| <= target`; all 1 if that holds already.
///
/// Norms above a common level are brought down to it and the others stay as they are: no layer that is small already
/// pays for one that is large. Factors have room for the rounding of the scaled weights to float32, whose effect on a norm
/// is at most `2^-24 k ||W||_F`, hence `frobenius`: `k ||W_i||_F` of each layer.
///
/// `rest` bounds whatever else multiplies: step, activations, BatchNorms, dropout. `None` if no factors exist: a bound is
/// infinite, `target` is not positive, or a layer is within the rounding of zero.
///
/// # Panics
/// If there are not as many `frobenius` as `norms`.
pub fn rescaling(norms: &[UpperBound], frobenius: &[f64], rest: UpperBound, target: f64) -> Option<Vec<f32>> {
    assert_eq!(norms.len(), frobenius.len(), "one Frobenius norm a layer");
    let product = norms.iter().fold(rest, |product, norm| product.times(*norm)).value();
    if product <= target {
        return Some(vec![1.0; norms.len()]);
    }
    let level = level(norms, rest, target)?;
    let factor = |(norm, frobenius): (&UpperBound, &f64)| {
        if norm.value() <= level {
            return Some(1.0);
        }
        // 2^-22: the rounding of weights twice over, that of the factor, and the few operations above.
        let margin = 2f64.powi(-22) * (1.0 + frobenius / norm.value());
        let factor = (level / norm.value() * (1.0 - margin)) as f32;
        (factor > 0.0).then_some(factor)
    };
    norms.iter().zip(frobenius).map(factor).collect()
}

/// The largest norm that all layers may have so that `rest prod min(||W_i||, level) <= target`: where larger ones are
/// brought down to. `None` if there is no such level: a bound is infinite, or `target` is not positive.
///
/// In ordinary arithmetic: a guide, not a bound.
pub fn level(norms: &[UpperBound], rest: UpperBound, target: f64) -> Option<f64> {
    let product = norms.iter().fold(rest, |product, norm| product.times(*norm)).value();
    if !(target > 0.0 && product.is_finite()) {
        return None;
    }
    // Norms by size; the level is the root of what is left when the largest `count` of them are brought down to it.
    let mut order: Vec<f64> = norms.iter().map(|n| n.value()).collect();
    order.sort_by(|a, b| b.total_cmp(a));
    (1..=order.len()).find_map(|count| {
        let others: f64 = order[count..].iter().product::<f64>() * rest.value();
        let level = (target / others).powf(1.0 / count as f64);
        // It is the one if the next norm is below it.
        order.get(count).is_none_or(|next| *next <= level).then_some(level)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(norms: &[f64], rest: f64, target: f64) -> Option<Vec<f32>> {
        let bounds: Vec<UpperBound> = norms.iter().map(|n| UpperBound::of_factor(*n)).collect();
        rescaling(&bounds, norms, UpperBound::of_factor(rest), target)
    }

    #[test]
    fn only_offending_layers_change() {
        assert_eq!(factors(&[0.9, 0.9, 0.9], 1.0, 0.8).unwrap(), [1.0; 3]);
        let scaled = factors(&[2.0, 0.5, 0.5], 1.0, 0.25).unwrap();
        assert_eq!(&scaled[1..], &[1.0, 1.0]);
        assert!((scaled[0] - 0.5).abs() < 1e-5 && scaled[0] < 0.5, "{scaled:?}");
        for (norms, rest, target) in
            [([3.0, 2.0, 0.1], 1.1, 0.5), ([1.0, 1.0, 1.0], 1.0, 0.729), ([9.0, 0.1, 4.0], 2.0, 0.9)]
        {
            let scaled = factors(&norms, rest, target).unwrap();
            let product: f64 = norms.iter().zip(&scaled).map(|(n, s)| n * f64::from(*s)).product::<f64>() * rest;
            assert!(product <= target && product > target * (1.0 - 1e-5), "{product} {target}");
        }
    }

    #[test]
    fn what_has_no_factors() {
        assert_eq!(factors(&[f64::INFINITY, 1.0], 1.0, 0.9), None);
        assert_eq!(factors(&[2.0], 1.0, 0.0), None);
    }
}
