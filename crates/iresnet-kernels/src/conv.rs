//! Direct convolution of one pack, stride 1 and zero 'same' padding, and its weight gradient.
//!
//! The input lies in a [`Plane`] buffer with a zero border, so that no loop knows about edges. Register tiles are
//! `CO` output channels by `XT` positions of whole vectors.

use crate::V;
use crate::level::leveled;
use crate::simd::Simd;
use crate::winograd::WinogradConv;

/// Geometry of a bordered buffer `[channel][y + 2 border][x + 2 border]` of vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plane {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub border: usize,
    /// Zero rows below and zero columns to the right of the border, so that whole Winograd tiles can be read.
    pub extra: (usize, usize),
}

impl Plane {
    /// The buffer that a convolution with `kernel` reads.
    pub(crate) fn new(channels: usize, height: usize, width: usize, kernel: usize) -> Self {
        let extra =
            if kernel == 3 { (height.next_multiple_of(4) - height, width.next_multiple_of(4) - width) } else { (0, 0) };
        Plane { channels, height, width, border: kernel / 2, extra }
    }

    pub(crate) fn row_stride(&self) -> usize {
        self.width + 2 * self.border + self.extra.1
    }

    pub(crate) fn channel_stride(&self) -> usize {
        self.row_stride() * (self.height + 2 * self.border + self.extra.0)
    }

    pub(crate) fn len(&self) -> usize {
        self.channels * self.channel_stride()
    }

    /// Where row `y` of channel `c` begins: its first inner value here, and in an unbordered buffer.
    #[inline(always)]
    pub(crate) fn rows(&self, c: usize, y: usize) -> (usize, usize) {
        (self.row(c, y), (c * self.height + y) * self.width)
    }

    /// Place of the first inner value of row `y` of channel `c`.
    #[inline(always)]
    pub(crate) fn row(&self, c: usize, y: usize) -> usize {
        c * self.channel_stride() + (y + self.border) * self.row_stride() + self.border
    }
}

/// Weights of one convolution, packed for the kernel that suits its shape.
#[derive(Clone, Debug)]
pub(crate) struct PackedConv {
    in_channels: usize,
    out_channels: usize,
    kernel: usize,
    weights: Weights,
    bias: Vec<f32>,
}

#[derive(Clone, Debug)]
enum Weights {
    /// `[block of CO out][in][ky][kx][CO]`
    Direct(Vec<f32>),
    Winograd(WinogradConv),
}

/// Channels, of the narrower side, from which on Winograd's transforms pay: measured on AVX-512, the direct kernel is
/// ahead at 12/3 and below.
const WINOGRAD_CHANNELS: usize = 8;

/// Output channels of one register tile.
pub(crate) const CO: usize = 4;

impl PackedConv {
    /// Packs `[out, in, k, k]` weights.
    pub(crate) fn new(weights: &[f32], bias: &[f32], out_channels: usize, in_channels: usize, kernel: usize) -> Self {
        let taps = kernel * kernel;
        assert_eq!(weights.len(), out_channels * in_channels * taps, "weights of a convolution");
        let weights = match kernel == 3 && in_channels.min(out_channels) >= WINOGRAD_CHANNELS {
            true => Weights::Winograd(WinogradConv::new(weights, out_channels, in_channels)),
            false => Weights::Direct(pack_direct(weights, out_channels, in_channels, taps)),
        };
        PackedConv { in_channels, out_channels, kernel, weights, bias: bias.to_vec() }
    }

    /// The adjoint convolution: channels exchanged, taps reversed, no bias.
    pub(crate) fn adjoint(weights: &[f32], out_channels: usize, in_channels: usize, kernel: usize) -> Self {
        let taps = kernel * kernel;
        let mut flipped = vec![0.0; weights.len()];
        for o in 0..out_channels {
            for i in 0..in_channels {
                for tap in 0..taps {
                    flipped[(i * out_channels + o) * taps + taps - 1 - tap] =
                        weights[(o * in_channels + i) * taps + tap];
                }
            }
        }
        Self::new(&flipped, &vec![0.0; in_channels], in_channels, out_channels, kernel)
    }

