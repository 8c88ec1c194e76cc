//! Residual sums with the digits that float32 rounds away, kept beside the activations.
//!
//! `x + h g(x)` in float32 loses up to half a unit in the last place in every block, forward and again in the inverse, and
//! later blocks amplify it: on a trained network of 55 blocks a few times 1e-7 of the image. Both sums are exact to second
//! order with one more float32 a value (Knuth's two-sum): forward the lost digits travel along, and an inverse that has
//! come down to round-off takes its last steps with them. `g` itself is evaluated in float32 at the rounded activations
//! both times, by direct convolutions: where activations agree to the bit, so does its rounding, which Winograd's tiles
//! would mix with that of their neighbours. What remains is the rounding of the latent, and of `g` at points that differ
//! by it.
//!
//! These last steps are plain ones, so they are for blocks that are certified to contract.

use iresnet_kernels::{BlockPlan, LANES, Workspace, with_workspace};

use crate::solve::{Outcome, Solved, Stop};

/// Last steps of a block's inverse. More gain nothing: `g` rounds each time.
const STEPS: usize = 2;

/// `a + b` rounded, and what the rounding took away.
#[inline(always)]
fn two_sum(a: f32, b: f32) -> (f32, f32) {
    let sum = a + b;
    let part = sum - a;
    (sum, (a - (sum - part)) + (b - part))
}

/// `x + low <- x + low + h g(x)` for one pack.
pub(crate) fn forward_pack(plan: &BlockPlan, x: &mut [f32], low: &mut [f32], g: &mut [f32], workspace: &mut Workspace) {
    plan.branch_pack(x, g, workspace);
    let step = plan.shape().step;
    for ((x, low), g) in x.iter_mut().zip(low).zip(g) {
        let (sum, lost) = two_sum(*x, step * *g);
        (*x, *low) = two_sum(sum, lost + *low);
    }
}

/// Plain steps `x <- y - h g(x)` with these sums, for samples that came down to round-off and have iterations left.
///
/// `low` belongs to the packs `y` and afterwards to the solutions.
pub(crate) fn refine(plan: &BlockPlan, y: &[f32], low: &mut [f32], solved: &mut Solved<f32>, stop: Stop) {
    let (len, step) = (plan.shape().image.pack_len(), plan.shape().step);
    let mut g = vec![0.0; len];
    let packs = solved.x.chunks_exact_mut(len).zip(y.chunks_exact(len)).zip(low.chunks_exact_mut(len));
    for (((x, y), low), reports) in packs.zip(solved.reports.chunks_mut(LANES)) {
        let low_of_y = low.to_vec();
        low.fill(0.0);
        for _ in 0..STEPS {
            let mut moving = [false; LANES];
            for (moving, report) in moving.iter_mut().zip(reports.iter_mut()) {
                // Converged to a tolerance of zero is a fixed point of the rounded step.
                let settled =
                    report.outcome == Outcome::RoundOffFloor || (stop.tolerance == 0.0 && report.outcome.is_success());
                *moving = settled && report.iterations < stop.max_iterations;
                report.iterations += usize::from(*moving);
                report.evaluations += usize::from(*moving);
            }
            if moving == [false; LANES] {
                break;
            }
            with_workspace(|workspace| plan.branch_pack(x, &mut g, workspace));
            let values = x.as_chunks_mut::<LANES>().0.iter_mut().zip(low.as_chunks_mut::<LANES>().0);
            let targets = y.as_chunks::<LANES>().0.iter().zip(low_of_y.as_chunks::<LANES>().0);
            for (((x, low), (y, low_of_y)), g) in values.zip(targets).zip(g.as_chunks::<LANES>().0) {
                for l in 0..LANES {
                    // The difference of y and x is h g(x) up to a few units in the last place, so that the next
                    // subtraction rounds nothing, or no more than the residual's last place where g is tiny.
                    let (difference, lost) = two_sum(y[l], -x[l]);
                    let residual = (difference - step * g[l]) + (lost + low_of_y[l]);
                    let (high, rest) = two_sum(x[l], residual);
                    if moving[l] {
                        (x[l], low[l]) = (high, rest);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::two_sum;

    #[test]
    fn what_a_sum_loses_is_kept() {
        for (a, b) in [(1.0f32, 1e-9), (1e-9, 1.0), (0.1, 0.2), (-3.0, 3.0000002), (1e8, -1.3), (0.0, -0.0)] {
            let (sum, lost) = two_sum(a, b);
            assert_eq!(sum, a + b);
            // Both numbers and their sum are exact in float64 here.
            assert_eq!(f64::from(sum) + f64::from(lost), f64::from(a) + f64::from(b), "{a} {b}");
        }
    }
}
