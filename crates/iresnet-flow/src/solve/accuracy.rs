//! Solves to an accuracy: tolerance, round-off floor, growth, and the check of the certified constant.

use rayon::prelude::*;

use super::branch::Branch;
use super::lanes::{Packs, Rule, run};
use super::report::{Contradiction, Outcome, SampleReport};
use super::solver::{Solver, Stop};
use crate::batch::Batch;
use crate::{LANES, Scalar};

/// Solutions and reports of a batch.
#[derive(Clone, Debug)]
pub struct Solved<T> {
    /// In the order of the samples.
    pub x: Batch<T>,
    /// One a sample.
    pub reports: Vec<SampleReport>,
}

/// Samples that one task works through; tasks are independent, so this only balances the threads.
const SAMPLES_A_TASK: usize = 4 * LANES;

/// Solves `x + g(x) = y` for all samples of `y`, starting from `y` itself.
///
/// # Errors
/// Steps that contradict the certified Lipschitz constant beyond round-off.
///
/// # Panics
/// If `y` is not of the branch's shape, the branch has no values, or the tolerance is negative or NaN.
pub fn solve<T: Scalar>(
    branch: &dyn Branch<T>,
    y: &Batch<T>,
    solver: &dyn Solver<T>,
    stop: Stop,
) -> Result<Solved<T>, Contradiction> {
    let (shape, samples, len) = (branch.shape(), y.samples(), branch.shape().len());
    assert!(len > 0, "a branch must have at least one value a sample");
    assert!(stop.tolerance.is_none_or(|tolerance| tolerance >= 0.0), "tolerance {:?}", stop.tolerance);
    assert_eq!(y.shape(), shape, "shapes of y and of the branch");
    if stop.max_iterations == 0 {
        return Ok(Solved { x: y.clone(), reports: vec![SampleReport::untouched(); samples] });
    }
    let mut x = vec![T::ZERO; y.packs().len()];
    let task_len = SAMPLES_A_TASK * len;
    let tasks = x.par_chunks_mut(task_len).zip(y.packs().par_chunks(task_len)).enumerate();
    let reports: Result<Vec<_>, Contradiction> = tasks
        .map(|(i, (x, y))| {
            let first = i * SAMPLES_A_TASK;
            let count = SAMPLES_A_TASK.min(samples - first);
            let rule = ToAccuracy { branch, stop, plain: solver.is_plain(), first };
            let mut reports = vec![SampleReport::untouched(); count];
            run(branch, solver, &rule, Packs { len, y, start: y, x }, 0..count, |sample, lane, residual, outcome| {
                reports[sample] = rule.report(lane, residual, outcome);
            })?;
            Ok(reports)
        })
        .collect();
    Ok(Solved { x: Batch::from_packs(x, shape, samples), reports: reports?.concat() })
}

/// Steps in a row that must grow before a sample counts as not contractive.
const GROWING: usize = 8;
/// Growth of the residual over the first one that ends a sample at once.
const EXPLODED: f64 = 1e6;

/// One sample at work.
#[derive(Clone, Debug)]
struct Lane {
    sample: usize,
    iterations: usize,
    /// `||y||`
    size: f64,
    /// Sum of the residuals: `||y|| + travelled` is at least `||x||`.
    travelled: f64,
    previous: f64,
    first: f64,
    growing: usize,
    contraction: Option<f64>,
}

/// Stops as a [`Stop`] says.
struct ToAccuracy<'a, T> {
    branch: &'a dyn Branch<T>,
    stop: Stop,
    /// Whether steps are plain ones.
    plain: bool,
    /// Number in the batch of the sample that is number 0 here.
    first: usize,
}

