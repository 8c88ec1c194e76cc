//! A solver makes steps; the loop, its limits and its outcomes are not its business.

use super::branch::Branch;
use crate::{LANES, Scalar};

/// A way to make steps.
pub trait Solver<T: Scalar>: Sync {
    /// Begins with packs of `len` values a lane.
    fn start(&self, len: usize) -> Box<dyn Stepper<T>>;

    /// Whether its steps are those of the plain iteration, whose lengths then must shrink by `L` each.
    fn is_plain(&self) -> bool;
}

/// The steps of one pack, and what they remember.
pub trait Stepper<T: Scalar>: Send {
    /// Forgets what it knows of `lane`, which gets a new sample.
    fn reset(&mut self, lane: usize);

    /// One evaluation of `g` in every lane, `x` moved; returns the residuals `||x + g(x) - y||` of the old `x`.
    fn step(&mut self, branch: &dyn Branch<T>, y: &[T], x: &mut [T]) -> [f64; LANES];

    /// Makes the last step of `lane` the plain one, which has an error bar. Plain solvers have nothing to do.
    fn settle(&self, _x: &mut [T], _lane: usize) {}
}

/// When to stop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stop {
    /// Relative to `||y||`: a bound on `||x - x*||` where the branch has a certified `L < 1`, else on the residual.
    /// At least zero, which asks for all that the number format gives; none makes every iteration, whatever comes of it,
    /// unless a value stops being finite or a step is a million times as long as the first.
    pub tolerance: Option<f64>,
    /// Most iterations a sample; 0 leaves it at the start, `y`.
    pub max_iterations: usize,
}

/// How to solve.
#[derive(Clone, Copy)]
pub struct SolveBy<'a, T: Scalar> {
    /// The solver in the number format of the samples.
    pub solver: &'a dyn Solver<T>,
    /// Solves in float32 first, where the branch can, and makes the last steps in `T`.
    pub coarse: Option<&'a dyn Solver<f32>>,
    /// When to stop.
    pub stop: Stop,
}

impl<'a, T: Scalar> SolveBy<'a, T> {
    /// By `solver` alone.
    pub fn new(solver: &'a dyn Solver<T>, stop: Stop) -> Self {
        SolveBy { solver, coarse: None, stop }
    }
}
