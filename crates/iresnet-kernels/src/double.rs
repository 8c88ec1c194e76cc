//! One residual branch in float64, with a bound on its own rounding: what proofs about float32 results rest on.
//!
//! A bound on the rounding of a float32 evaluation that holds for every network would have to assume that all terms of a
//! sum are rounded the same way, which makes it a thousand times too large to be of use. In float64 such a bound is far
//! below float32's last place, so one evaluation here says what an evaluation there is off by.

use crate::level::{Level, leveled};
use crate::reference::activate;
use crate::simd::Simd;
use crate::{Affine, BlockShape, ConvShape, LANES};

/// One value of each of the [`LANES`] images.
type D = [f64; LANES];

/// A block's weights, for evaluations of `h g` in float64 and for the scale at which evaluations round.
#[derive(Clone, Debug)]
pub struct DoubleBlock {
    shape: BlockShape,
    weights: Vec<f32>,
    affine: Option<[(Vec<f32>, Vec<f32>); 3]>,
    stages: [Stage; 3],
}

/// One activation and the convolution behind it, by norms.
#[derive(Clone, Copy, Debug)]
struct Stage {
    /// Largest scale of the affine map.
    gain: f64,
    /// Norm of what the affine map adds, over all pixels, and of κ(0).
    shift: f64,
    /// Norm of the convolution with absolute values of its weights, at most.
    norm: f64,
    /// Norm of its biases over all pixels.
    bias: f64,
    /// Operations in a row, at most, that a value passes.
    operations: f64,
}

/// Roundings that an activation's own evaluation counts for: some units in the last place of the mathematical library.
const ACTIVATION: f64 = 16.0;

impl DoubleBlock {
    /// Of the flat `weights` in use (`w1, b1, w2, b2, w3, b3` in PyTorch's layouts).
    ///
    /// # Panics
    /// If the lengths do not fit `shape`.
    pub fn new(shape: &BlockShape, weights: &[f32], affine: Option<[Affine<'_>; 3]>) -> Self {
        assert_eq!(weights.len(), shape.num_weights(), "weights of {shape:?}");
        let (places, pixels) = (shape.places(), (shape.area() as f64).sqrt());
        let stages = [0, 1, 2].map(|i| {
            let prepared = i > 0 || shape.activate_input;
            let (map, conv) = (affine.as_ref().map(|maps| maps[i]).filter(|_| prepared), shape.conv(i));
            let (weight, bias) = (&weights[places[2 * i].clone()], &weights[places[2 * i + 1].clone()]);
            let taps = conv.kernel * conv.kernel;
            let tap = |t: usize| length(weight[t..].iter().step_by(taps));
            let constant = if prepared { activate(shape.activation, 0.0).abs() } else { 0.0 };
            Stage {
                gain: map.map_or(1.0, |map| largest(map.scale)),
                shift: pixels
                    * (map.map_or(0.0, |map| length(map.shift.iter())) + constant * (conv.in_channels as f64).sqrt()),
                norm: (0..taps).map(tap).sum(),
                bias: pixels * length(bias.iter()),
                operations: (conv.in_channels * taps) as f64 + 4.0 + ACTIVATION,
            }
        });
        let affine = affine.map(|maps| maps.map(|map| (map.scale.to_vec(), map.shift.to_vec())));
        DoubleBlock { shape: *shape, weights: weights.to_vec(), affine, stages }
    }

    /// Norm of what evaluating `h g` adds up at an image of length `norm`, terms that cancel included: the scale at which
    /// it rounds.
    pub fn magnitude(&self, norm: f64) -> f64 {
        let through = |size: f64, stage: &Stage| stage.norm * (stage.gain * size + stage.shift) + stage.bias;
        self.stages.iter().fold(norm, through) * f64::from(self.shape.step).abs()
    }

    /// Bound on the norm of what [`Self::branch`] is wrong by at an image of length `norm`.
    ///
    /// Each of the `N` operations in a row multiplies by at most `1 + u`, so that the error is at most `(1 + u)^N - 1` of
    /// the sum of absolute values (Higham 2002, section 3.1); a hundredth more covers its powers and this arithmetic.
    pub fn rounding(&self, norm: f64) -> f64 {
        let operations = self.stages.iter().map(|stage| stage.operations).sum::<f64>() + 1.0;
        1.01 * operations * (0.5 * f64::EPSILON) * self.magnitude(norm)
    }

    /// `h g(x)` of packs, each lane on its own.
    ///
    /// # Panics
    /// If the slices do not hold equally many whole packs.
    pub fn branch(&self, x: &[f64], out: &mut [f64]) {
        let (shape, area, places) = (&self.shape, self.shape.area(), self.shape.places());
        let len = shape.image.pack_len();
        assert!(x.len() == out.len() && x.len().is_multiple_of(len), "packs of {len} values in and out");
        let wide =
            |place: usize| -> Vec<f64> { self.weights[places[place].clone()].iter().map(|w| (*w).into()).collect() };
        let (weights, biases) = ([0, 2, 4].map(wide), [1, 3, 5].map(wide));
        let (mut z, mut next): (Vec<D>, Vec<D>) = Default::default();
        for (x, out) in x.chunks_exact(len).zip(out.chunks_exact_mut(len)) {
            z.clear();
            z.extend_from_slice(x.as_chunks().0);
            for i in 0..3 {
                let conv = shape.conv(i);
                if i > 0 || shape.activate_input {
                    for (c, channel) in z.chunks_exact_mut(area).enumerate() {
                        let (scale, shift) =
                            self.affine.as_ref().map_or((1.0, 0.0), |maps| (maps[i].0[c], maps[i].1[c]));
                        for z in channel.iter_mut().flatten() {
                            *z = activate(shape.activation, f64::from(scale) * *z + f64::from(shift));
                        }
                    }
                }
                next.resize(conv.out_channels * area, [0.0; LANES]);
                convolve(Level::current(), &z, &weights[i], &biases[i], &conv, &mut next);
                std::mem::swap(&mut z, &mut next);
            }
            let step = f64::from(shape.step);
            out.iter_mut().zip(z.as_flattened()).for_each(|(out, g)| *out = step * g);
        }
    }
}

/// The largest absolute value; NaN if there is one.
fn largest(values: &[f32]) -> f64 {
    let sizes = values.iter().map(|v| f64::from(v.abs()));
    sizes.fold(0.0, |largest: f64, size| if largest >= size || largest.is_nan() { largest } else { size })
}

fn length<'a>(values: impl Iterator<Item = &'a f32>) -> f64 {
    values.map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt()
}

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
    fn convolve = convolve_inner(x: &[D], weights: &[f64], bias: &[f64], conv: &ConvShape, out: &mut [D])
);
