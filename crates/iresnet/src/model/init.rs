//! The one initialisation that all six models share.
//!
//! Convolutions are He-normal (`std = sqrt(2 / fan_in)`), the last one of each block times `1 / sqrt(num_blocks)`:
//! without that factor the variance of a vanilla trunk doubles in every block. Biases are zero, BatchNorm is the
//! identity, the linear layer is uniform in `±1/sqrt(fan_in)` as in PyTorch.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::layout::Layout;

/// A standard normal value (Box and Muller).
pub(crate) fn normal(rng: &mut impl Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    (radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()) as f32
}

/// Initial parameters of the trunk and of the head, a function of the layout and the seed alone.
pub(crate) fn initialize(layout: &Layout, seed: u64) -> (Vec<f32>, Vec<f32>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut trunk = vec![0.0; layout.trunk_len];
    let damping = 1.0 / (layout.num_blocks() as f32).sqrt();
    for block in layout.blocks() {
        for (i, conv) in block.convs.iter().enumerate() {
            let fan_in = (conv.in_channels * conv.kernel * conv.kernel) as f32;
            let std = (2.0 / fan_in).sqrt() * if i == 2 { damping } else { 1.0 };
            trunk[conv.weight.clone()].fill_with(|| std * normal(&mut rng));
        }
        for norm in block.norms.iter().flatten() {
            trunk[norm.scale.clone()].fill(1.0);
        }
    }
    let channels = layout.latent.channels;
    let mut head = vec![0.0; layout.head_len()];
    head[..channels].fill(1.0);
    let bound = 1.0 / (channels as f32).sqrt();
    head[2 * channels..].fill_with(|| rng.random_range(-bound..bound));
    (trunk, head)
}
