//! Winograd F(4x4, 3x3) on one pack: 36 multiplications for 16 outputs where the direct kernel needs 144.
//!
//! `Y = A^T ((G g G^T) . (B^T d B)) A` with the points 0, ±3/4, ±3/2, infinity, which are exact in float32 and halve the
//! error of the textbook's 0, ±1, ±2. The transforms follow from Toom and Cook: with `M(x) = x (x^2 - a^2)(x^2 - b^2)`,
//! the rows of `B^T` are the coefficients of `M / (x - p)` and of `M`, those of `G` powers of `p` over `M'(p)`.

use crate::V;
use crate::block::sized;
use crate::conv::{CO, Output, Plane, accumulate};
use crate::simd::Simd;

const A: f32 = 0.75;
const B: f32 = 1.5;
const A2: f32 = A * A;
const B2: f32 = B * B;
/// Frequencies of a tile.
const FREQUENCIES: usize = 36;
/// Tiles that go through the products together.
const TILES: usize = 4;

/// Transformed weights of a 3x3 convolution, `[frequency][block of CO out][in][CO]`.
#[derive(Clone, Debug)]
pub(crate) struct WinogradConv {
    in_channels: usize,
    out_channels: usize,
    weights: Vec<f32>,
}

/// `G g` for one row or column of three taps.
fn transform_taps(g: [f64; 3]) -> [f64; 6] {
    let (a, b) = (f64::from(A), f64::from(B));
    let at = |p: f64, scale: f64| (g[0] + p * g[1] + p * p * g[2]) / scale;
    let (na, nb) = (2.0 * a * a * (a * a - b * b), 2.0 * b * b * (b * b - a * a));
    [at(0.0, a * a * b * b), at(a, na), at(-a, na), at(b, nb), at(-b, nb), g[2]]
}

impl WinogradConv {
    /// Transforms `[out, in, 3, 3]` weights.
    pub(crate) fn new(weights: &[f32], out_channels: usize, in_channels: usize) -> Self {
        let mut packed = vec![0.0; FREQUENCIES * out_channels * in_channels];
        for o in 0..out_channels {
            for i in 0..in_channels {
                let g = &weights[(o * in_channels + i) * 9..][..9];
                let rows: [[f64; 6]; 3] = [0, 1, 2].map(|r| transform_taps([0, 1, 2].map(|k| f64::from(g[3 * r + k]))));
                for x in 0..6 {
                    let column = transform_taps([rows[0][x], rows[1][x], rows[2][x]]);
                    for (y, value) in column.iter().enumerate() {
                        let block = o / CO * CO;
                        let count = CO.min(out_channels - block);
                        let at = block * in_channels + i * count + (o - block);
                        packed[(6 * y + x) * out_channels * in_channels + at] = *value as f32;
                    }
                }
            }
        }
        WinogradConv { in_channels, out_channels, weights: packed }
    }

