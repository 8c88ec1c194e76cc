//! The paper's own iteration, equation 4: `x <- y - g(x)`.

use super::{Branch, LANES, Scalar, Solver};

/// `x <- y - g(x)`: linear convergence with rate `Lip(g)`, one evaluation a step, no memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Picard;

impl<T: Scalar> Solver<T> for Picard {
    type State = ();

    fn init(&self, _len: usize) {}

    fn reset(&self, _state: &mut (), _lane: usize) {}

    fn step<B: Branch<T>>(
        &self,
        branch: &B,
        y: &[T],
        x: &mut [T],
        _state: &mut (),
        scratch: &mut B::Scratch,
    ) -> [f64; LANES] {
        branch.fixed_point(y, x, scratch)
    }

    fn is_plain(&self) -> bool {
        true
    }
}
