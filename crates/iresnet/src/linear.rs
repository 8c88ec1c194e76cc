//! Products of small matrices.

use faer::linalg::matmul::matmul;
use faer::traits::ComplexField;
use faer::traits::math_utils::one;
use faer::{Accum, Mat, MatRef, Par};

/// A product in one thread: several round by their number, and results shall not depend on it.
pub(crate) fn times<T: ComplexField>(a: MatRef<T>, b: MatRef<T>) -> Mat<T> {
    let mut product = Mat::zeros(a.nrows(), b.ncols());
    matmul(product.as_mut(), Accum::Replace, a, b, one::<T>(), Par::Seq);
    product
}
