//! The transforms of Winograd F(4x4, 3x3) and their adjoints: `Y = A^T ((G g G^T) . (B^T d B)) A`.
//!
//! The points are 0, ±3/4, ±3/2, infinity, which are exact in float32 and halve the error of the textbook's 0, ±1, ±2.
//! The transforms follow from Toom and Cook: with `M(x) = x (x^2 - a^2)(x^2 - b^2)`, the rows of `B^T` are the
//! coefficients of `M / (x - p)` and of `M`, those of `G` powers of `p` over `M'(p)`.

use crate::lane::{LANES, V};
use crate::shape::ConvShape;
use crate::simd::Simd;
use crate::source::{Kind, Source};

const A: f32 = 0.75;
const B: f32 = 1.5;
const A2: f32 = A * A;
const B2: f32 = B * B;
/// Frequencies of a tile.
pub(crate) const FREQUENCIES: usize = 36;

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
pub(crate) fn transform_output<S: Simd>(m: &[V], stride: usize, start: S) -> [V; 16] {
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

/// `step A dY A^T` of one tile, frequencies `stride` vectors apart.
#[inline(always)]
pub(crate) fn transform_cotangent<S: Simd>(channel: &[V], patch: &Patch, step: f32, out: &mut [V], stride: usize) {
    let Patch { top, left, height, width } = *patch;
    let mut rows = [[S::splat(0.0); 6]; 4];
    let step = S::splat(step);
    for y in 0..4 {
        if top + y < height {
            let row = &channel[(top + y) * width..(top + y + 1) * width];
            let mut d = [S::splat(0.0); 4];
            for x in 0..4 {
                if left + x < width {
                    d[x] = S::load(&row[left + x]).mul(step);
                }
            }
            rows[y] = cotangent_row(d);
        }
    }
    for x in 0..6 {
        let column = cotangent_row([rows[0][x], rows[1][x], rows[2][x], rows[3][x]]);
        for y in 0..6 {
            column[y].store(&mut out[(6 * y + x) * stride]);
        }
    }
}

/// `A y` for four values.
#[inline(always)]
fn cotangent_row<S: Simd>(y: [S; 4]) -> [S; 6] {
    let (even_a, odd_a) = (y[2].mul_add(S::splat(A2), y[0]), y[3].mul_add(S::splat(A * A2), y[1].mul(S::splat(A))));
    let (even_b, odd_b) = (y[2].mul_add(S::splat(B2), y[0]), y[3].mul_add(S::splat(B * B2), y[1].mul(S::splat(B))));
    [y[0], even_a.add(odd_a), even_a.sub(odd_a), even_b.add(odd_b), even_b.sub(odd_b), y[3]]
}

/// A value of each output channel of a block.
pub(crate) type Channels = [f64; 12];

/// `G g` for one row or column of three taps.
#[inline(always)]
pub(crate) fn transform_taps(g: [&Channels; 3]) -> [Channels; 6] {
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

/// `G^T u` for six values.
#[inline(always)]
pub(crate) fn taps_row<S: Simd>(u: [S; 6]) -> [S; 3] {
    let (na, nb) = (1.0 / (2.0 * A2 * (A2 - B2)), 1.0 / (2.0 * B2 * (B2 - A2)));
    let (even_a, odd_a) = (u[1].add(u[2]).mul(S::splat(na)), u[1].sub(u[2]).mul(S::splat(na)));
    let (even_b, odd_b) = (u[3].add(u[4]).mul(S::splat(nb)), u[3].sub(u[4]).mul(S::splat(nb)));
    [
        u[0].mul_add(S::splat(1.0 / (A2 * B2)), even_a.add(even_b)),
        odd_a.mul_add(S::splat(A), odd_b.mul(S::splat(B))),
        even_a.mul_add(S::splat(A2), even_b.mul_add(S::splat(B2), u[5])),
    ]
}