    #[inline(always)]
    fn run<S: Simd>(&self, plane: Plane, input: &[V], bias: bool, scratch: &mut Vec<V>, mut output: Output<'_>) {
        let packed_weights = match &self.weights {
            Weights::Direct(weights) => weights,
            Weights::Winograd(winograd) => {
                return winograd.run::<S>(plane, input, bias.then_some(&self.bias), scratch, &mut output);
            }
        };
        let taps = self.kernel * self.kernel;
        let mut packed = 0;
        for block in (0..self.out_channels).step_by(CO) {
            let count = CO.min(self.out_channels - block);
            let weights = &packed_weights[packed..packed + count * self.in_channels * taps];
            packed += weights.len();
            let mut start = [0.0; CO];
            if bias {
                start[..count].copy_from_slice(&self.bias[block..block + count]);
            }
            match count {
                4 => self.block::<S, 4>(plane, input, weights, block, start, &mut output),
                3 => self.block::<S, 3>(plane, input, weights, block, start, &mut output),
                2 => self.block::<S, 2>(plane, input, weights, block, start, &mut output),
                _ => self.block::<S, 1>(plane, input, weights, block, start, &mut output),
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
                // 7 divides the sides of MNIST's stages, 4 those of CIFAR-10's.
                let tile = if S::TILE >= 7 && plane.width.is_multiple_of(7) {
                    self.tile::<S, N, 7>(plane, input, weights, y, x, block, bias, output);
                    7
                } else if S::TILE >= 4 && left >= 4 {
                    self.tile::<S, N, 4>(plane, input, weights, y, x, block, bias, output);
                    4
                } else {
                    self.tile::<S, N, 1>(plane, input, weights, y, x, block, bias, output);
                    1
                };
                x += tile;
            }
        }
    }

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
    ) {
        let mut sums = [[S::splat(0.0); XT]; N];
        for n in 0..N {
            sums[n] = [S::splat(bias[n]); XT];
        }
        let half = self.kernel / 2;
        let mut weights = weights.chunks_exact(N);
        for i in 0..self.in_channels {
            let corner = plane.row(i, y) + x - half * (plane.row_stride() + 1);
            for ky in 0..self.kernel {
                let row = corner + ky * plane.row_stride();
                for kx in 0..self.kernel {
                    let taps: &[f32; N] = weights.next().expect("packed").try_into().expect("N weights");
                    let values: &[V; XT] = input[row + kx..row + kx + XT].try_into().expect("XT vectors");
                    accumulate(taps, values, &mut sums);
                }
            }
        }
        for n in 0..N {
            for t in 0..XT {
                output.put(((block + n) * plane.height + y) * plane.width + x + t, sums[n][t]);
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

/// `sums[n][t] += factors[n] values[t]`: the inner step of every product with weights.
#[inline(always)]
pub(crate) fn accumulate<S: Simd, const N: usize, const T: usize>(
    factors: &[f32; N],
    values: &[V; T],
    sums: &mut [[S; T]; N],
) {
    let mut splats = [S::splat(0.0); N];
    for n in 0..N {
        splats[n] = S::splat(factors[n]);
    }
    for t in 0..T {
        let value = S::load(&values[t]);
        for n in 0..N {
            sums[n][t] = value.mul_add(splats[n], sums[n][t]);
        }
    }
}

/// What happens to the values of a convolution; all places are unbordered `[channel][y][x]`.
pub(crate) enum Output<'a> {
    /// They are stored.
    Store(&'a mut [V]),
    /// `to += step value`
    Add { to: &'a mut [V], step: f32 },
    /// `x <- target - step value`, and the squared lengths of the moves are added to `sums`.
    FixedPoint { x: &'a mut [V], target: &'a [V], step: f32, sums: &'a mut [V; 4] },
}

impl Output<'_> {
    #[inline(always)]
    pub(crate) fn put<S: Simd>(&mut self, at: usize, value: S) {
        match self {
            Output::Store(to) => value.store(&mut to[at]),
            Output::Add { to, step } => {
                let to = &mut to[at];
                value.mul_add(S::splat(*step), S::load(to)).store(to);
            }
            Output::FixedPoint { x, target, step, sums } => {
                let x = &mut x[at];
                let new = value.mul_add(S::splat(-*step), S::load(&target[at]));
                let moved = new.sub(S::load(x));
                let sum = &mut sums[at % 4];
                moved.mul_add(moved, S::load(sum)).store(sum);
                new.store(x);
            }
        }
    }
}

#[inline(always)]
fn convolve_inner<S: Simd>(
    conv: &PackedConv,
    plane: Plane,
    input: &[V],
    bias: bool,
    scratch: &mut Vec<V>,
    output: Output<'_>,
) {
    conv.run::<S>(plane, input, bias, scratch, output);
}
leveled!(
    /// Convolves one pack, with or without the bias. `input` lies as `plane`, whose border is zero.
    ///
    /// Compiled on its own, once a level, rather than into every pass that uses it.
    pub(crate) fn convolve = convolve_inner(
        conv: &PackedConv, plane: Plane, input: &[V], bias: bool, scratch: &mut Vec<V>, output: Output<'_>
    )
);

#[inline(always)]
fn weight_gradient_inner<S: Simd>(
    plane: Plane,
    input: &[V],
    cotangent: &[V],
    out_channels: usize,
    kernel: usize,
    weights: &mut [f32],
    bias: &mut [f32],
) {
    let area = plane.height * plane.width;
    for o in 0..out_channels {
        let mut sum = S::splat(0.0);
        for value in &cotangent[o * area..(o + 1) * area] {
            sum = sum.add(S::load(value));
        }
        bias[o] += sum.sum();
    }
    for block in (0..out_channels).step_by(CO) {
        let count = CO.min(out_channels - block);
        for i in 0..plane.channels {
            for ky in 0..kernel {
                match (count, kernel) {
                    (4, 3) => taps::<S, 4, 3>(plane, input, cotangent, block, i, ky, kernel, 0, weights),
                    (3, 3) => taps::<S, 3, 3>(plane, input, cotangent, block, i, ky, kernel, 0, weights),
                    (2, 3) => taps::<S, 2, 3>(plane, input, cotangent, block, i, ky, kernel, 0, weights),
                    (1, 3) => taps::<S, 1, 3>(plane, input, cotangent, block, i, ky, kernel, 0, weights),
                    (4, 1) => taps::<S, 4, 1>(plane, input, cotangent, block, i, ky, kernel, 0, weights),
                    _ => {
                        for kx in 0..kernel {
                            for o in block..block + count {
                                taps::<S, 1, 1>(plane, input, cotangent, o, i, ky, kernel, kx, weights);
                            }
                        }
                    }
                }
            }
        }
    }
}

leveled!(
    /// `dW[o, i, ky, kx] += sum over positions and lanes of out[o, y, x] in[i, y + ky, x + kx]`, and the bias gradient.
    ///
    /// `input` is bordered as `plane`, `cotangent` is `[out][y][x]` without a border.
    pub(crate) fn weight_gradient = weight_gradient_inner(
        plane: Plane, input: &[V], cotangent: &[V], out_channels: usize, kernel: usize, weights: &mut [f32],
        bias: &mut [f32]
    )
);

/// `N` output channels by `K` neighbouring taps of one kernel row.
#[inline(always)]
fn taps<S: Simd, const N: usize, const K: usize>(
    plane: Plane,
    input: &[V],
    cotangent: &[V],
    block: usize,
    i: usize,
    ky: usize,
    kernel: usize,
    first: usize,
    weights: &mut [f32],
) {
    let area = plane.height * plane.width;
    let half = kernel / 2;
    let mut sums = [[S::splat(0.0); K]; N];
    for y in 0..plane.height {
        let row = plane.row(i, y) + ky * plane.row_stride() + first - half * (plane.row_stride() + 1);
        let values = &input[row..row + plane.width + K - 1];
        for x in 0..plane.width {
            let window: &[V; K] = values[x..x + K].try_into().expect("K vectors");
            let mut values = [S::splat(0.0); K];
            for k in 0..K {
                values[k] = S::load(&window[k]);
            }
            for n in 0..N {
                let out = S::load(&cotangent[(block + n) * area + y * plane.width + x]);
                for k in 0..K {
                    sums[n][k] = values[k].mul_add(out, sums[n][k]);
                }
            }
        }
    }
    for n in 0..N {
        for k in 0..K {
            let at = (((block + n) * plane.channels + i) * kernel + ky) * kernel + first + k;
            weights[at] += sums[n][k].sum();
        }
    }
}
