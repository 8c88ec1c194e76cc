//! What a layer of a certified chain must know beyond being a bijection.

use iresnet_spectra::{ConvLayer, Method, UpperBound};
use sha2::Sha256;

use super::block::BlockBound;
use crate::batch::Batch;
use crate::bijection::Bijection;

/// A layer in both number formats, with what proofs need of it.
pub trait Layer: Bijection<f32> + Bijection<f64> {
    /// `F(x)` in float64. `errors` bounds for each sample how far `x` is from where exact arithmetic would have it, in
    /// Euclidean length, and comes out as the same bound for `F(x)`: rigorous for layers whose Lipschitz bound is proved.
    fn forward_enclosed(&self, x: Batch<f64>, errors: &mut [f64]) -> Batch<f64>;

    /// A copy; prepared kernels are shared.
    fn boxed(&self) -> Box<dyn Layer>;

    /// The convolutions whose norms a proof needs; none where the layer has a Lipschitz bound in closed form.
    fn convolutions(&self) -> Vec<ConvLayer<'_>> {
        Vec::new()
    }

    /// What follows from bounds of its convolutions' norms, given in their order; `dropout` is the probability in
    /// training. None for layers without convolutions.
    fn prove(&self, _norms: Vec<(UpperBound, Method)>, _dropout: f64) -> Option<Proved> {
        None
    }

    /// Adds the values that determine the layer to a checksum.
    fn hash(&self, _hash: &mut Sha256) {}
}

/// A layer that was looked at.
pub struct Proved {
    /// What is known of it.
    pub bound: BlockBound,
    /// Whether all its weights are finite.
    pub finite: bool,
    /// The layer, which relies on the bound from now on if it contracts.
    pub layer: Box<dyn Layer>,
}
