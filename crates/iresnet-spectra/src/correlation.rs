//! The coefficients `G_d = sum_(a - b = d) K_a K_b^T` of `F F^H`, for 3x3 kernels in 18 products of taps instead of 45.
//!
//! `F(z) F(1/z)^T` is a product of polynomials, and Toom and Cook multiply those at points: three coefficients by three
//! in five products, at 0, 1, -1, 2 and infinity. Times its own mirror image it takes four: the value at 0 is the
//! transpose of that at infinity, and the values at 1 and -1, which are symmetric, leave `G_1 - G_1^T` to a fourth. Along
//! the rows of the kernel the polynomial is its own mirror image; what is left to multiply along the columns is so at 1
//! and -1 and not in the other two products: `2 * 4 + 2 * 5`.

use faer::linalg::matmul::matmul;
use faer::{Accum, Par};
use rayon::prelude::*;

use crate::scratch::Matrix;
use crate::taps::Taps;

/// By how much the rounding of these sums exceeds that of single products, at most.
///
/// A matrix that is multiplied has entries below `4 sum_a |K_a|` (the point 2), so that a product is off by
/// `16 (depth + 16) eps (sum_a ||K_a||_F)^2` at most, and `(sum_a ||K_a||_F)^2 <= k^2 ||K||_F^2`. A coefficient takes
/// products with weights of at most 17 in all (7 along the columns: `R_1`; along the rows two such and an average of
/// symmetric ones), and the symbol 25 coefficients: `16 * 17 * 25 (depth + 16)` where [`Taps::rounding`] has
/// `2 (9 depth + 57)`, which is 450 times that from 96 channels on. Rounded up.
pub(crate) const GROWTH: f64 = 800.0;

/// What a product with the mirror image takes: the values at 1 and -1, and `K_0 - K_2`.
const MIRRORED: [[f64; 3]; 3] = [[1.0, 1.0, 1.0], [1.0, -1.0, 1.0], [1.0, 0.0, -1.0]];

/// Coefficients by their offset in columns, from -2 to 2.
type Row = [Matrix; 5];

/// The coefficients at `(dy, dx)` for `dy` from 0 to 2: `[dy][dx + 2]`.
///
/// # Panics
/// With other kernels than 3x3.
pub(crate) fn coefficients(taps: &Taps) -> [Row; 3] {
    assert_eq!(taps.kernel, 3, "kernels of 3x3");
    let row = |y: usize| -> [&Matrix; 3] { std::array::from_fn(|x| &taps.matrices[y * 3 + x]) };
    let [top, middle, bottom] = [row(0), row(1), row(2)];
    let [mut plus, mut minus, mut difference]: [Vec<Matrix>; 3] = Default::default();
    for x in 0..3 {
        let [p, m, d] = combinations([top[x], middle[x], bottom[x]], MIRRORED);
        plus.push(p);
        minus.push(m);
        difference.push(d);
    }
    fn three(of: &[Matrix]) -> [&Matrix; 3] {
        [&of[0], &of[1], &of[2]]
    }
    let jobs: [(_, _); 4] =
        [(three(&plus), None), (three(&minus), None), (bottom, Some(top)), (middle, Some(three(&difference)))];
    let mut rows: Vec<Row> =
        jobs.into_par_iter().map(|(a, b)| b.map_or_else(|| autocorrelation(a), |b| correlation(a, b))).collect();
    let [p, two, minus, plus] = std::array::from_fn(|_| rows.pop().expect("four"));
    let zero = |d: usize| sum(&[(0.5, &plus[d]), (0.5, &minus[d]), (-1.0, &two[d]), (-1.0, &transposed(&two[4 - d]))]);
    let one = |d: usize| sum(&[(0.25, &plus[d]), (-0.25, &minus[d]), (0.5, &p[d]), (-0.5, &transposed(&p[4 - d]))]);
    [std::array::from_fn(zero), std::array::from_fn(one), two]
}

/// `sum_(a - b = d) A_a B_b^T`
fn correlation(a: [&Matrix; 3], b: [&Matrix; 3]) -> Row {
    let b = [b[2], b[1], b[0]];
    const POINTS: [[f64; 3]; 3] = [[1.0, 1.0, 1.0], [1.0, -1.0, 1.0], [1.0, 2.0, 4.0]];
    let (left, right) = (combinations(a, POINTS), combinations(b, POINTS));
    let [plus, minus, two] = std::array::from_fn(|i| times(&left[i], &right[i]));
    let (r0, r4) = (times(a[0], b[0]), times(a[2], b[2]));
    let r2 = sum(&[(0.5, &plus), (0.5, &minus), (-1.0, &r0), (-1.0, &r4)]);
    // R(1) - R(-1) = 2 (R_1 + R_3) and R(2) = R_0 + 2 R_1 + 4 R_2 + 8 R_3 + 16 R_4.
    let sixth = 1.0 / 6.0;
    let r3 = sum(&[
        (sixth, &two),
        (-sixth, &r0),
        (-4.0 * sixth, &r2),
        (-16.0 * sixth, &r4),
        (-sixth, &plus),
        (sixth, &minus),
    ]);
    let r1 = sum(&[(0.5, &plus), (-0.5, &minus), (-1.0, &r3)]);
    [r0, r1, r2, r3, r4]
}

