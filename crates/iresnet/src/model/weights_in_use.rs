//! The weights in use: what training, inverse and audit all share.

use super::layout::{Block, Conv, Layout};
use super::norms::NormState;
use iresnet_flow::branch::{Bottleneck, ChannelAffine};
use iresnet_spectra::ConvLayer;

/// BatchNorm's `eps`, as in PyTorch.
pub const BATCHNORM_EPS: f32 = 1e-5;

/// Factor by which spectral normalisation scales a convolution: `c / sigma` if that is below 1, else 1
/// (equation 10 of the paper; convolutions within the bound stay as they are).
pub fn spectral_factor(coeff: f64, sigma: f32) -> f32 {
    let factor = (coeff / f64::from(sigma)) as f32;
    if factor < 1.0 { factor } else { 1.0 }
}

/// The weights of one block as they act on images.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockWeights {
    /// `w1, b1, w2, b2, w3, b3`, normalised where the network is; places as in [`Block::convs`] less the block's start.
    pub weights: Vec<f32>,
    /// What stands before the three activations: BatchNorms in evaluation, or nothing.
    pub affine: Option<[ChannelAffine; 3]>,
}

/// The weights of the whole trunk as they act on images in evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightsInUse {
    /// One entry a block, in the order of the forward pass.
    pub blocks: Vec<BlockWeights>,
}

impl WeightsInUse {
    /// Applies the normalisation in use to the raw parameters.
    ///
    /// `coeff` is the coefficient of spectral normalisation, if there is one; `sigma` comes from `state`.
    pub(crate) fn new(layout: &Layout, trunk: &[f32], state: &NormState, coeff: Option<f64>) -> Self {
        let blocks = layout.blocks().enumerate().map(|(i, block)| BlockWeights {
            weights: normalized_weights(block, i, trunk, state, coeff),
            affine: evaluation_affine(block, trunk, state),
        });
        WeightsInUse { blocks: blocks.collect() }
    }
}

/// Weights of block number `index` after spectral normalisation (or as they are).
pub(crate) fn normalized_weights(
    block: &Block,
    index: usize,
    trunk: &[f32],
    state: &NormState,
    coeff: Option<f64>,
) -> Vec<f32> {
    let mut weights = trunk[block.weights.clone()].to_vec();
    if let Some(coeff) = coeff {
        let start = block.weights.start;
        for (conv, power) in block.convs.iter().zip(&state.power[3 * index..]) {
            let factor = spectral_factor(coeff, power.sigma);
            if factor < 1.0 {
                weights[conv.weight.start - start..conv.weight.end - start].iter_mut().for_each(|w| *w *= factor);
            }
        }
    }
    weights
}

/// BatchNorm with running statistics: `scale = gamma / sqrt(var + eps)`, `shift = beta - mean scale`.
fn evaluation_affine(block: &Block, trunk: &[f32], state: &NormState) -> Option<[ChannelAffine; 3]> {
    block.norms.iter().any(Option::is_some).then(|| {
        let channels = [block.shape.image.channels, block.shape.bottleneck, block.shape.bottleneck];
        [0, 1, 2].map(|i| match &block.norms[i] {
            None => ChannelAffine { scale: vec![1.0; channels[i]], shift: vec![0.0; channels[i]] },
            Some(norm) => {
                let statistics = norm.statistics.clone();
                affine_of(
                    &trunk[norm.scale.clone()],
                    &trunk[norm.shift.clone()],
                    &state.running_mean[statistics.clone()],
                    &state.running_var[statistics],
                )
            }
        })
    })
}

/// The affine map that a BatchNorm is once its statistics are fixed.
pub(crate) fn affine_of(gamma: &[f32], beta: &[f32], mean: &[f32], var: &[f32]) -> ChannelAffine {
    let scale: Vec<f32> = gamma.iter().zip(var).map(|(g, v)| g / (v + BATCHNORM_EPS).sqrt()).collect();
    let shift = beta.iter().zip(mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
    ChannelAffine { scale, shift }
}

impl BlockWeights {
    /// The branch of `block` with these weights, its kernels prepared.
    pub(super) fn prepare(self, block: &Block) -> Bottleneck {
        Bottleneck::new(&block.name, &block.shape, self.weights, self.affine)
    }

    /// The three convolutions of `block` with these weights, for spectra and certificates.
    pub fn layers<'a>(&'a self, block: &Block) -> Vec<ConvLayer<'a>> {
        let start = block.weights.start;
        let layer = |conv: &Conv| ConvLayer {
            name: conv.name.clone(),
            weight: &self.weights[conv.weight.start - start..conv.weight.end - start],
            out_channels: conv.out_channels,
            in_channels: conv.in_channels,
            kernel: conv.kernel,
            height: conv.height,
            width: conv.width,
        };
        block.convs.iter().map(layer).collect()
    }
}

impl WeightsInUse {
    /// All convolutions of the trunk, in the order of the forward pass.
    pub fn layers(&self, layout: &Layout) -> Vec<ConvLayer<'_>> {
        layout.blocks().zip(&self.blocks).flat_map(|(block, weights)| weights.layers(block)).collect()
    }
}
