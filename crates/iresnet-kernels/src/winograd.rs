//! Winograd F(4x4, 3x3) on one pack: 36 multiplications for 16 outputs where the direct kernel needs 144.
//!
//! `Y = A^T ((G g G^T) . (B^T d B)) A` with the points 0, ±3/4, ±3/2, infinity, which are exact in float32 and halve the
//! error of the textbook's 0, ±1, ±2. The transforms follow from Toom and Cook: with `M(x) = x (x^2 - a^2)(x^2 - b^2)`,
//! the rows of `B^T` are the coefficients of `M / (x - p)` and of `M`, those of `G` powers of `p` over `M'(p)`.
//!
//! Tiles read the layer before directly: activation, affine map and dropout are applied as values are loaded, and what
//! lies outside the image is zero.

use crate::buffer::Buffer;
use crate::conv::Output;
use crate::level::leveled;
use crate::power::ConvShape;
use crate::simd::Simd;
use crate::source::{Kind, Source};
use crate::{LANES, Level, V};

pub(crate) const A: f32 = 0.75;
pub(crate) const B: f32 = 1.5;
pub(crate) const A2: f32 = A * A;
pub(crate) const B2: f32 = B * B;
/// Frequencies of a tile.
pub(crate) const FREQUENCIES: usize = 36;

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

/// A value of each output channel of a block.
type Channels = [f64; 12];

