//! The direct kernel: register tiles are output channels by positions of whole vectors.
//!
//! The input comes from a [`Plane`] buffer with a zero border, so that no loop knows about edges. The values of a kernel
//! row pass by once for all of its taps.

use crate::lane::{LANES, V};
use crate::output::Output;
use crate::plane::Plane;
use crate::shape::ConvShape;
use crate::simd::Simd;

/// Output channels of one register tile.
const CO: usize = 4;

/// Weights of a convolution, `[block of CO out][in][ky][kx][CO]`.
#[derive(Clone, Debug)]
pub(crate) struct DirectConv {
    shape: ConvShape,
    weights: Vec<f32>,
}

impl DirectConv {
    /// Packs `[out, in, k, k]` weights.
    pub(crate) fn new(weights: &[f32], shape: ConvShape) -> Self {
        let ConvShape { in_channels, out_channels, kernel, .. } = shape;
        DirectConv { shape, weights: pack_direct(weights, out_channels, in_channels, kernel * kernel) }
    }

    /// Hands every value of the convolution of a bordered `input`, `bias` included, to `output`.
    #[inline(always)]
    pub(crate) fn run<S: Simd>(&self, plane: Plane, input: &[V], bias: Option<&[f32]>, output: &mut Output<'_>) {
        let ConvShape { in_channels, out_channels, kernel, .. } = self.shape;
        let mut packed = self.weights.as_slice();
        for block in (0..out_channels).step_by(CO) {
            let count = CO.min(out_channels - block);
            let (weights, rest) = packed.split_at(count * in_channels * kernel * kernel);
            packed = rest;
            let mut start = [0.0; CO];
            if let Some(bias) = bias {
                start[..count].copy_from_slice(&bias[block..block + count]);
            }
            match count {
                4 => self.block::<S, 4>(plane, input, weights, block, start, output),
                3 => self.block::<S, 3>(plane, input, weights, block, start, output),
                2 => self.block::<S, 2>(plane, input, weights, block, start, output),
                _ => self.block::<S, 1>(plane, input, weights, block, start, output),
            }
        }
    }

    #[inline(always)]
    fn block<S: Simd, const N: usize>(
        &self,
        plane: Plane,
        input: &[V],
        weights: &[f32],
        block: usize,
        bias: [f32; CO],
        output: &mut Output<'_>,
    ) {
        for y in 0..plane.height {
            let mut x = 0;
            while x < plane.width {
                let left = plane.width - x;
                // 7 divides the sides of MNIST's stages, 4 those of CIFAR-10's; 7 x 4 would not fit the registers.
                x += if S::TILE >= 7 && N < 4 && plane.width.is_multiple_of(7) {
                    self.tile::<S, N, 7>(plane, input, weights, y, x, block, bias, output)
                } else if S::TILE >= 4 && left >= 4 {
                    self.tile::<S, N, 4>(plane, input, weights, y, x, block, bias, output)
                } else if S::TILE >= 4 && left >= 2 {
                    self.tile::<S, N, 2>(plane, input, weights, y, x, block, bias, output)
                } else {
                    self.tile::<S, N, 1>(plane, input, weights, y, x, block, bias, output)
                };
            }
        }
    }

    /// Returns how many positions it did.
    #[inline(always)]
    fn tile<S: Simd, const N: usize, const XT: usize>(
        &self,
        plane: Plane,
        input: &[V],
        weights: &[f32],
        y: usize,
        x: usize,
        block: usize,
        bias: [f32; CO],
        output: &mut Output<'_>,
    ) -> usize {
        let mut sums = [[S::splat(0.0); XT]; N];
        for n in 0..N {
            sums[n] = [S::splat(bias[n]); XT];
        }
        let (kernel, half) = (self.shape.kernel, self.shape.kernel / 2);
        let (weights, _) = weights.as_chunks::<N>();
        let mut weights = weights.chunks_exact(kernel);
        for i in 0..plane.channels {
            let corner = plane.row(i, y) + x - half * (plane.row_stride() + 1);
            for ky in 0..kernel {
                let row = &input[corner + ky * plane.row_stride()..][..XT + 2 * half];
                let taps = weights.next().expect("packed");
                if kernel == 3 && S::TILE >= 4 {
                    kernel_row::<S, N, XT, 3>(taps.try_into().expect("three taps"), row, &mut sums);
                } else {
                    for (kx, tap) in taps.iter().enumerate() {
                        kernel_row::<S, N, XT, 1>(std::array::from_ref(tap), &row[kx..], &mut sums);
                    }
                }
            }
        }
        let mut values = [[[0.0; LANES]; XT]; N];
        for n in 0..N {
            for t in 0..XT {
                sums[n][t].store(&mut values[n][t]);
            }
        }
        for (n, row) in values.iter().enumerate() {
            output.put::<S>(block + n, ((block + n) * plane.height + y) * plane.width + x, row);
        }
        XT
    }
}

/// `sums[n][t] += taps[k][n] values[t + k]`
#[inline(always)]
fn kernel_row<S: Simd, const N: usize, const XT: usize, const K: usize>(
    taps: &[[f32; N]; K],
    values: &[V],
    sums: &mut [[S; XT]; N],
) {
    let mut splats = [[S::splat(0.0); N]; K];
    for k in 0..K {
        for n in 0..N {
            splats[k][n] = S::splat(taps[k][n]);
        }
    }
    let values = &values[..XT + K - 1];
    for x in 0..XT + K - 1 {
        let value = S::load(&values[x]);
        for k in 0..K {
            if x >= k && x - k < XT {
                for n in 0..N {
                    sums[n][x - k] = value.mul_add(splats[k][n], sums[n][x - k]);
                }
            }
        }
    }
}

/// `[out, in, taps]` to `[block of CO out][in][taps][CO]`.
fn pack_direct(weights: &[f32], out_channels: usize, in_channels: usize, taps: usize) -> Vec<f32> {
    let mut packed = Vec::with_capacity(weights.len());
    for block in (0..out_channels).step_by(CO) {
        let count = CO.min(out_channels - block);
        for i in 0..in_channels {
            for tap in 0..taps {
                packed.extend((block..block + count).map(|o| weights[(o * in_channels + i) * taps + tap]));
            }
        }
    }
    packed
}
