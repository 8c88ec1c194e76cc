//! The inverse of a bijection, as a bijection.

use crate::batch::Batch;
use crate::bijection::{Bijection, Bounds, Preimage};
use crate::log_det::jacobians;
use crate::solve::{Contradiction, Picard, SolveBy, Stop};
use crate::{ImageShape, Scalar};

/// `F^-1`. Its own forward direction solves with Picard's iteration until round-off, so what it gives is as good as the
/// number format allows wherever `F` contracts.
#[derive(Clone, Debug)]
pub struct Inverse<B> {
    /// `F`.
    pub of: B,
    /// When the forward direction stops.
    pub stop: Stop,
}

impl<B> Inverse<B> {
    /// The inverse of `of`, to all that the number format gives, within a thousand iterations.
    pub fn new(of: B) -> Self {
        Inverse { of, stop: Stop { tolerance: Some(0.0), max_iterations: 1000 } }
    }

    fn preimage<T: Scalar>(&self, y: Batch<T>) -> Batch<T>
    where
        B: Bijection<T>,
    {
        let found = self.of.inverse(y, SolveBy::new(&Picard, self.stop));
        found.unwrap_or_else(|refuted| panic!("{refuted}")).x
    }

    /// Solves `J_F(x) u = v`, or with the transposed Jacobian.
    fn solve<T: Scalar>(&self, y: &Batch<T>, v: &Batch<T>, transposed: bool) -> Batch<T>
    where
        B: Bijection<T>,
    {
        use faer::prelude::Solve;
        let (x, len) = (self.preimage(y.clone()), v.shape().len());
        let mut solved = Vec::with_capacity(v.samples() * len);
        for (jacobian, v) in jacobians(&self.of, &x).into_iter().zip(v.unpack().chunks_exact(len)) {
            let matrix = if transposed { jacobian.transpose().to_owned() } else { jacobian };
            let right = faer::Mat::from_fn(len, 1, |i, _| v[i].to_f64());
            let u = matrix.partial_piv_lu().solve(&right);
            solved.extend((0..len).map(|i| T::from_f64(u[(i, 0)])));
        }
        Batch::pack(&solved, if transposed { self.of.output() } else { self.of.input() })
    }
}

impl<T: Scalar, B: Bijection<T>> Bijection<T> for Inverse<B> {
    fn input(&self) -> ImageShape {
        self.of.output()
    }

    fn output(&self) -> ImageShape {
        self.of.input()
    }

    /// # Panics
    /// If a step contradicts a Lipschitz constant that the bijection claims.
    fn forward(&self, x: Batch<T>) -> Batch<T> {
        self.preimage(x)
    }

    fn inverse(&self, y: Batch<T>, _by: SolveBy<'_, T>) -> Result<Preimage<T>, Contradiction> {
        Ok(Preimage::exact(self.of.forward(y)))
    }

    fn jvp(&self, x: &Batch<T>, v: &Batch<T>) -> Batch<T> {
        self.solve(x, v, false)
    }

    fn vjp(&self, x: &Batch<T>, w: &Batch<T>) -> Batch<T> {
        self.solve(x, w, true)
    }

    fn log_det(&self, x: &Batch<T>) -> Vec<f64> {
        self.of.log_det(&self.preimage(x.clone())).into_iter().map(|value| -value).collect()
    }

    fn bounds(&self) -> Bounds {
        self.of.bounds().swapped()
    }
}
