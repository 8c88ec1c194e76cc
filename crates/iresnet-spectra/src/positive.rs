//! The largest eigenvalue from above: if the Cholesky factorisation of `s I - H` runs to completion in floating point,
//! `H` has no eigenvalue above `s` and a little (Rump, "Verification of positive definiteness", BIT 46, 2006).
//!
//! The computed factor satisfies `L L^H = A + E` with `|E| <= g |L| |L|^H`, `g` a small multiple of `n u`
//! (Higham, "Accuracy and Stability of Numerical Algorithms", theorem 10.3, in any order of summation), and since the
//! rows of `L` have the squared lengths `a_ii`, `||E||_2 <= g / (1 - g) trace(A)`. `L L^H` is never negative, so the
//! smallest eigenvalue of `A` is at least minus that. One factorisation costs a sixth of one squaring of Gram iteration
//! and decides the bound to as many digits as wanted.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{cholesky_in_place, cholesky_in_place_scratch};
use faer::traits::ComplexField;
use faer::{MatMut, Par};

/// Whether the Cholesky factorisation of the lower triangle of `matrix` runs to completion; it is left in its place.
pub(crate) fn factorises<T: ComplexField>(matrix: MatMut<'_, T>, par: Par) -> bool {
    let side = matrix.nrows();
    let parameters = Default::default();
    let mut memory = MemBuffer::new(cholesky_in_place_scratch::<T>(side, par, parameters));
    let stack = MemStack::new(&mut memory);
    cholesky_in_place(matrix, Default::default(), par, stack, parameters).is_ok()
}

/// Upper bound of the largest singular value of `W`, once the factorisation of `shift I - W W^H` has succeeded.
///
/// `rows` is the side of `W W^H`, `rounding` bounds the error of its computed entries in spectral norm.
pub(crate) fn norm_bound(shift: f64, rows: usize, rounding: f64) -> f64 {
    // The diagonal of `shift I - W W^H` is rounded once.
    let eigenvalue = shift * (1.0 + 2.0 * f64::EPSILON) + rounding + backward(rows, f64::EPSILON) * (shift + rounding);
    (eigenvalue * (1.0 + 8.0 * f64::EPSILON)).sqrt().next_up()
}

/// A shift with which a factorisation in float32 shows that one with `shift` in float64 is not needed.
///
/// `rounding` bounds the error in spectral norm that the entries of `W W^H` have in float32, that of the float64 ones
/// from which they come included.
pub(crate) fn single_shift(shift: f64, rows: usize, rounding: f64) -> f64 {
    let epsilon = f64::from(f32::EPSILON);
    // The shift itself and the diagonal are rounded.
    shift * (1.0 - 2.0 * epsilon - backward(rows, epsilon)) - rounding
}

/// Bound of the factorisation's backward error, as a multiple of the shift.
fn backward(rows: usize, epsilon: f64) -> f64 {
    // Complex products and reciprocals of pivots multiply Higham's constant by less than 4.
    let growth = 4.0 * (rows as f64 + 4.0) * epsilon;
    growth / (1.0 - growth) * rows as f64
}
