//! Solves that begin in float32 and end in float64.
//!
//! `x + h g(x)` in float32 loses up to half a unit in the last place in every block, `g` several, forward and again in the
//! inverse, and later blocks amplify it: on a trained network of 55 blocks a few times 1e-7 of the image. So a certified
//! inverse that has come down to float32's round-off takes its last steps in float64. They are plain ones, sure to come
//! closer where the branch contracts.

use super::accuracy::{Solved, solve};
use super::branch::Branch;
use super::lanes::{Packs, Rule, run};
use super::picard::Picard;
use super::report::{Contradiction, Outcome, SampleReport};
use super::solver::{SolveBy, Stop};
use crate::Scalar;
use crate::batch::Batch;

/// Last steps of a solve.
const STEPS: usize = 2;

/// As many steps as are left of those that a sample may make.
struct LastSteps<'a> {
    reports: &'a [SampleReport],
    stop: Stop,
}

impl LastSteps<'_> {
    fn of(&self, sample: usize) -> usize {
        let report = &self.reports[sample];
        // A converged sample without residual is a fixed point of the rounded step.
        let fixed =
            report.outcome == Outcome::Converged && (self.stop.tolerance == Some(0.0) || report.residual == 0.0);
        let settled = fixed || report.outcome == Outcome::RoundOffFloor;
        if settled { self.stop.max_iterations.saturating_sub(report.iterations).min(STEPS) } else { 0 }
    }
}

impl<T: Scalar> Rule<T> for LastSteps<'_> {
    type Lane = (usize, usize);

    fn enter(&self, sample: usize, _size: f64) -> Self::Lane {
        (0, self.of(sample))
    }

    fn judge(
        &self,
        (made, all): &mut Self::Lane,
        _residual: f64,
        _values: &dyn Fn() -> [Vec<T>; 2],
    ) -> Result<Option<Outcome>, Contradiction> {
        *made += 1;
        Ok((made >= all).then_some(Outcome::RoundOffFloor))
    }
}

/// Solves `x + g(x) = y` as `by` says: in one number format, or by steps in float32 and then plain steps in `T` for samples
/// that came down to float32's round-off and have iterations left.
///
/// # Errors
/// Steps that contradict the certified Lipschitz constant.
pub(crate) fn solve_by<T: Scalar>(
    branch: &dyn Branch<T>,
    y: &Batch<T>,
    by: SolveBy<'_, T>,
) -> Result<Solved<T>, Contradiction> {
    let Some((solver, coarse)) = by.coarse.zip(branch.coarse()) else {
        return solve(branch, y, by.solver, by.stop);
    };
    let Solved { x, mut reports } = solve(coarse, &y.cast(), solver, by.stop)?;
    let mut x: Batch<T> = x.cast();
    let start = x.packs().to_vec();
    let rule = LastSteps { reports: &reports, stop: by.stop };
    let waiting: Vec<usize> = (0..y.samples()).filter(|&sample| rule.of(sample) > 0).collect();
    let mut steps = Vec::with_capacity(waiting.len());
    let packs = Packs { len: y.shape().len(), y: y.packs(), start: &start, x: x.packs_mut() };
    run(branch, &Picard, &rule, packs, waiting.into_iter(), |sample, (made, _), _, _| steps.push((sample, *made)))?;
    for (sample, made) in steps {
        reports[sample].iterations += made;
        reports[sample].evaluations += made;
    }
    Ok(Solved { x, reports })
}
