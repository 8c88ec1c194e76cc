//! Convolution of one pack, stride 1 and zero 'same' padding: directly here, or by [`crate::winograd`].
//!
//! The direct kernel reads its input from a [`Plane`] buffer with a zero border, so that no loop knows about edges.
//! Register tiles are output channels by positions of whole vectors; the values of a kernel row pass by once for all
//! of its taps.

use crate::buffer::Scratch;
use crate::level::leveled;
use crate::power::ConvShape;
use crate::simd::Simd;
use crate::source::Source;
use crate::winograd::WinogradConv;
use crate::{LANES, Level, V};

/// Geometry of a bordered buffer `[channel][y + 2 border][x + 2 border]` of vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plane {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub border: usize,
}

impl Plane {
    /// The buffer that a convolution reads.
    pub(crate) fn of(shape: &ConvShape) -> Self {
        let ConvShape { in_channels: channels, height, width, kernel, .. } = *shape;
        Plane { channels, height, width, border: kernel / 2 }
    }

    pub(crate) fn row_stride(&self) -> usize {
        self.width + 2 * self.border
    }

    pub(crate) fn channel_stride(&self) -> usize {
        self.row_stride() * (self.height + 2 * self.border)
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
    shape: ConvShape,
    weights: Weights,
    /// None for an adjoint.
    bias: Option<Vec<f32>>,
}

#[derive(Clone, Debug)]
enum Weights {
    /// `[block of CO out][in][ky][kx][CO]`
    Direct(Vec<f32>),
    Winograd(WinogradConv),
}

/// Channels, of the narrower side, from which on Winograd's transforms pay: measured on AVX-512, the direct kernel is
/// ahead at 12/3 and below.
const WINOGRAD_CHANNELS: usize = 4;

/// Output channels of one register tile.
const CO: usize = 4;

impl PackedConv {
    /// Packs `[out, in, k, k]` weights for the kernel that is faster.
    pub(crate) fn new(weights: &[f32], bias: Option<&[f32]>, shape: ConvShape, level: Level) -> Self {
        let ConvShape { in_channels, out_channels, kernel, .. } = shape;
        let taps = kernel * kernel;
        assert_eq!(weights.len(), out_channels * in_channels * taps, "weights of a convolution");
        let pays = kernel == 3 && in_channels.min(out_channels) >= WINOGRAD_CHANNELS;
        let weights = match pays {
            true => Weights::Winograd(WinogradConv::new(weights, shape, level)),
            false => Weights::Direct(pack_direct(weights, out_channels, in_channels, taps)),
        };
        PackedConv { shape, weights, bias: bias.map(<[f32]>::to_vec) }
    }

    /// The adjoint of the convolution of this shape: channels exchanged, taps reversed, no bias.
    pub(crate) fn adjoint(weights: &[f32], shape: ConvShape, level: Level) -> Self {
        let ConvShape { in_channels, out_channels, kernel, .. } = shape;
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
        let shape = ConvShape { in_channels: out_channels, out_channels: in_channels, ..shape };
        Self::new(&flipped, None, shape, level)
    }

    #[inline(always)]
    fn direct<S: Simd>(
        &self,
        packed: &[f32],
        plane: Plane,
        input: &[V],
        bias: Option<&[f32]>,
        output: &mut Output<'_>,
    ) {
        let ConvShape { in_channels, out_channels, kernel, .. } = self.shape;
        let mut packed = packed;
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

/// What happens to the values of a convolution; all places are unbordered `[channel][y][x]`.
pub(crate) enum Output<'a> {
    /// They are stored.
    Store(&'a mut [V]),
    /// `to <- from + step value`, or `to <- to + step value`.
    Add { from: Option<&'a [V]>, to: &'a mut [V], step: f32 },
    /// `x <- target - step value`, and the squared lengths of the moves are added to `sums`.
    FixedPoint { x: &'a mut [V], target: &'a [V], step: f32, sums: &'a mut [V; 4] },
    /// The cotangent of what stands before another convolution: `to <- [to +] mask . b'(z) . value`.
    Pull { source: Source<'a>, to: &'a mut [V], add: bool },
}

impl Output<'_> {
    /// Takes neighbouring values of a row, the first of them at place `at`.
    #[inline(always)]
    pub(crate) fn put<S: Simd>(&mut self, channel: usize, at: usize, values: &[V]) {
        let places = at..at + values.len();
        match self {
            Output::Store(to) => to[places].copy_from_slice(values),
            Output::Add { from: Some(from), to, step } => {
                let step = S::splat(*step);
                for ((to, from), value) in to[places.clone()].iter_mut().zip(&from[places]).zip(values) {
                    S::load(value).mul_add(step, S::load(from)).store(to);
                }
            }
            Output::Add { from: None, to, step } => {
                let step = S::splat(*step);
                for (to, value) in to[places].iter_mut().zip(values) {
                    S::load(value).mul_add(step, S::load(to)).store(to);
                }
            }
            Output::FixedPoint { x, target, step, sums } => {
                let step = S::splat(-*step);
                let moves = x[places.clone()].iter_mut().zip(&target[places.clone()]).zip(values).zip(places);
                for (((x, target), value), at) in moves {
                    let new = S::load(value).mul_add(step, S::load(target));
                    let moved = new.sub(S::load(x));
                    let sum = &mut sums[at % 4];
                    moved.mul_add(moved, S::load(sum)).store(sum);
                    new.store(x);
                }
            }
            Output::Pull { source, to, add } => {
                for (at, value) in places.zip(values) {
                    let pulled = source.pull(channel, at, S::load(value));
                    let to = &mut to[at];
                    match add {
                        true => S::load(to).add(pulled).store(to),
                        false => pulled.store(to),
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn convolve_inner<S: Simd>(
    conv: &PackedConv,
    source: Source<'_>,
    bias: bool,
    scratch: &mut Scratch,
    output: Output<'_>,
) {
    let mut output = output;
    let bias = conv.bias.as_deref().filter(|_| bias);
    match &conv.weights {
        Weights::Winograd(winograd) => {
            let source = source.settled::<S>(conv.shape.in_channels, &mut scratch.plane);
            winograd.run::<S>(source, bias, &mut scratch.transforms, &mut output);
        }
        Weights::Direct(weights) => {
            let plane = Plane::of(&conv.shape);
            let input = scratch.plane.sized(plane.len());
            source.fill::<S>(plane, input);
            conv.direct::<S>(weights, plane, input, bias, &mut output);
        }
    }
}
leveled!(
    /// Convolves one pack, with or without the bias.
    ///
    /// Compiled on its own, once a level, rather than into every pass that uses it.
    pub(crate) fn convolve = convolve_inner(
        conv: &PackedConv, source: Source<'_>, bias: bool, scratch: &mut Scratch, output: Output<'_>
    )
);
