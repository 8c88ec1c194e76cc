//! Convolution of one pack in float64, summed directly.

use crate::lane::LANES;
use crate::level::leveled;
use crate::shape::ConvShape;
use crate::simd::Simd;

/// One value of each of the [`LANES`] images.
pub(crate) type D = [f64; LANES];

/// Output channels that share the loads of a pixel.
const TOGETHER: usize = 4;

#[inline(always)]
fn convolve_inner<S: Simd>(x: &[D], weights: &[f64], bias: &[f64], conv: &ConvShape, out: &mut [D]) {
    let (area, taps) = (conv.height * conv.width, conv.in_channels * conv.kernel * conv.kernel);
    let (wide, narrow) = bias.split_at(bias.len() / TOGETHER * TOGETHER);
    let (wide_out, narrow_out) = out.split_at_mut(wide.len() * area);
    let (wide_weights, narrow_weights) = weights.split_at(wide.len() * taps);
    for (i, out) in wide_out.chunks_exact_mut(TOGETHER * area).enumerate() {
        let weights = &wide_weights[i * TOGETHER * taps..][..TOGETHER * taps];
        channels::<S, TOGETHER>(x, weights, &wide[i * TOGETHER..][..TOGETHER], conv, out);
    }
    for (i, out) in narrow_out.chunks_exact_mut(area).enumerate() {
        channels::<S, 1>(x, &narrow_weights[i * taps..][..taps], &narrow[i..=i], conv, out);
    }
}

/// `N` output channels at once.
#[inline(always)]
fn channels<S: Simd, const N: usize>(x: &[D], weights: &[f64], bias: &[f64], conv: &ConvShape, out: &mut [D]) {
    let (height, width, kernel, half) = (conv.height, conv.width, conv.kernel, conv.kernel / 2);
    let taps = conv.in_channels * kernel * kernel;
    for row in 0..height {
        for column in 0..width {
            let mut sums: [D; N] = std::array::from_fn(|n| [bias[n]; LANES]);
            for channel in 0..conv.in_channels {
                for ky in half.saturating_sub(row)..kernel.min(height + half - row) {
                    for kx in half.saturating_sub(column)..kernel.min(width + half - column) {
                        let x = &x[(channel * height + row + ky - half) * width + column + kx - half];
                        let tap = (channel * kernel + ky) * kernel + kx;
                        for n in 0..N {
                            let weight = weights[n * taps + tap];
                            for l in 0..LANES {
                                sums[n][l] = S::fused(weight, x[l], sums[n][l]);
                            }
                        }
                    }
                }
            }
            for n in 0..N {
                out[(n * height + row) * width + column] = sums[n];
            }
        }
    }
}

leveled!(
    /// A convolution with zero 'same' padding of one pack, summed directly.
    pub(crate) fn convolve = convolve_inner(x: &[D], weights: &[f64], bias: &[f64], conv: &ConvShape, out: &mut [D])
);
