//! Weight gradients of 3x3 convolutions in the transformed domain.
//!
//! The adjoint of `Y = A^T (U . V) A`, `U = G g G^T`, with respect to `g` is `G^T (V . (A dY A^T)) G`: per frequency a
//! product over tiles and images, `dU[o, i] = sum of dM[o] V[i]`, a quarter of the direct kernel's multiplications. Here
//! the lanes are summed over, so one of the two sides is transposed to have channels in its vectors, and `G^T dU G` is
//! left to the end.

use crate::buffer::Scratch;
use crate::lane::{LANES, V};
use crate::level::leveled;
use crate::shape::ConvShape;
use crate::simd::Simd;
use crate::source::Source;
use crate::winograd::transform::{FREQUENCIES, Patch, taps_row, transform_cotangent, transform_sources};

/// Tiles whose products are summed together.
const TILES: usize = 4;
/// Terms of a sum: images of these tiles.
const TERMS: usize = TILES * LANES;

/// How the sums of one convolution are laid out: `[frequency][scalar channel][vector channel]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WinogradGradient {
    shape: ConvShape,
    /// Whether the input's channels are in the vectors, or the output's.
    input_in_vectors: bool,
}

impl WinogradGradient {
    pub(crate) fn new(shape: ConvShape) -> Self {
        // Products, and four operations a vector to transpose.
        let cost = |vectors: usize, scalars: usize| vectors.div_ceil(LANES) * (scalars + 4);
        let (cin, cout) = (shape.in_channels, shape.out_channels);
        WinogradGradient { shape, input_in_vectors: cost(cin, cout) < cost(cout, cin) }
    }

    /// Channels in vectors and as scalars.
    fn sides(&self) -> (usize, usize) {
        let (cin, cout) = (self.shape.in_channels, self.shape.out_channels);
        if self.input_in_vectors { (cin, cout) } else { (cout, cin) }
    }

    /// Vectors between frequencies; one more than needed, so that they do not fall on the same cache set.
    fn stride(&self) -> usize {
        let (vector, scalar) = self.sides();
        scalar * vector.div_ceil(LANES) + 1
    }

    /// Vectors of the sums.
    pub(crate) fn len(&self) -> usize {
        FREQUENCIES * self.stride()
    }
}

#[inline(always)]
fn add_products_inner<S: Simd>(
    gradient: &WinogradGradient,
    input: Source<'_>,
    cotangent: &[V],
    step: f32,
    scratch: &mut Scratch,
    sums: &mut [V],
    start: bool,
) {
    let ConvShape { in_channels: cin, out_channels: cout, height, width, .. } = gradient.shape;
    let (vector, scalar) = gradient.sides();
    let wide = vector.div_ceil(LANES);
    let (v_stride, m_stride) = (cin * TILES + 1, cout * TILES + 1);
    let input = input.settled::<S>(cin, &mut scratch.plane);
    let buffer = scratch.transforms.sized(FREQUENCIES * (v_stride + m_stride) + TERMS * wide);
    let (v, rest) = buffer.split_at_mut(FREQUENCIES * v_stride);
    let (m, turned) = rest.split_at_mut(FREQUENCIES * m_stride);
    let tiles = height.div_ceil(4) * width.div_ceil(4);
    for first in (0..tiles).step_by(TILES) {
        let count = TILES.min(tiles - first);
        transform_sources::<S>(input, &gradient.shape, first, count, TILES, v, v_stride);
        for c in 0..cout {
            let channel = &cotangent[c * height * width..(c + 1) * height * width];
            for t in 0..count {
                let patch = Patch::new(first + t, height, width);
                transform_cotangent::<S>(channel, &patch, step, &mut m[c * TILES + t..], m_stride);
            }
        }
        for f in 0..FREQUENCIES {
            let (v, m) = (&v[f * v_stride..][..cin * TILES], &m[f * m_stride..][..cout * TILES]);
            let (vectors, scalars) = if gradient.input_in_vectors { (v, m) } else { (m, v) };
            turn::<S>(vectors, vector, count, turned);
            let sums = &mut sums[f * gradient.stride()..][..scalar * wide];
            products::<S>(scalars, turned, wide, count * LANES, sums, start && first == 0);
        }
    }
}
leveled!(
    /// Adds `step` times the products of one pack to `sums`, or starts them with it.
    pub(crate) fn add_products = add_products_inner(
        gradient: &WinogradGradient, input: Source<'_>, cotangent: &[V], step: f32, scratch: &mut Scratch,
        sums: &mut [V], start: bool
    )
);

