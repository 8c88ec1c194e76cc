//! A dense residual branch for vector data: `g(x) = W2 tanh(W1 x + b1) + b2`.

use crate::solve::{Branch, LANES, Scalar};
use crate::spectrum::matrix_norm_bound;

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

/// Hidden values of one pack.
#[derive(Debug)]
pub struct DenseScratch<T>(Vec<T>);

impl<T> Default for DenseScratch<T> {
    fn default() -> Self {
        DenseScratch(Vec::new())
    }
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
        let (norm1, norm2) = (matrix_norm_bound(&wide(&w1), len), matrix_norm_bound(&wide(&w2), hidden));
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

impl<T: Scalar> Branch<T> for Dense<T> {
    type Scratch = DenseScratch<T>;

    fn len(&self) -> usize {
        self.b2.len()
    }

    fn value(&self, x: &[T], out: &mut [T], scratch: &mut DenseScratch<T>) {
        affine(&self.w1, &self.b1, x, &mut scratch.0);
        scratch.0.iter_mut().for_each(|z| *z = T::from_f64(z.to_f64().tanh()));
        let mut g = Vec::new();
        affine(&self.w2, &self.b2, &scratch.0, &mut g);
        out.copy_from_slice(&g);
    }

    fn lipschitz(&self) -> Option<f64> {
        Some(self.lipschitz)
    }

    fn offset_scale(&self) -> f64 {
        self.offset_scale
    }
}

/// `W x + b` of each lane.
fn affine<T: Scalar>(w: &[T], b: &[T], x: &[T], out: &mut Vec<T>) {
    let columns = x.len() / LANES;
    out.clear();
    for (row, b) in w.chunks_exact(columns).zip(b) {
        let mut sums = [*b; LANES];
        for (w, x) in row.iter().zip(x.chunks_exact(LANES)) {
            for l in 0..LANES {
                sums[l] = sums[l] + *w * x[l];
            }
        }
        out.extend(sums);
    }
}
