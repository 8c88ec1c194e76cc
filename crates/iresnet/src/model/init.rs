//! The one initialisation that all six models share: flat spectra.
//!
//! With circular padding all singular values of a convolution are equal at the start: one, and [`LAST`] in the last
//! convolution of a block. Between the channels stands a random semi-orthogonal matrix; 3x3 kernels multiply it by two
//! factors `P + (I - P) z` along either axis, `z` being a shift by one pixel and `P` a random orthogonal projection
//! (Xiao et al. 2018, arXiv 1806.05393). So the first two convolutions of a normalised block pass at their bound all that
//! their width allows, from the first step on; Gaussian weights of the same norm pass a fraction of it, and take epochs to
//! fill the rest. Biases are zero, BatchNorm is the identity, the linear layer is uniform in `±1/sqrt(fan_in)` as in
//! PyTorch.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::householder::{
    apply_block_householder_sequence_on_the_left_in_place_scratch as apply_scratch,
    apply_block_householder_sequence_on_the_left_in_place_with_conj as apply_reflections,
};
use faer::linalg::qr::no_pivoting::factor::{qr_in_place, qr_in_place_scratch, recommended_block_size};
use faer::{Conj, Mat, Par};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::layout::{Conv, Layout};
use crate::linear::times;

/// Singular values of the last convolution of a block, by trial (docs/notebook.md).
const LAST: f64 = 0.3;

/// A standard normal value (Box and Muller).
pub(crate) fn normal(rng: &mut impl Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    (radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()) as f32
}