/// `G g` for one row or column of three taps.
#[inline(always)]
fn transform_taps(g: [&Channels; 3]) -> [Channels; 6] {
    let (a, b) = (f64::from(A), f64::from(B));
    let (na, nb) = (1.0 / (2.0 * a * a * (a * a - b * b)), 1.0 / (2.0 * b * b * (b * b - a * a)));
    let zero = 1.0 / (a * a * b * b);
    let mut out = [[0.0; 12]; 6];
    for l in 0..12 {
        let (g0, g1, g2) = (g[0][l], g[1][l], g[2][l]);
        let (even_a, odd_a) = ((g0 + a * a * g2) * na, a * g1 * na);
        let (even_b, odd_b) = ((g0 + b * b * g2) * nb, b * g1 * nb);
        out[0][l] = g0 * zero;
        out[1][l] = even_a + odd_a;
        out[2][l] = even_a - odd_a;
        out[3][l] = even_b + odd_b;
        out[4][l] = even_b - odd_b;
        out[5][l] = g2;
    }
    out
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

/// The inputs of one tile of 4x4 outputs.
pub(crate) struct Patch {
    /// First row and column of the tile's outputs.
    pub top: usize,
    pub left: usize,
    /// Size of the image.
    pub height: usize,
    pub width: usize,
}

impl Patch {
    #[inline(always)]
    pub(crate) fn new(tile: usize, height: usize, width: usize) -> Self {
        let across = width.div_ceil(4);
        Patch { top: tile / across * 4, left: tile % across * 4, height, width }
    }
}

/// `B^T d B` of `count` tiles from number `first` on in every channel of a settled source, as `[frequency][channel][chunk]`
/// with frequencies `stride` vectors apart. Channel by channel, so that whole rows are read.
#[inline(always)]
pub(crate) fn transform_sources<S: Simd>(
    source: Source<'_>,
    shape: &ConvShape,
    first: usize,
    count: usize,
    chunk: usize,
    out: &mut [V],
    stride: usize,
) {
    for c in 0..shape.in_channels {
        for t in 0..count {
            let patch = Patch::new(first + t, shape.height, shape.width);
            transform_source::<S>(source, &patch, c, &mut out[c * chunk + t..], stride);
        }
    }
}

/// `B^T d B` of the patch in one channel of a settled source, frequencies `stride` vectors apart.
#[inline(always)]
fn transform_source<S: Simd>(source: Source<'_>, patch: &Patch, c: usize, out: &mut [V], stride: usize) {
    let area = patch.height * patch.width;
    // Rows and columns of the patch that lie in the image.
    let (y0, x0) = (usize::from(patch.top == 0), usize::from(patch.left == 0));
    let (y1, x1) = ((patch.height + 1 - patch.top).min(6), (patch.width + 1 - patch.left).min(6));
    let mut d = [[S::splat(0.0); 6]; 6];
    let values = &source.z[c * area..(c + 1) * area];
    for y in 0..6 {
        if y >= y0 && y < y1 {
            // One too far to the left where the patch begins outside; that column is not read.
            let row = (patch.top + y - 1) * patch.width + patch.left;
            for x in 0..6 {
                if x >= x0 && x < x1 {
                    d[y][x] = S::load(&values[row + x - 1]);
                }
            }
        }
    }
    if source.kind() == Kind::Relu {
        for y in 0..6 {
            for x in 0..6 {
                d[y][x] = d[y][x].relu();
            }
        }
    }
    let mut rows = [[S::splat(0.0); 6]; 6];
    for y in 0..6 {
        rows[y] = input_row(d[y]);
    }
    for x in 0..6 {
        let column = input_row([rows[0][x], rows[1][x], rows[2][x], rows[3][x], rows[4][x], rows[5][x]]);
        for y in 0..6 {
            column[y].store(&mut out[(6 * y + x) * stride]);
        }
    }
}

/// `B^T d` for six values.
#[inline(always)]
fn input_row<S: Simd>(d: [S; 6]) -> [S; 6] {
    let (minus_a2, minus_b2) = (S::splat(-A2), S::splat(-B2));
    let (sum, product) = (S::splat(-(A2 + B2)), S::splat(A2 * B2));
    let (even_a, odd_a) = (d[2].mul_add(minus_b2, d[4]), d[1].mul_add(minus_b2, d[3]).mul(S::splat(A)));
    let (even_b, odd_b) = (d[2].mul_add(minus_a2, d[4]), d[1].mul_add(minus_a2, d[3]).mul(S::splat(B)));
    [
        d[0].mul_add(product, d[2].mul_add(sum, d[4])),
        even_a.add(odd_a),
        even_a.sub(odd_a),
        even_b.add(odd_b),
        even_b.sub(odd_b),
        d[1].mul_add(product, d[3].mul_add(sum, d[5])),
    ]
}

/// `A^T m` for six values.
#[inline(always)]
fn output_row<S: Simd>(m: [S; 6]) -> [S; 4] {
    let (sum_a, difference_a) = (m[1].add(m[2]), m[1].sub(m[2]));
    let (sum_b, difference_b) = (m[3].add(m[4]), m[3].sub(m[4]));
    [
        m[0].add(sum_a).add(sum_b),
        difference_a.mul_add(S::splat(A), difference_b.mul(S::splat(B))),
        sum_a.mul_add(S::splat(A2), sum_b.mul(S::splat(B2))),
        difference_a.mul_add(S::splat(A * A2), difference_b.mul_add(S::splat(B * B2), m[5])),
    ]
}

/// `A^T m A + start` of one tile, read with a stride of `stride` vectors.
#[inline(always)]
fn transform_output<S: Simd>(m: &[V], stride: usize, start: S) -> [V; 16] {
    let zero = S::splat(0.0);
    let mut columns = [[zero; 4]; 6];
    for x in 0..6 {
        let mut column = [zero; 6];
        for y in 0..6 {
            column[y] = S::load(&m[(6 * y + x) * stride]);
        }
        columns[x] = output_row(column);
    }
    let mut tile = [[0.0; LANES]; 16];
    for y in 0..4 {
        let mut row = [zero; 6];
        for x in 0..6 {
            row[x] = columns[x][y];
        }
        let row = output_row(row);
        for x in 0..4 {
            row[x].add(start).store(&mut tile[4 * y + x]);
        }
    }
    tile
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