/// `[channel][tile][lane]` to `[tile][lane][channel]`, channels in whole vectors.
#[inline(always)]
fn turn<S: Simd>(values: &[V], channels: usize, tiles: usize, out: &mut [V]) {
    let wide = channels.div_ceil(LANES);
    for group in 0..wide {
        let first = group * LANES;
        for t in 0..tiles {
            let mut rows = [S::splat(0.0); LANES];
            for c in 0..LANES {
                if first + c < channels {
                    rows[c] = S::load(&values[(first + c) * TILES + t]);
                }
            }
            let columns = S::transpose(rows);
            for l in 0..LANES {
                columns[l].store(&mut out[(t * LANES + l) * wide + group]);
            }
        }
    }
}

/// `sums[scalar][group] += sum over terms of scalars[scalar][term] turned[term][group]`, or `=` at the start.
#[inline(always)]
fn products<S: Simd>(scalars: &[V], turned: &[V], wide: usize, terms: usize, sums: &mut [V], start: bool) {
    let mut group = 0;
    while group < wide {
        group += match wide - group {
            2.. if S::TILE < 4 => product_columns::<S, 1, 2>(scalars, turned, wide, group, terms, sums, start),
            3.. => product_columns::<S, 3, 8>(scalars, turned, wide, group, terms, sums, start),
            2 => product_columns::<S, 2, 8>(scalars, turned, wide, group, terms, sums, start),
            _ if S::TILE < 4 => product_columns::<S, 1, 2>(scalars, turned, wide, group, terms, sums, start),
            _ => product_columns::<S, 1, 16>(scalars, turned, wide, group, terms, sums, start),
        };
    }
}

/// `G` vectors of channels by `N` scalars at a time; returns `G`.
#[inline(always)]
fn product_columns<S: Simd, const G: usize, const N: usize>(
    scalars: &[V],
    turned: &[V],
    wide: usize,
    group: usize,
    terms: usize,
    sums: &mut [V],
    start: bool,
) -> usize {
    let scalars = scalars.as_flattened();
    let channels = scalars.len() / TERMS;
    let mut c = 0;
    while c + N <= channels {
        product_tile::<S, G, N>(&scalars[c * TERMS..], turned, wide, group, terms, &mut sums[c * wide..], start);
        c += N;
    }
    while c < channels {
        product_tile::<S, G, 1>(&scalars[c * TERMS..], turned, wide, group, terms, &mut sums[c * wide..], start);
        c += 1;
    }
    G
}

#[inline(always)]
fn product_tile<S: Simd, const G: usize, const N: usize>(
    scalars: &[f32],
    turned: &[V],
    wide: usize,
    group: usize,
    terms: usize,
    sums: &mut [V],
    start: bool,
) {
    let mut tile = [[S::splat(0.0); G]; N];
    if !start {
        for n in 0..N {
            for g in 0..G {
                tile[n][g] = S::load(&sums[n * wide + group + g]);
            }
        }
    }
    let scalars = &scalars[..(N - 1) * TERMS + terms];
    for (k, row) in turned.chunks_exact(wide).take(terms).enumerate() {
        let values: &[V; G] = row[group..group + G].try_into().expect("G vectors");
        let mut loaded = [S::splat(0.0); G];
        for g in 0..G {
            loaded[g] = S::load(&values[g]);
        }
        for n in 0..N {
            let factor = S::splat(scalars[n * TERMS + k]);
            for g in 0..G {
                tile[n][g] = loaded[g].mul_add(factor, tile[n][g]);
            }
        }
    }
    for n in 0..N {
        for g in 0..G {
            tile[n][g].store(&mut sums[n * wide + group + g]);
        }
    }
}

#[inline(always)]
fn add_taps_inner<S: Simd>(gradient: &WinogradGradient, sums: &[V], weights: &mut [f32]) {
    let (vector, scalar) = gradient.sides();
    let wide = vector.div_ceil(LANES);
    let cin = gradient.shape.in_channels;
    for s in 0..scalar {
        for group in 0..wide {
            let mut rows = [[S::splat(0.0); 3]; 6];
            for y in 0..6 {
                let mut row = [S::splat(0.0); 6];
                for x in 0..6 {
                    row[x] = S::load(&sums[(6 * y + x) * gradient.stride() + s * wide + group]);
                }
                rows[y] = taps_row(row);
            }
            let mut taps = [[0.0; LANES]; 9];
            for x in 0..3 {
                let column = taps_row([rows[0][x], rows[1][x], rows[2][x], rows[3][x], rows[4][x], rows[5][x]]);
                for y in 0..3 {
                    column[y].store(&mut taps[3 * y + x]);
                }
            }
            for l in 0..LANES.min(vector - group * LANES) {
                let v = group * LANES + l;
                let (o, i) = if gradient.input_in_vectors { (s, v) } else { (v, s) };
                for (weight, tap) in weights[(o * cin + i) * 9..][..9].iter_mut().zip(&taps) {
                    *weight += tap[l];
                }
            }
        }
    }
}
leveled!(
    /// `weights += G^T sums G`
    pub(crate) fn add_taps = add_taps_inner(gradient: &WinogradGradient, sums: &[V], weights: &mut [f32])
);
