//! Convolution by Winograd F(4x4, 3x3): 36 multiplications for 16 outputs where the direct kernel needs 144.
//!
//! Tiles read the layer before directly: activation, affine map and dropout are applied as values are loaded, and what
//! lies outside the image is zero.

use crate::buffer::Buffer;
use crate::lane::{LANES, V};
use crate::level::{Level, leveled};
use crate::output::Output;
use crate::shape::ConvShape;
use crate::simd::Simd;
use crate::source::Source;
use crate::winograd::transform::{FREQUENCIES, Patch, transform_output, transform_sources, transform_taps};

/// Most tiles whose transforms are held at once.
const MOST_TOGETHER: usize = 4;

/// Transformed weights of a 3x3 convolution, `[frequency][block of out][in][out in the block]`.
#[derive(Clone, Debug)]
pub(crate) struct WinogradConv {
    shape: ConvShape,
    /// Output channels of a block.
    block: usize,
    weights: Vec<f32>,
    /// Between frequencies; odd in vectors, so that the 36 stores of a transform do not fall on the same cache set.
    stride: usize,
}

/// Output channels of the register tile.
fn block_size(out_channels: usize, level: Level) -> usize {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 if out_channels.is_multiple_of(12) => 12,
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 if out_channels.is_multiple_of(8) => 8,
        _ => 4,
    }
}

/// Start and size of each block of at most `block` channels; what is left over goes in smaller ones.
fn blocks(out_channels: usize, block: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let left = out_channels - start;
        let count = if left >= block { block } else { left.min(4) };
        start += count;
        (count > 0).then_some((start - count, count))
    })
}

#[inline(always)]
fn transform_weights_inner<S: Simd>(
    weights: &[f32],
    shape: &ConvShape,
    block: usize,
    stride: usize,
    packed: &mut [f32],
) {
    let cin = shape.in_channels;
    for (start, count) in blocks(shape.out_channels, block) {
        for i in 0..cin {
            let mut g = [[0.0; 12]; 9];
            for l in 0..count {
                for (k, tap) in weights[((start + l) * cin + i) * 9..][..9].iter().enumerate() {
                    g[k][l] = f64::from(*tap);
                }
            }
            let mut rows = [[[0.0; 12]; 6]; 3];
            for r in 0..3 {
                rows[r] = transform_taps([&g[3 * r], &g[3 * r + 1], &g[3 * r + 2]]);
            }
            for x in 0..6 {
                let column = transform_taps([&rows[0][x], &rows[1][x], &rows[2][x]]);
                for y in 0..6 {
                    let to = &mut packed[(6 * y + x) * stride + start * cin + i * count..][..count];
                    for l in 0..count {
                        to[l] = column[y][l] as f32;
                    }
                }
            }
        }
    }
}
leveled!(fn transform_weights = transform_weights_inner(
    weights: &[f32], shape: &ConvShape, block: usize, stride: usize, packed: &mut [f32]
));

impl WinogradConv {
    /// Transforms `[out, in, 3, 3]` weights.
    pub(crate) fn new(weights: &[f32], shape: ConvShape, level: Level) -> Self {
        let stride = padded(shape.out_channels * shape.in_channels);
        let block = block_size(shape.out_channels, level);
        let mut packed = vec![0.0; FREQUENCIES * stride];
        transform_weights(level, weights, &shape, block, stride, &mut packed);
        WinogradConv { shape, block, weights: packed, stride }
    }

    /// Hands every value of the convolution, `bias` included, to `output`.
    #[inline(always)]
    pub(crate) fn run<S: Simd>(
        &self,
        source: Source<'_>,
        bias: Option<&[f32]>,
        scratch: &mut Buffer,
        output: &mut Output<'_>,
    ) {
        match self.block {
            12 => self.run_tiles::<S, 12, 2>(source, bias, scratch, output),
            8 => self.run_tiles::<S, 8, 2>(source, bias, scratch, output),
            _ if S::TILE >= 4 => self.run_tiles::<S, 4, 4>(source, bias, scratch, output),
            _ => self.run_tiles::<S, 4, 1>(source, bias, scratch, output),
        }
    }

