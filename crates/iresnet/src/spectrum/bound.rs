//! Bounds whose types say which side they are on. A certificate takes [`UpperBound`]s only, and only rigorous methods
//! make them.
//!
//! ```compile_fail
//! use iresnet::spectrum::{LowerBound, UpperBound};
//! // An estimate from below is no upper bound, and there is no way to call it one.
//! fn certify(bound: UpperBound) {}
//! fn estimate() -> LowerBound { unimplemented!() }
//! certify(estimate());
//! ```

use faer::Mat;
use rayon::prelude::*;
use serde::{Serialize, Serializer};

use super::{ConvLayer, ZeroPadded, gram, largest};

/// A number that the true value does not exceed.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct UpperBound(f64);

/// A number that the true value does not fall below, up to the rounding of float64.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct LowerBound(pub(super) f64);

/// A norm between its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// From below.
    pub lower: LowerBound,
    /// From above.
    pub upper: UpperBound,
}

/// Side of the largest Gram matrix that is worth forming: below it the operator's own norm is found to 1e-4.
const DENSE_SIDE: usize = 1024;

/// How far a computed largest singular value can be from the true one, relative to it: LAPACK's analysis gives
/// `p(m, n) eps` with a modest polynomial; 8 (m + n) is far outside of what is ever seen.
fn svd_slack(rows: usize, columns: usize) -> f64 {
    8.0 * (rows + columns) as f64 * f64::EPSILON
}

impl UpperBound {
    /// The bound as a number.
    pub fn value(self) -> f64 {
        self.0
    }

    /// From the computed norm of an explicit matrix.
    pub(super) fn of_dense(norm: f64, rows: usize, columns: usize) -> Self {
        UpperBound((norm * (1.0 + svd_slack(rows, columns))).next_up())
    }

    /// Of a zero-padded convolution whose smaller side is at most [`DENSE_SIDE`]: Gram iteration on the operator itself.
    pub(super) fn gram(layer: &ConvLayer<'_>) -> Self {
        let operator = ZeroPadded::new(layer);
        let area = layer.height * layer.width;
        let (rows, columns) = (layer.out_channels * area, layer.in_channels * area);
        let side = rows.min(columns);
        let unit = |i: usize| -> Vec<f64> {
            let mut e = vec![0.0; side];
            e[i] = 1.0;
            e
        };
        // Column i of W W^T or W^T W.
        let column = |i: usize| match rows <= columns {
            true => operator.apply(&operator.apply_transposed(&unit(i))),
            false => operator.apply_transposed(&operator.apply(&unit(i))),
        };
        let images: Vec<Vec<f64>> = (0..side).into_par_iter().map(column).collect();
        let matrix = Mat::from_fn(side, side, |r, c| images[c][r]);
        let terms = layer.kernel * layer.kernel * layer.in_channels.max(layer.out_channels);
        // Each weight acts on at most every pixel.
        let frobenius = layer.frobenius() * (area as f64).sqrt();
        UpperBound(gram::norm_bound(matrix, terms, frobenius))
    }

    /// Of a zero-padded convolution: the circular norm at `n + floor(k/2)` per axis, where nothing wraps around into
    /// the image (the outputs that are kept read at most `floor(k/2)` zeros beyond either edge, and the same zeros
    /// serve both edges).
    pub(super) fn zero_padded(layer: &ConvLayer<'_>) -> Self {
        let half = layer.kernel / 2;
        let norm = largest(&layer.circular(layer.height + half, layer.width + half));
        // The symbol itself is a sum of k^2 products of rounded phases.
        let symbol = 4.0 * (layer.kernel * layer.kernel) as f64 * f64::EPSILON * layer.frobenius();
        UpperBound((Self::of_dense(norm, layer.out_channels, layer.in_channels).0 + symbol).next_up())
    }

    /// A Lipschitz constant that theory gives, such as an activation's 1.
    pub fn of_theory(value: f64) -> Self {
        UpperBound(value)
    }

    /// `max |factors|`: the norm of a diagonal map.
    pub fn diagonal(factors: &[f32]) -> Self {
        UpperBound(factors.iter().map(|f| f64::from(f.abs())).fold(0.0, f64::max))
    }

    /// Product of two bounds, rounded outwards.
    pub fn times(self, other: UpperBound) -> Self {
        UpperBound((self.0 * other.0).next_up())
    }
}

impl LowerBound {
    /// The bound as a number.
    pub fn value(self) -> f64 {
        self.0
    }

    pub(super) fn of_dense(norm: f64, rows: usize, columns: usize) -> Self {
        LowerBound((norm * (1.0 - svd_slack(rows, columns))).next_down().max(0.0))
    }
}

impl ConvLayer<'_> {
    fn frobenius(&self) -> f64 {
        self.weight.iter().map(|w| f64::from(*w) * f64::from(*w)).sum::<f64>().sqrt()
    }
}

impl Serialize for UpperBound {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl Serialize for LowerBound {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl ConvLayer<'_> {
    /// A rigorous bound of the norm of the operator in use.
    pub fn norm_from_above(&self) -> UpperBound {
        match self.kernel {
            1 => UpperBound::of_dense(largest(&self.circular(1, 1)), self.out_channels, self.in_channels),
            _ if self.out_channels.min(self.in_channels) * self.height * self.width <= DENSE_SIDE => {
                UpperBound::gram(self)
            }
            _ => UpperBound::zero_padded(self),
        }
    }
}
