//! The residual layer `x + g(x)` (equation 1 of the paper), invertible where `Lip(g) < 1` (Theorem 1 of the paper).

use crate::batch::Batch;
use crate::bijection::{Bijection, Bounds, Preimage};
use crate::solve::{Branch, Contradiction, SolveBy, solve_by};
use crate::{ImageShape, Scalar};

/// `F(x) = x + g(x)`; the step size of `x + h g(x)` belongs to the branch.
#[derive(Clone, Debug)]
pub struct Residual<B> {
    /// `g`.
    pub branch: B,
}

impl<B> Residual<B> {
    /// The layer of this branch.
    pub fn new(branch: B) -> Self {
        Residual { branch }
    }
}

impl<T: Scalar, B: Branch<T>> Bijection<T> for Residual<B> {
    fn input(&self) -> ImageShape {
        self.branch.shape()
    }

    fn output(&self) -> ImageShape {
        self.branch.shape()
    }

    fn forward(&self, mut x: Batch<T>) -> Batch<T> {
        let len = x.shape().pack_len();
        x.packs_mut().chunks_exact_mut(len).for_each(|pack| self.branch.add_to(pack));
        x
    }

    /// By fixed-point iteration (equations 3 and 4 of the paper). The tolerance bounds the error where the branch has a
    /// bound below 1, else the residual.
    fn inverse(&self, y: Batch<T>, by: SolveBy<'_, T>) -> Result<Preimage<T>, Contradiction> {
        let solved = solve_by(&self.branch, &y, by)?;
        let error_bars = solved.reports.iter().map(|report| report.error_bar).collect();
        Ok(Preimage { x: solved.x, solves: vec![solved.reports], error_bars })
    }

    fn jvp(&self, x: &Batch<T>, v: &Batch<T>) -> Batch<T> {
        plus_products(x, v, |x, v, out| self.branch.jvp(x, v, out))
    }

    fn vjp(&self, x: &Batch<T>, w: &Batch<T>) -> Batch<T> {
        plus_products(x, w, |x, w, out| self.branch.vjp(x, w, out))
    }

    /// `Lip(F) <= 1 + L`, `Lip(F^-1) <= 1 / (1 - L)` (section 3.2 of the paper).
    fn bounds(&self) -> Bounds {
        let lipschitz = self.branch.lipschitz();
        let contracts = lipschitz.filter(|lipschitz| (0.0..1.0).contains(lipschitz));
        Bounds {
            forward: lipschitz.map(|lipschitz| (1.0 + lipschitz).next_up()),
            inverse: contracts.map(|lipschitz| (1.0 / (1.0 - lipschitz)).next_up().next_up()),
        }
    }
}

/// `v` plus a product of the branch's Jacobian with it, pack by pack.
fn plus_products<T: Scalar>(x: &Batch<T>, v: &Batch<T>, product: impl Fn(&[T], &[T], &mut [T])) -> Batch<T> {
    let len = x.shape().pack_len();
    let mut out = Batch::zeros(x.shape(), x.samples());
    let packs = x.packs().chunks_exact(len).zip(v.packs().chunks_exact(len));
    for ((x, v), out) in packs.zip(out.packs_mut().chunks_exact_mut(len)) {
        product(x, v, out);
        out.iter_mut().zip(v).for_each(|(out, v)| *out = *v + *out);
    }
    out
}
