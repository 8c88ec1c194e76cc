//! Anderson acceleration with a short memory, lane by lane, safeguarded by the plain iteration.
//!
//! With residuals `f_k = y - g(x_k) - x_k`, the next iterate is `x_k + f_k - sum_i gamma_i (dx_i + df_i)`, where gamma
//! minimises `||f_k - sum_i gamma_i df_i||` over the last `memory` differences (Walker and Ni 2011). If a residual is
//! larger than the best one so far, the memory is dropped and the step is the plain one, so a run needs at most a
//! constant factor more evaluations than Picard.

use super::branch::Branch;
use super::solver::{Solver, Stepper};
use crate::{LANES, Scalar};

/// Anderson acceleration, `memory` differences deep (1 to 4 make sense).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anderson {
    /// Differences that are kept; none makes it the plain iteration.
    pub memory: usize,
}

impl Default for Anderson {
    fn default() -> Self {
        Anderson { memory: 3 }
    }
}

/// Differences of one pack, and what each lane has seen.
struct AndersonState<T> {
    memory: usize,
    /// Newest first: `(dx + df, df)`, packs.
    differences: Vec<(Vec<T>, Vec<T>)>,
    last_x: Vec<T>,
    last_f: Vec<T>,
    g: Vec<T>,
    /// Valid differences of each lane.
    depth: [usize; LANES],
    /// Whether a lane has a last iterate.
    begun: [bool; LANES],
    best: [f64; LANES],
}

impl<T: Scalar> Solver<T> for Anderson {
    fn start(&self, len: usize) -> Box<dyn Stepper<T>> {
        let pack = || vec![T::ZERO; len * LANES];
        Box::new(AndersonState {
            memory: self.memory,
            // The newest pair has a place even where none is kept.
            differences: (0..self.memory.max(1)).map(|_| (pack(), pack())).collect(),
            last_x: pack(),
            last_f: pack(),
            g: pack(),
            depth: [0; LANES],
            begun: [false; LANES],
            best: [f64::INFINITY; LANES],
        })
    }

    fn is_plain(&self) -> bool {
        false
    }
}

impl<T: Scalar> Stepper<T> for AndersonState<T> {
    fn reset(&mut self, lane: usize) {
        self.depth[lane] = 0;
        self.begun[lane] = false;
        self.best[lane] = f64::INFINITY;
    }

    fn step(&mut self, branch: &dyn Branch<T>, y: &[T], x: &mut [T]) -> [f64; LANES] {
        branch.value(x, &mut self.g);
        let mut residuals = [0.0; LANES];
        // The oldest pair makes room for the newest.
        self.differences.rotate_right(1);
        let (newest, df) = &mut self.differences[0];
        for i in 0..x.len() {
            let f = y[i] - self.g[i] - x[i];
            residuals[i % LANES] += f.to_f64() * f.to_f64();
            let (dx, change) = (x[i] - self.last_x[i], f - self.last_f[i]);
            newest[i] = dx + change;
            df[i] = change;
            self.last_x[i] = x[i];
            self.last_f[i] = f;
        }
        let residuals = residuals.map(f64::sqrt);
        for l in 0..LANES {
            if self.begun[l] {
                self.depth[l] = (self.depth[l] + 1).min(self.memory);
            }
            self.begun[l] = true;
            if residuals[l] < self.best[l] {
                self.best[l] = residuals[l];
            } else {
                self.depth[l] = 0;
            }
            let gamma = mixing(&self.differences[..self.depth[l]], &self.last_f, l);
            for i in (l..x.len()).step_by(LANES) {
                let mut new = x[i] + self.last_f[i];
                for (gamma, (sum, _)) in gamma.iter().zip(&self.differences) {
                    new = new - T::from_f64(*gamma) * sum[i];
                }
                x[i] = new;
            }
        }
        residuals
    }

    fn settle(&self, x: &mut [T], lane: usize) {
        for i in (lane..x.len()).step_by(LANES) {
            x[i] = self.last_x[i] + self.last_f[i];
        }
    }
}

/// Least squares by the normal equations in float64, slightly regularised; nothing where they are singular.
fn mixing<T: Scalar>(differences: &[(Vec<T>, Vec<T>)], f: &[T], lane: usize) -> Vec<f64> {
    let m = differences.len();
    let dot = |a: &[T], b: &[T]| -> f64 { (lane..a.len()).step_by(LANES).map(|i| a[i].to_f64() * b[i].to_f64()).sum() };
    let mut matrix = vec![vec![0.0; m + 1]; m];
    for i in 0..m {
        for j in 0..m {
            matrix[i][j] = dot(&differences[i].1, &differences[j].1);
        }
        matrix[i][i] *= 1.0 + 1e-10;
        matrix[i][m] = dot(&differences[i].1, f);
    }
    // Elimination with pivots on the diagonal: the matrix is symmetric positive semidefinite.
    for k in 0..m {
        let pivot = matrix[k][k];
        if pivot.is_nan() || pivot <= 1e-300 {
            return Vec::new();
        }
        for i in k + 1..m {
            let factor = matrix[i][k] / pivot;
            for j in k..=m {
                matrix[i][j] -= factor * matrix[k][j];
            }
        }
    }
    let mut gamma = vec![0.0; m];
    for k in (0..m).rev() {
        let known: f64 = (k + 1..m).map(|j| matrix[k][j] * gamma[j]).sum();
        gamma[k] = (matrix[k][m] - known) / matrix[k][k];
    }
    if gamma.iter().all(|g| g.is_finite()) { gamma } else { Vec::new() }
}
