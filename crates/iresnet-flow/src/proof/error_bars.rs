//! Bounds on the errors of reconstructed images, all rounding included.
//!
//! For any `x` and latent `z`, `||x - F^-1(z)|| <= Lip(F^-1) ||F(x) - z||`, with `Lip(F^-1) <= prod 1 / (1 - L_t)`. So one
//! forward pass gives a bound on the error of an image wherever it came from: solver, number format and rounding do not
//! matter. The pass itself rounds in float64, and every layer bounds by how much ([`Layer::forward_enclosed`]).

use super::layer::Layer;
use crate::batch::{Batch, UP};
use crate::bijection::Bijection;
use crate::chain::Chain;

/// Bound on the Euclidean distance of each sample of `x` from the true preimage of its latent in `z`, of the chain in exact
/// arithmetic.
///
/// `None` where a layer has no proven inverse or a value is not finite. The bound grows fast with depth where constants are
/// near 1: by `1 / (1 - L)` a layer. One evaluation in float64 takes about as long as six in float32.
///
/// # Panics
/// If there are not as many samples as latents.
pub fn error_bars(chain: &Chain<Box<dyn Layer>>, x: Batch<f64>, z: &Batch<f64>) -> Vec<Option<f64>> {
    let samples = x.samples();
    assert_eq!(samples, z.samples(), "samples and latents");
    let inverse: Option<f64> = chain.layers().iter().map(|layer| Bijection::<f64>::bounds(layer).inverse).product();
    let Some(inverse) = inverse else { return vec![None; samples] };
    // The bounds of the layers were rounded outwards; so is their product.
    let inverse = inverse * (1.0 + chain.layers().len() as f64 * 4.0 * f64::EPSILON);
    let enclosed = x.in_parts(1, |x| {
        let mut errors = vec![0.0; x.samples()];
        let y = chain.layers().iter().fold(x, |x, layer| layer.forward_enclosed(x, &mut errors));
        (y, errors)
    });
    let (parts, errors): (Vec<Batch<f64>>, Vec<Vec<f64>>) = enclosed.into_iter().map(|(_, part)| part).unzip();
    let mut apart = Batch::join(parts).expect("at least one part");
    apart.packs_mut().iter_mut().zip(z.packs()).for_each(|(y, z)| *y -= z);
    let bar = |(residual, rounding): (f64, f64)| {
        let bar = inverse * (residual * UP + rounding) * UP;
        bar.is_finite().then_some(bar)
    };
    apart.lengths().into_iter().zip(errors.concat()).map(bar).collect()
}