impl<T: Scalar> Rule<T> for ToAccuracy<'_, T> {
    type Lane = Lane;

    fn enter(&self, sample: usize, size: f64) -> Lane {
        let nan = f64::NAN;
        Lane { sample, iterations: 0, size, travelled: 0.0, previous: nan, first: nan, growing: 0, contraction: None }
    }

    fn judge(
        &self,
        lane: &mut Lane,
        residual: f64,
        values: &dyn Fn() -> [Vec<T>; 2],
    ) -> Result<Option<Outcome>, Contradiction> {
        if let Some(found) = self.contradiction(lane, residual) {
            let [y, x] = values();
            if self.branch.is_refuted(&y, &x) {
                return Err(found);
            }
        }
        Ok(self.book(lane, residual))
    }
}

impl<T: Scalar> ToAccuracy<'_, T> {
    /// Lengths below this are round-off: a few units in the last place of the values that are subtracted.
    fn round_off(&self, lane: &Lane, residual: f64) -> f64 {
        4.0 * T::EPSILON * (lane.size + (lane.travelled + residual) + self.branch.offset_scale())
    }

    /// The certified constant, where it makes the branch contractive. Nothing below zero is a Lipschitz constant.
    fn contraction(&self) -> Option<f64> {
        self.branch.lipschitz().filter(|lipschitz| (0.0..1.0).contains(lipschitz))
    }

    /// A plain step that is longer than the certified constant allows after the one before.
    fn contradiction(&self, lane: &Lane, residual: f64) -> Option<Contradiction> {
        let lipschitz = self.contraction().filter(|_| self.plain && lane.iterations > 0)?;
        let previous = lane.previous;
        // Both steps carry round-off; float32 sums of squares add a few units of relative error.
        let allowed = lipschitz * previous * (1.0 + 64.0 * T::EPSILON) + 2.0 * self.round_off(lane, residual);
        let (sample, iteration) = (self.first + lane.sample, lane.iterations + 1);
        (residual.is_finite() && residual > allowed).then_some(Contradiction {
            sample,
            iteration,
            step: residual,
            previous,
            lipschitz,
            allowed,
        })
    }

    /// Books one step; `Some` ends the sample.
    fn book(&self, lane: &mut Lane, residual: f64) -> Option<Outcome> {
        let (previous, round_off) = (lane.previous, self.round_off(lane, residual));
        lane.iterations += 1;
        lane.travelled += residual;
        lane.previous = residual;
        if !residual.is_finite() || !lane.size.is_finite() {
            return Some(Outcome::NonFinite);
        }
        if lane.iterations == 1 {
            lane.first = residual;
        } else if self.plain && residual > round_off {
            let ratio = residual / previous;
            lane.contraction = Some(lane.contraction.map_or(ratio, |c| c.max(ratio)));
        }
        let gain = self.contraction().map_or(1.0, |lipschitz| lipschitz.max(T::EPSILON) / (1.0 - lipschitz));
        // An exact fixed point cannot be improved, whatever the tolerance.
        let near = |tolerance: f64| residual * gain <= tolerance * lane.size || residual == 0.0;
        if self.stop.tolerance.is_some_and(near) {
            return Some(Outcome::Converged);
        }
        let may_stop = self.stop.tolerance.is_some();
        if may_stop && residual <= round_off && residual > 0.9 * previous {
            return Some(Outcome::RoundOffFloor);
        }
        lane.growing = if residual > previous && residual > round_off { lane.growing + 1 } else { 0 };
        if may_stop && lane.growing >= GROWING || residual > EXPLODED * lane.first {
            return Some(Outcome::NotContractive);
        }
        (lane.iterations >= self.stop.max_iterations).then_some(Outcome::OutOfIterations)
    }

    fn report(&self, lane: &Lane, residual: f64, outcome: Outcome) -> SampleReport {
        let error_bar = self
            .contraction()
            .filter(|_| residual.is_finite())
            .map(|lipschitz| (lipschitz * residual + self.round_off(lane, 0.0)) / (1.0 - lipschitz));
        SampleReport {
            outcome,
            iterations: lane.iterations,
            evaluations: lane.iterations,
            residual,
            error_bar,
            contraction_observed: lane.contraction,
        }
    }
}
