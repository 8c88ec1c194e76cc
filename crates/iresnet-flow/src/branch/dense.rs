//! A dense residual branch for vector data: `g(x) = W2 tanh(W1 x + b1) + b2`.

use iresnet_spectra::matrix_norm_bound;

use crate::batch::vector;
use crate::solve::Branch;
use crate::{ImageShape, LANES, Scalar};

/// `h (W2 tanh(W1 x + b1) + b2)` with its bound `|h| ||W1|| ||W2||` (tanh is 1-Lipschitz).
#[derive(Clone, Debug)]
pub struct Dense<T> {
    /// `[hidden, len]`
    w1: Vec<T>,
    b1: Vec<T>,
    /// `[len, hidden]`
    w2: Vec<T>,
    b2: Vec<T>,
    lipschitz: f64,
    offset_scale: f64,
}

impl<T: Scalar> Dense<T> {
    /// A branch on `len` values; `w1` is `[hidden, len]`, `w2` is `[len, hidden]`, row by row; `step` is h.
    ///
    /// # Panics
    /// If the sizes do not fit.
    pub fn new(len: usize, w1: &[f64], b1: &[f64], w2: &[f64], b2: &[f64], step: f64) -> Self {
        let hidden = b1.len();
        assert_eq!((w1.len(), w2.len(), b2.len()), (hidden * len, len * hidden, len), "sizes of a dense branch");
        let narrow = |w: &[f64], factor: f64| -> Vec<T> { w.iter().map(|w| T::from_f64(factor * w)).collect() };
        let wide = |w: &[T]| -> Vec<f64> { w.iter().map(|w| w.to_f64()).collect() };
        let length = |b: &[f64]| b.iter().map(|b| b * b).sum::<f64>().sqrt();
        let (w1, w2) = (narrow(w1, 1.0), narrow(w2, step));
        // Of the weights in use: rounding them to T can lengthen a matrix of rank r by sqrt(r) times its epsilon.
        let (norm1, norm2) =
            (matrix_norm_bound(&wide(&w1), len).value(), matrix_norm_bound(&wide(&w2), hidden).value());
        Dense {
            w1,
            b1: narrow(b1, 1.0),
            w2,
            b2: narrow(b2, step),
            lipschitz: norm1 * norm2 * (1.0 + f64::EPSILON),
            offset_scale: norm2 * length(b1) + step.abs() * length(b2),
        }
    }

    /// The same with both matrices scaled down, where needed, so that the bound is at most `target`.
    pub fn contractive(len: usize, w1: &[f64], b1: &[f64], w2: &[f64], b2: &[f64], target: f64) -> Self {
        let plain = Self::new(len, w1, b1, w2, b2, 1.0);
        let mut step = (target / plain.lipschitz).min(1.0) * (1.0 - 1e-9);
        loop {
            let branch = Self::new(len, w1, b1, w2, b2, step);
            // Rounding the weights to T may have lengthened them past the target. (NaN is not above it, and ends here.)
            if branch.lipschitz > target && target > 0.0 {
                step *= target / branch.lipschitz * (1.0 - T::EPSILON);
            } else {
                return branch;
            }
        }
    }
}

impl<T: Scalar> Dense<T> {
    fn len(&self) -> usize {
        self.b2.len()
    }

    /// `tanh(W1 x + b1)`.
    fn hidden(&self, x: &[T]) -> Vec<T> {
        let mut z = affine(&self.w1, Some(&self.b1), x);
        z.iter_mut().for_each(|z| *z = T::from_f64(z.to_f64().tanh()));
        z
    }
}

impl<T: Scalar> Branch<T> for Dense<T> {
    fn shape(&self) -> ImageShape {
        vector(self.len())
    }

    fn value(&self, x: &[T], out: &mut [T]) {
        out.copy_from_slice(&affine(&self.w2, Some(&self.b2), &self.hidden(x)));
    }

    fn lipschitz(&self) -> Option<f64> {
        Some(self.lipschitz)
    }

    fn offset_scale(&self) -> f64 {
        self.offset_scale
    }

    fn jvp(&self, x: &[T], v: &[T], out: &mut [T]) {
        let mut tangent = affine(&self.w1, None, v);
        tangent.iter_mut().zip(self.hidden(x)).for_each(|(t, a)| *t = *t - a * a * *t);
        out.copy_from_slice(&affine(&self.w2, None, &tangent));
    }

    fn vjp(&self, x: &[T], w: &[T], out: &mut [T]) {
        let (len, hidden) = (self.len(), self.b1.len());
        let mut cotangent = affine(&transposed(&self.w2, hidden), None, w);
        cotangent.iter_mut().zip(self.hidden(x)).for_each(|(t, a)| *t = *t - a * a * *t);
        out.copy_from_slice(&affine(&transposed(&self.w1, len), None, &cotangent));
    }
}

/// The transpose of a matrix of so many columns, row by row.
fn transposed<T: Scalar>(w: &[T], columns: usize) -> Vec<T> {
    (0..columns).flat_map(|j| w.iter().skip(j).step_by(columns).copied()).collect()
}

/// `W x + b` of each lane.
fn affine<T: Scalar>(w: &[T], b: Option<&[T]>, x: &[T]) -> Vec<T> {
    let columns = x.len() / LANES;
    let mut out = Vec::with_capacity(w.len() / columns * LANES);
    for (i, row) in w.chunks_exact(columns).enumerate() {
        let mut sums = [b.map_or(T::ZERO, |b| b[i]); LANES];
        for (w, x) in row.iter().zip(x.chunks_exact(LANES)) {
            for l in 0..LANES {
                sums[l] = sums[l] + *w * x[l];
            }
        }
        out.extend(sums);
    }
    out
}
