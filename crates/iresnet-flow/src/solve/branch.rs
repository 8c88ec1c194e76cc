//! The residual branch that a solve evaluates.

use crate::{ImageShape, LANES, Scalar};

/// A residual branch `g` (any step size included): its value, products with its Jacobian, a bound of its Lipschitz
/// constant. All functions take one pack `[value][16 samples]`, flat, and lanes must not influence each other.
///
/// Implementing it is a claim: solvers, error bars and audits rely on [`Branch::lipschitz`].
pub trait Branch<T: Scalar>: Send + Sync {
    /// Shape of one sample.
    fn shape(&self) -> ImageShape;

    /// `out = g(x)`.
    fn value(&self, x: &[T], out: &mut [T]);

    /// A certified bound on `Lip(g)`, if there is one.
    fn lipschitz(&self) -> Option<f64>;

    /// Norm of what `g` adds up at `x = 0`, terms that cancel included: biases through the norms of the layers behind.
    ///
    /// Evaluating `g` rounds at this scale however short `x` and `g(x)` are, so error bars and the check of the
    /// certificate must allow for it. Zero suits branches without constant terms.
    fn offset_scale(&self) -> f64 {
        0.0
    }

    /// Whether the bound on `Lip(g)` is wrong for certain; asked when a step is longer than it and an estimate of round-off
    /// allow, with `x` as it is after that step. `y` and `x` are those of one sample.
    ///
    /// A branch that can evaluate itself more precisely decides by that; others take the step's word.
    fn is_refuted(&self, _y: &[T], _x: &[T]) -> bool {
        true
    }

    /// The same branch in float32, where a solve in `T` may begin.
    fn coarse(&self) -> Option<&dyn Branch<f32>> {
        None
    }

    /// `x <- x + g(x)`. Override it where the two can be fused.
    fn add_to(&self, x: &mut [T]) {
        let mut g = vec![T::ZERO; x.len()];
        self.value(x, &mut g);
        x.iter_mut().zip(&g).for_each(|(x, g)| *x = *x + *g);
    }

    /// `x <- y - g(x)`; returns `||x_new - x_old||` of each lane. Override it where the two can be fused.
    fn fixed_point(&self, y: &[T], x: &mut [T]) -> [f64; LANES] {
        let mut g = vec![T::ZERO; x.len()];
        self.value(x, &mut g);
        let mut squares = [0.0; LANES];
        for ((x, y), g) in x.chunks_exact_mut(LANES).zip(y.chunks_exact(LANES)).zip(g.chunks_exact(LANES)) {
            for l in 0..LANES {
                let new = y[l] - g[l];
                let moved = (new - x[l]).to_f64();
                squares[l] += moved * moved;
                x[l] = new;
            }
        }
        squares.map(f64::sqrt)
    }

    /// `out = J_g(x) v`.
    ///
    /// # Panics
    /// Unless the branch implements it: inverses do without, log-determinants do not.
    fn jvp(&self, _x: &[T], _v: &[T], _out: &mut [T]) {
        panic!("this branch knows no products with its Jacobian: implement Branch::jvp");
    }

    /// `out = J_g(x)^T w`.
    ///
    /// # Panics
    /// Unless the branch implements it.
    fn vjp(&self, _x: &[T], _w: &[T], _out: &mut [T]) {
        panic!("this branch knows no products with its transposed Jacobian: implement Branch::vjp");
    }
}