    /// `N` output channels by `T` tiles at a time.
    #[inline(always)]
    fn run_tiles<S: Simd, const N: usize, const T: usize>(
        &self,
        source: Source<'_>,
        bias: Option<&[f32]>,
        scratch: &mut Buffer,
        output: &mut Output<'_>,
    ) {
        let ConvShape { in_channels: cin, out_channels: cout, height, width, .. } = self.shape;
        let across = width.div_ceil(4);
        let tiles = height.div_ceil(4) * across;
        // Tiles side by side are transformed together, channel by channel, so that whole rows are read and written.
        let chunk = across.clamp(T, MOST_TOGETHER.max(T)).next_multiple_of(T);
        let (v_stride, m_stride) = (cin * chunk + 1, cout * chunk + 1);
        let (v, m) = scratch.sized(FREQUENCIES * (v_stride + m_stride)).split_at_mut(FREQUENCIES * v_stride);
        for first in (0..tiles).step_by(chunk) {
            let count = chunk.min(tiles - first);
            transform_sources::<S>(source, &self.shape, first, count, chunk, v, v_stride);
            for f in 0..FREQUENCIES {
                let weights = &self.weights[f * self.stride..][..cin * cout];
                let (v, m) = (&v[f * v_stride..][..cin * chunk], &mut m[f * m_stride..][..cout * chunk]);
                for t in (0..count).step_by(T) {
                    products::<S, N, T>(weights, &v[t..], &mut m[t..], chunk, cin, cout);
                }
            }
            for c in 0..cout {
                let start = S::splat(match bias {
                    Some(bias) => bias[c],
                    None => 0.0,
                });
                for t in 0..count {
                    let patch = Patch::new(first + t, height, width);
                    let tile = transform_output::<S>(&m[c * chunk + t..], m_stride, start);
                    let inside = 4.min(width - patch.left);
                    for (y, row) in (patch.top..height).zip(tile.chunks_exact(4)) {
                        output.put::<S>(c, (c * height + y) * width + patch.left, &row[..inside]);
                    }
                }
            }
        }
    }
}

/// A stride between frequencies, of values, that is no multiple of a power of two.
fn padded(len: usize) -> usize {
    len.next_multiple_of(LANES) + LANES
}

/// `m[out][tile] = sum over in of weights[out, in] v[in][tile]` for `T` of `chunk` tiles.
#[inline(always)]
fn products<S: Simd, const N: usize, const T: usize>(
    weights: &[f32],
    v: &[V],
    m: &mut [V],
    chunk: usize,
    cin: usize,
    cout: usize,
) {
    for (start, count) in blocks(cout, N) {
        let weights = &weights[start * cin..(start + count) * cin];
        let m = &mut m[start * chunk..];
        match count {
            3 => product_block::<S, 3, T>(weights, v, m, chunk),
            2 => product_block::<S, 2, T>(weights, v, m, chunk),
            1 => product_block::<S, 1, T>(weights, v, m, chunk),
            _ if count == N => product_block::<S, N, T>(weights, v, m, chunk),
            _ => product_block::<S, 4, T>(weights, v, m, chunk),
        }
    }
}

#[inline(always)]
fn product_block<S: Simd, const N: usize, const T: usize>(weights: &[f32], v: &[V], m: &mut [V], chunk: usize) {
    let mut sums = [[S::splat(0.0); T]; N];
    let (weights, _) = weights.as_chunks::<N>();
    for (w, values) in weights.iter().zip(v.chunks(chunk)) {
        let values = &values[..T];
        let mut loaded = [S::splat(0.0); T];
        for t in 0..T {
            loaded[t] = S::load(&values[t]);
        }
        for n in 0..N {
            let factor = S::splat(w[n]);
            for t in 0..T {
                sums[n][t] = loaded[t].mul_add(factor, sums[n][t]);
            }
        }
    }
    for n in 0..N {
        let m = &mut m[n * chunk..][..T];
        for t in 0..T {
            sums[n][t].store(&mut m[t]);
        }
    }
}
