//! Gram iteration: `||A||_2 <= ||A^(2^t)||_F^(2^-t)`, an upper bound at every t that closes in on the norm
//! (Delattre et al. 2023), with every rounding error of float64 added on the safe side.
//!
//! For a symmetric `A_t` with `||A_t||_F = 1`, let `B = fl(A_t A_t)`, `s = ||B||_F`, `A_{t+1} = B / s`. Elementwise
//! `|B - A_t^2| <= gamma |A_t| |A_t|`, so in Frobenius norm the error is at most `gamma`, and
//! `||A_t||_2^2 = ||A_t^2||_2 <= s ||A_{t+1}||_2 + gamma`. Going back from `||A_T||_2 <= ||A_T||_F = 1` gives the bound.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};

use crate::bound::UpperBound;

/// Rounding of a sum of `n` products, doubled for what is done to its result.
fn gamma(n: usize) -> f64 {
    2.0 * (n as f64 + 4.0) * f64::EPSILON
}

/// Upper bound of the spectral norm of the matrix with the given `gram` matrix `W W^T`, whose entries were computed as
/// sums of at most `terms` products of a matrix with Frobenius norm `frobenius`.
pub(crate) fn norm_bound(gram: Mat<f64>, terms: usize, frobenius: f64) -> f64 {
    let m = gram.nrows();
    // ||A||_F <= m^(1/2) ||A||_2: after this many squarings the surplus is below 1e-4.
    let squarings = ((0.5 * (m as f64).ln() / 1e-4).log2().ceil().max(4.0)) as usize;
    let size = gram.norm_l2();
    if size == 0.0 {
        // No norm exceeds Frobenius'.
        return frobenius;
    }
    let mut a = gram;
    scale(&mut a, 1.0 / size);
    let mut sizes = Vec::with_capacity(squarings);
    for _ in 0..squarings {
        let mut square = Mat::zeros(m, m);
        matmul(&mut square, Accum::Replace, &a, &a, 1.0, Par::rayon(0));
        let s = square.norm_l2();
        sizes.push(s);
        scale(&mut square, 1.0 / s);
        a = square;
    }
    let mut bound = 1.0 + gamma(m);
    for s in sizes.into_iter().rev() {
        bound = ((s * bound * (1.0 + gamma(m)) + gamma(m)) * (1.0 + gamma(1))).sqrt();
    }
    // ||W W^T||_2 <= size bound + the Gram matrix's own rounding, at most gamma ||W||_F^2.
    let norm = (size * bound * (1.0 + gamma(m)) + gamma(terms) * frobenius * frobenius).sqrt();
    (norm * (1.0 + gamma(1))).next_up()
}

/// Upper bound of the spectral norm of a matrix, within 2e-4; infinite where an entry is not finite.
///
/// # Shapes
/// `w` is `[rows, columns]`, row by row.
///
/// # Panics
/// If `w` is not a whole number of rows, or without columns.
pub fn matrix_norm_bound(w: &[f64], columns: usize) -> UpperBound {
    assert!(columns > 0 && w.len().is_multiple_of(columns), "{} values are no rows of {columns}", w.len());
    if !w.iter().all(|x| x.is_finite()) {
        return UpperBound::INFINITE;
    }
    // In units of a power of two near the largest entry: no square overflows, those that underflow are too small to
    // matter, and nothing else changes.
    let largest = w.iter().fold(0.0, |top: f64, x| top.max(x.abs()));
    let unit = f64::from_bits(largest.to_bits() & f64::INFINITY.to_bits()).max(f64::MIN_POSITIVE);
    let scaled: Vec<f64> = w.iter().map(|x| x / unit).collect();
    let w = MatRef::from_row_major_slice(&scaled, w.len() / columns, columns);
    let bound = norm_bound(w.transpose() * w, w.nrows(), w.norm_l2());
    let norm = bound * unit;
    // Exact, unless it is subnormal.
    UpperBound::proved(if norm / unit < bound { norm.next_up() } else { norm })
}

fn scale(a: &mut Mat<f64>, factor: f64) {
    for column in a.col_iter_mut() {
        column.iter_mut().for_each(|v| *v *= factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_above_and_close() {
        for (n, seed) in [(1, 1u64), (5, 2), (40, 3), (120, 4)] {
            let w = Mat::<f64>::from_fn(n, 2 * n, |r, c| {
                let h = seed.wrapping_add((r * 1009 + c) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                ((h ^ (h >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f64 / (1u64 << 23) as f64 - 1.0
            });
            let truth = w.singular_values().unwrap()[0];
            let rows: Vec<f64> = (0..n).flat_map(|r| (0..2 * n).map(move |c| (r, c))).map(|at| w[at]).collect();
            let bound = matrix_norm_bound(&rows, 2 * n).value();
            assert!(truth * (1.0 - 1e-14) <= bound && bound <= truth * (1.0 + 2e-4), "{n}: {truth} {bound}");
        }
    }

    #[test]
    fn sizes_of_all_kinds() {
        assert_eq!(matrix_norm_bound(&[0.0; 6], 3).value(), 0.0);
        assert_eq!(matrix_norm_bound(&[1.0, f64::NAN], 1), UpperBound::INFINITE);
        assert_eq!(matrix_norm_bound(&[1.0, f64::INFINITY], 2), UpperBound::INFINITE);
        assert!(matrix_norm_bound(&[f64::MAX, f64::MAX], 2).value() == f64::INFINITY);
        // [[3, 0], [4, 0]] has the norm 5. The smallest unit that 5 can be counted in is the smallest number itself.
        for unit in [f64::from_bits(1), 1e-320, 1e-200, 1e-160, 1.0, 1e160, 1e300] {
            let bound = matrix_norm_bound(&[3.0 * unit, 0.0, 4.0 * unit, 0.0], 2).value() / unit;
            // Above the norm by less than 2e-4, or by a few of the smallest numbers.
            assert!((5.0 - 1e-14..5.001 + 2.0 * f64::from_bits(1) / unit).contains(&bound), "{unit:e}: {bound}");
        }
    }
}