/// Initial parameters of the trunk and of the head, a function of the layout and the seed alone.
pub(crate) fn initialize(layout: &Layout, seed: u64) -> (Vec<f32>, Vec<f32>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut trunk = vec![0.0; layout.trunk_len];
    for block in layout.blocks() {
        for (i, conv) in block.convs.iter().enumerate() {
            let singular_value = if i == 2 { LAST } else { 1.0 };
            fill_flat(&mut trunk[conv.weight.clone()], conv, singular_value, &mut rng);
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

/// Fills `weight` `[out, in, k, k]` with a kernel all of whose singular values are `singular_value` at every frequency.
fn fill_flat(weight: &mut [f32], conv: &Conv, singular_value: f64, rng: &mut impl Rng) {
    let (outputs, inputs, k) = (conv.out_channels, conv.in_channels, conv.kernel);
    let (narrow, wide) = (outputs.min(inputs), outputs.max(inputs));
    // Taps by row and column; each is a matrix from the wide side to the narrow one.
    let mut taps = vec![vec![orthonormal(wide, narrow, rng).transpose().to_owned()]];
    for step in 1..k {
        for [down, right] in [[1, 0], [0, 1]] {
            // Ranks alternate, so that what cannot be halved (one channel) ends in the middle of a 3x3 kernel.
            let directions = orthonormal(wide, (wide + step % 2) / 2, rng);
            let [height, width] = [taps.len() + down, taps[0].len() + right];
            let mut product = vec![vec![Mat::<f64>::zeros(narrow, wide); width]; height];
            for (y, row) in taps.iter().enumerate() {
                for (x, tap) in row.iter().enumerate() {
                    let projected = times(times(tap.as_ref(), directions.as_ref()).as_ref(), directions.transpose());
                    product[y + down][x + right] += tap - &projected;
                    product[y][x] += projected;
                }
            }
            taps = product;
        }
    }
    for (place, weight) in weight.iter_mut().enumerate() {
        let [out, input, y, x] = [place / (inputs * k * k), place / (k * k) % inputs, place / k % k, place % k];
        let [from, to] = if outputs <= inputs { [out, input] } else { [input, out] };
        *weight = (singular_value * taps[y][x][(from, to)]) as f32;
    }
}

/// A random matrix `[rows, columns]` of orthonormal columns, `columns <= rows`: Householder's Q of a Gaussian one, in one
/// thread as [`times`]. Signs stay as they fall: a positive one for a single channel, which a ReLU could else cut off.
fn orthonormal(rows: usize, columns: usize, rng: &mut impl Rng) -> Mat<f64> {
    let mut reflections = Mat::from_fn(rows, columns, |_, _| f64::from(normal(rng)));
    let block = recommended_block_size::<f64>(rows, columns);
    let mut coefficients = Mat::zeros(block, columns);
    let scratch = qr_in_place_scratch::<f64>(rows, columns, block, Par::Seq, Default::default());
    let mut memory = MemBuffer::new(scratch.or(apply_scratch::<f64>(rows, block, columns)));
    let stack = MemStack::new(&mut memory);
    qr_in_place(reflections.as_mut(), coefficients.as_mut(), Par::Seq, stack, Default::default());
    let mut q = Mat::identity(rows, columns);
    apply_reflections(
        reflections.as_ref(),
        coefficients.as_ref(),
        Conj::No,
        q.as_mut(),
        Par::Seq,
        MemStack::new(&mut memory),
    );
    q
}

#[cfg(test)]
mod tests {
    use super::super::{Input, ModelConfig};
    use super::*;
    use iresnet_spectra::ConvLayer;

    #[test]
    fn all_singular_values_of_a_convolution_are_equal() {
        for (preset, channels) in [("paper-mnist", 1), ("small-cifar10", 3), ("icml-cifar10", 3)] {
            let config = ModelConfig { blocks: vec![1, 1, 1], ..ModelConfig::preset(preset).unwrap() };
            let input = Input { channels, height: 8, width: 12, classes: 10 };
            let layout = Layout::new(&config, input).unwrap();
            let (trunk, _) = initialize(&layout, 3);
            for block in layout.blocks() {
                for (i, conv) in block.convs.iter().enumerate() {
                    let layer = ConvLayer {
                        name: format!("{preset}, convolution {i}"),
                        weight: &trunk[conv.weight.clone()],
                        out_channels: conv.out_channels,
                        in_channels: conv.in_channels,
                        kernel: conv.kernel,
                        height: conv.height,
                        width: conv.width,
                    };
                    let expected = if i == 2 { LAST } else { 1.0 };
                    for value in layer.circular_spectrum() {
                        // Rounding of the weights to float32.
                        assert!((value - expected).abs() < 1e-5, "{}: {value}", layer.name);
                    }
                    // No tap is left out where there is more than one channel: 1e-5 is far above rounding.
                    let taps = conv.kernel * conv.kernel;
                    let energy =
                        |from, every| layer.weight.iter().skip(from).step_by(every).map(|w| w * w).sum::<f32>();
                    for tap in 0..taps {
                        assert!(energy(tap, taps) > 1e-5 * energy(0, 1), "{}: tap {tap}", layer.name);
                    }
                }
            }
        }
    }

    /// A 3x3 kernel of one channel is one tap; it stands in the middle.
    #[test]
    fn a_single_channel_keeps_its_place() {
        let config = ModelConfig { blocks: vec![1], ..ModelConfig::preset("digits").unwrap() };
        let layout = Layout::new(&config, Input { channels: 1, height: 4, width: 4, classes: 3 }).unwrap();
        let wide = &layout.blocks().next().unwrap().convs[0];
        let conv = Conv { in_channels: 1, out_channels: 1, ..wide.clone() };
        assert_eq!(conv.kernel, 3);
        for seed in 0..20 {
            let mut weight = [0.0; 9];
            fill_flat(&mut weight, &conv, 1.0, &mut ChaCha8Rng::seed_from_u64(seed));
            assert!(weight[4] == 1.0 && weight.iter().map(|w| w.abs()).sum::<f32>() < 1.0 + 1e-6, "{weight:?}");
        }
    }

    #[test]
    fn weights_do_not_depend_on_the_number_of_threads() {
        let config = ModelConfig { blocks: vec![1, 1, 1], ..ModelConfig::preset("icml-cifar10").unwrap() };
        let layout = Layout::new(&config, Input { channels: 3, height: 8, width: 8, classes: 10 }).unwrap();
        let [one, four] = [1, 4].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| initialize(&layout, 3))
        });
        assert!(one == four);
    }
}
