//! Logarithms of the absolute determinants of Jacobians.

use faer::Mat;
use rayon::prelude::*;

use crate::Scalar;
use crate::batch::Batch;
use crate::bijection::Bijection;

/// The Jacobian of each sample, column by column from products with unit vectors.
pub(crate) fn jacobians<T: Scalar, B: Bijection<T> + ?Sized>(bijection: &B, x: &Batch<T>) -> Vec<Mat<f64>> {
    let len = x.shape().len();
    let columns: Vec<Vec<T>> = (0..len)
        .map(|column| {
            let mut units = vec![T::ZERO; x.samples() * len];
            units.iter_mut().skip(column).step_by(len).for_each(|value| *value = T::from_f64(1.0));
            bijection.jvp(x, &Batch::pack(&units, x.shape())).unpack()
        })
        .collect();
    let jacobian = |n: usize| Mat::from_fn(len, len, |i, j| columns[j][n * len + i].to_f64());
    (0..x.samples()).map(jacobian).collect()
}

/// `ln |det J_F(x)|` of each sample from its whole Jacobian, by an LU decomposition in float64.
pub fn exact<T: Scalar, B: Bijection<T> + ?Sized>(bijection: &B, x: &Batch<T>) -> Vec<f64> {
    let of_matrix = |jacobian: Mat<f64>| {
        let factors = jacobian.partial_piv_lu();
        let upper = factors.U();
        (0..upper.nrows()).map(|i| upper[(i, i)].abs().ln()).sum()
    };
    jacobians(bijection, x).into_par_iter().map(of_matrix).collect()
}