/// `sum_(a - b = d) A_a A_b^T`
fn autocorrelation(a: [&Matrix; 3]) -> Row {
    let [plus, minus, difference] = combinations(a, MIRRORED);
    let (plus, minus) = (times(&plus, &plus), times(&minus, &minus));
    let two = times(a[2], a[0]);
    // P - P^T = G_1 - G_1^T, and R(1) - R(-1) = 2 (G_1 + G_1^T).
    let p = times(a[1], &difference);
    let one = sum(&[(0.25, &plus), (-0.25, &minus), (0.5, &p), (-0.5, &transposed(&p))]);
    let back = transposed(&two);
    let zero = sum(&[(0.5, &plus), (0.5, &minus), (-1.0, &two), (-1.0, &back)]);
    [back, transposed(&one), zero, one, two]
}

/// Three sums of three matrices in one pass.
fn combinations(terms: [&Matrix; 3], factors: [[f64; 3]; 3]) -> [Matrix; 3] {
    let len = terms[0].values.len();
    let mut sums = [(); 3].map(|()| Matrix::new(terms[0].rows, terms[0].columns));
    let [x, y, z] = sums.each_mut().map(|sum| &mut sum.values[..len]);
    let [a, b, c] = terms.map(|term| &term.values[..len]);
    for i in 0..len {
        let at = |f: [f64; 3]| f[0] * a[i] + f[1] * b[i] + f[2] * c[i];
        (x[i], y[i], z[i]) = (at(factors[0]), at(factors[1]), at(factors[2]));
    }
    sums
}

fn transposed(a: &Matrix) -> Matrix {
    let mut to = Matrix::new(a.columns, a.rows);
    to.as_mut().copy_from(a.as_ref().transpose());
    to
}

/// `A B^T`
fn times(a: &Matrix, b: &Matrix) -> Matrix {
    let mut product = Matrix::new(a.rows, b.rows);
    matmul(product.as_mut(), Accum::Replace, a.as_ref(), b.as_ref().transpose(), 1.0, Par::Seq);
    product
}

fn sum(terms: &[(f64, &Matrix)]) -> Matrix {
    let ((first, term), rest) = terms.split_first().expect("at least one");
    let mut sum = Matrix::new(term.rows, term.columns);
    sum.values.iter_mut().zip(term.values.iter()).for_each(|(sum, term)| *sum = first * term);
    for (factor, term) in rest {
        sum.values.iter_mut().zip(term.values.iter()).for_each(|(sum, term)| *sum += factor * term);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::ConvLayer;

    #[test]
    fn coefficients_are_sums_of_products_of_taps() {
        for (out_channels, in_channels) in [(1, 1), (3, 5), (6, 4), (20, 40)] {
            let weight: Vec<f32> =
                (0..out_channels * in_channels * 9).map(|i| ((i * 7919 + 13) % 1009) as f32 / 504.5 - 1.0).collect();
            let name = String::new();
            let layer = ConvLayer { name, weight: &weight, out_channels, in_channels, kernel: 3, height: 8, width: 8 };
            let taps = Taps::of(&layer, false);
            let rows = coefficients(&taps);
            for (dy, dx) in (0..3).flat_map(|dy| (-2..=2isize).map(move |dx| (dy, dx))) {
                let mut expected = Matrix::new(taps.side, taps.side);
                expected.values.fill(0.0);
                for (y, x) in (0..3usize).flat_map(|y| (0..3isize).map(move |x| (y, x))) {
                    if y + dy < 3 && (0..3).contains(&(x + dx)) {
                        let (a, b) = ((y + dy) * 3 + (x + dx) as usize, y * 3 + x as usize);
                        taps.product(a, b, expected.as_mut(), Accum::Add, Par::Seq);
                    }
                }
                for (a, b) in rows[dy][(dx + 2) as usize].values.iter().zip(expected.values.iter()) {
                    // A few dozen roundings of sums of some hundred products below 1; [`GROWTH`] allows far more.
                    assert!((a - b).abs() <= 1e-12, "{out_channels} {in_channels} {dy} {dx}: {a} {b}");
                }
            }
        }
    }
}