    /// Hands every value of the convolution, `bias` included, to `output`.
    ///
    /// The plane has a border of 1 and covers whole tiles.
    #[inline(always)]
    pub(crate) fn run<S: Simd>(
        &self,
        plane: Plane,
        input: &[V],
        bias: Option<&[f32]>,
        scratch: &mut Vec<V>,
        output: &mut Output<'_>,
    ) {
        let (across, down) = (plane.width.div_ceil(4), plane.height.div_ceil(4));
        let (cin, cout) = (self.in_channels, self.out_channels);
        // One vector more a frequency, so that the 36 stores of a transform do not fall on the same cache set.
        let (v_stride, m_stride) = (cin * TILES + 1, cout * TILES + 1);
        let len = FREQUENCIES * (v_stride + m_stride);
        let (v, m) = sized(scratch, len).split_at_mut(FREQUENCIES * v_stride);
        let mut first = 0;
        while first < across * down {
            // As many tiles together as the registers hold and the products are compiled for.
            let count = match (across * down - first).min(S::TILE) {
                TILES.. => TILES,
                2.. => 2,
                _ => 1,
            };
            for t in 0..count {
                let (ty, tx) = ((first + t) / across, (first + t) % across);
                for c in 0..cin {
                    let corner = c * plane.channel_stride() + 4 * ty * plane.row_stride() + 4 * tx;
                    transform_input::<S>(&input[corner..], plane.row_stride(), &mut v[c * count + t..], v_stride);
                }
            }
            for f in 0..FREQUENCIES {
                let weights = &self.weights[f * cin * cout..(f + 1) * cin * cout];
                let (v, m) = (&v[f * v_stride..][..cin * count], &mut m[f * m_stride..][..cout * count]);
                match count {
                    TILES => products::<S, TILES>(weights, v, m, cin, cout),
                    2 => products::<S, 2>(weights, v, m, cin, cout),
                    _ => products::<S, 1>(weights, v, m, cin, cout),
                }
            }
            for t in 0..count {
                let (ty, tx) = ((first + t) / across, (first + t) % across);
                for c in 0..cout {
                    let rows = transform_output::<S>(&m[c * count + t..], m_stride);
                    let start = S::splat(match bias {
                        Some(bias) => bias[c],
                        None => 0.0,
                    });
                    for (dy, row) in rows.iter().enumerate() {
                        for (dx, value) in row.iter().enumerate() {
                            let (y, x) = (4 * ty + dy, 4 * tx + dx);
                            if y < plane.height && x < plane.width {
                                output.put((c * plane.height + y) * plane.width + x, value.add(start));
                            }
                        }
                    }
                }
            }
            first += count;
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

/// `B^T d B` of one 6x6 patch, written with a stride of `stride` vectors.
#[inline(always)]
fn transform_input<S: Simd>(patch: &[V], row_stride: usize, out: &mut [V], stride: usize) {
    let mut rows = [[S::splat(0.0); 6]; 6];
    for y in 0..6 {
        let values: &[V; 6] = patch[y * row_stride..y * row_stride + 6].try_into().expect("six vectors");
        let mut d = [S::splat(0.0); 6];
        for x in 0..6 {
            d[x] = S::load(&values[x]);
        }
        rows[y] = input_row(d);
    }
    for x in 0..6 {
        let column = input_row([rows[0][x], rows[1][x], rows[2][x], rows[3][x], rows[4][x], rows[5][x]]);
        for y in 0..6 {
            column[y].store(&mut out[(6 * y + x) * stride]);
        }
    }
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

/// `A^T m A` of one tile, read with a stride of `stride` vectors.
#[inline(always)]
fn transform_output<S: Simd>(m: &[V], stride: usize) -> [[S; 4]; 4] {
    let zero = S::splat(0.0);
    let mut columns = [[zero; 4]; 6];
    for x in 0..6 {
        let mut column = [zero; 6];
        for y in 0..6 {
            column[y] = S::load(&m[(6 * y + x) * stride]);
        }
        columns[x] = output_row(column);
    }
    let mut rows = [[zero; 4]; 4];
    for y in 0..4 {
        let mut row = [zero; 6];
        for x in 0..6 {
            row[x] = columns[x][y];
        }
        rows[y] = output_row(row);
    }
    rows
}

/// `m[out][tile] = sum over in of weights[out, in] v[in][tile]` for `T` tiles.
#[inline(always)]
fn products<S: Simd, const T: usize>(weights: &[f32], v: &[V], m: &mut [V], cin: usize, cout: usize) {
    for block in (0..cout).step_by(CO) {
        let count = CO.min(cout - block);
        let weights = &weights[block * cin..(block + count) * cin];
        let m = &mut m[block * T..(block + count) * T];
        match count {
            4 => product_block::<S, T, 4>(weights, v, m),
            3 => product_block::<S, T, 3>(weights, v, m),
            2 => product_block::<S, T, 2>(weights, v, m),
            _ => product_block::<S, T, 1>(weights, v, m),
        }
    }
}

#[inline(always)]
fn product_block<S: Simd, const T: usize, const N: usize>(weights: &[f32], v: &[V], m: &mut [V]) {
    let mut sums = [[S::splat(0.0); T]; N];
    let (weights, _) = weights.as_chunks::<N>();
    let (v, _) = v.as_chunks::<T>();
    for (w, values) in weights.iter().zip(v) {
        accumulate(w, values, &mut sums);
    }
    for n in 0..N {
        for t in 0..T {
            sums[n][t].store(&mut m[n * T + t]);
        }
    }
}
