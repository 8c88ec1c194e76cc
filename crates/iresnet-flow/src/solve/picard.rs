//! The paper's own iteration, equation 4: `x <- y - g(x)`.

use super::branch::Branch;
use super::solver::{Solver, Stepper};
use crate::{LANES, Scalar};

/// `x <- y - g(x)`: linear convergence with rate `Lip(g)`, one evaluation a step, no memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Picard;

impl<T: Scalar> Solver<T> for Picard {
    fn start(&self, _len: usize) -> Box<dyn Stepper<T>> {
        Box::new(Picard)
    }

    fn is_plain(&self) -> bool {
        true
    }
}

impl<T: Scalar> Stepper<T> for Picard {
    fn reset(&mut self, _lane: usize) {}

    fn step(&mut self, branch: &dyn Branch<T>, y: &[T], x: &mut [T]) -> [f64; LANES] {
        branch.fixed_point(y, x)
    }
}
