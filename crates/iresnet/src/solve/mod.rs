//! Solving `x + g(x) = y` for many samples at once, each to its own accuracy, each with its own outcome.
//!
//! Samples lie side by side in packs of [`LANES`]. A solver ([`Picard`], [`Anderson`]) only makes steps; the one loop
//! here owns limits, finiteness and convergence, per lane. A sample that is done leaves its lane, and a waiting one
//! takes it, so finished samples cost nothing more. All arithmetic is per lane: a sample's result is the same, bit for
//! bit, whatever else is in the batch.
//!
//! ```
//! use iresnet::solve::{Branch, LANES, Picard, Stop, solve};
//!
//! /// `g(x) = x / 2`
//! struct Half;
//!
//! impl Branch<f64> for Half {
//!     type Scratch = ();
//!     fn len(&self) -> usize {
//!         1
//!     }
//!     fn value(&self, x: &[f64], out: &mut [f64], _scratch: &mut ()) {
//!         out.iter_mut().zip(x).for_each(|(out, x)| *out = x / 2.0);
//!     }
//!     fn lipschitz(&self) -> Option<f64> {
//!         Some(0.5)
//!     }
//! }
//!
//! // x + x / 2 = 3, for one sample in the first of sixteen lanes.
//! let solved = solve(&Half, &[3.0; LANES], 1, &Picard, Stop { tolerance: Some(1e-9), max_iterations: 100 })?;
//! assert!((solved.x[0] - 2.0).abs() <= solved.reports[0].error_bar.unwrap());
//! # Ok::<(), iresnet::solve::Contradiction>(())
//! ```
//!
//! # Error bars
//! With `Lip(g) <= L < 1`, for any iterate `x` (from the paper's equation 3):
//! `||x - x*|| <= ||x + g(x) - y|| / (1 - L)`. A step of the plain iteration from `x` has length `||x + g(x) - y||`,
//! so the bar of the new iterate is `L / (1 - L)` times the step. Round-off adds about
//! `eps max(||x||, ||y||) / (1 - L)`, below which no iteration gets. That part is an estimate: sums of many terms that
//! all round the same way can be off by more. [`FixedTrunk::error_bars`](crate::model::FixedTrunk::error_bars) of a whole
//! network needs no estimate.

mod anderson;
mod network;
mod picard;
mod scalar;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use anderson::Anderson;
pub use iresnet_kernels::LANES;
pub use network::{network_error_bar, share_tolerance};
pub use picard::Picard;
pub use scalar::Scalar;

/// A residual branch `g` (any step size included) on packs: `[value][16 samples]`, flat.
pub trait Branch<T: Scalar>: Sync {
    /// Buffers of one thread.
    type Scratch: Default + Send;

    /// Values of one sample.
    fn len(&self) -> usize;

    /// Whether samples have no values.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `g(x)` of each lane. Lanes must not influence each other.
    fn value(&self, x: &[T], out: &mut [T], scratch: &mut Self::Scratch);

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

    /// `x <- y - g(x)`; returns `||x_new - x_old||` of each lane. Override it where the two can be fused.
    fn fixed_point(&self, y: &[T], x: &mut [T], scratch: &mut Self::Scratch) -> [f64; LANES] {
        let mut g = vec![T::ZERO; x.len()];
        self.value(x, &mut g, scratch);
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

    /// `J_g(x) v` of each lane, where the branch can say; Newton-type methods and log-determinants need it.
    fn jvp(&self, _x: &[T], _v: &[T], _scratch: &mut Self::Scratch) -> Option<Vec<T>> {
        None
    }
}

/// How a sample's solve ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The tolerance is met.
    Converged,
    /// The residual is at the rounding of the number format: nothing more can be had.
    RoundOffFloor,
    /// The limit came first.
    OutOfIterations,
    /// Steps grow instead of shrinking.
    NotContractive,
    /// A value became NaN or infinite.
    NonFinite,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Outcome::Converged => "converged",
            Outcome::RoundOffFloor => "round-off floor",
            Outcome::OutOfIterations => "out of iterations",
            Outcome::NotContractive => "not contractive",
            Outcome::NonFinite => "not finite",
        })
    }
}

impl Outcome {
    /// Whether the result can be used: converged, or as good as the number format allows.
    pub fn is_success(self) -> bool {
        matches!(self, Outcome::Converged | Outcome::RoundOffFloor)
    }
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

/// What a [`Stop::tolerance`] bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToleranceOn {
    /// The distance from the solution: constants below 1 are certified.
    Error,
    /// The residual only.
    Residual,
}

impl std::fmt::Display for ToleranceOn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ToleranceOn::Error => "error",
            ToleranceOn::Residual => "residual",
        })
    }
}

/// What is known of one sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleReport {
    /// How it ended.
    pub outcome: Outcome,
    /// Steps made.
    pub iterations: usize,
    /// Evaluations of `g`.
    pub evaluations: usize,
    /// Length of the last plain step, NaN if there was none: the residual `||x + g(x) - y||` of the iterate before the last.
    /// A certified network's last steps in float64 are not looked at.
    pub residual: f64,
    /// Bound on `||x - x*||` up to the estimate of round-off; only with a certified `L < 1`, and only for finite results.
    pub error_bar: Option<f64>,
    /// Largest ratio of one plain step's length to that of the step before, beyond round-off.
    pub contraction_observed: Option<f64>,
}

/// The claim `Lip(g) <= L` was seen to be wrong.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "sample {sample}: step {iteration} has length {step:e} after one of {previous:e}, but the certified Lipschitz \
     constant {lipschitz} allows at most {allowed:e}; the certificate does not belong to these weights"
)]
pub struct Contradiction {
    /// Number of the sample.
    pub sample: usize,
    /// Number of the step.
    pub iteration: usize,
    /// Its length.
    pub step: f64,
    /// Length of the step before.
    pub previous: f64,
    /// The bound that was claimed.
    pub lipschitz: f64,
    /// What it allows, round-off included.
    pub allowed: f64,
}

/// A way to make steps.
pub trait Solver<T: Scalar>: Sync {
    /// What it remembers of a pack.
    type State: Send;

    /// Memory for packs of `len` values.
    fn init(&self, len: usize) -> Self::State;

    /// Forgets what it knows of `lane`, which gets a new sample.
    fn reset(&self, state: &mut Self::State, lane: usize);

    /// One evaluation of `g` in every lane, `x` moved; returns the residuals `||x + g(x) - y||` of the old `x`.
    fn step<B: Branch<T>>(
        &self,
        branch: &B,
        y: &[T],
        x: &mut [T],
        state: &mut Self::State,
        scratch: &mut B::Scratch,
    ) -> [f64; LANES];

    /// Makes the last step of `lane` the plain one, which has an error bar. Plain solvers have nothing to do.
    fn settle(&self, _state: &Self::State, _x: &mut [T], _lane: usize) {}

    /// Whether its steps are those of the plain iteration, whose lengths then must shrink by `L` each.
    fn is_plain(&self) -> bool;
}

/// Solutions and reports of a batch.
#[derive(Clone, Debug)]
pub struct Solved<T> {
    /// Packs, in the order of the samples; unused lanes are zero.
    pub x: Vec<T>,
    /// One a sample.
    pub reports: Vec<SampleReport>,
}

/// Samples that one task works through; tasks are independent, so this only balances the threads.
const SAMPLES_A_TASK: usize = 4 * LANES;

/// Solves `x + g(x) = y` for the first `samples` samples of the packs `y`, starting from `y` itself.
///
/// # Errors
/// Steps that contradict the certified Lipschitz constant beyond round-off.
///
/// # Panics
/// If `y` does not hold `ceil(samples / 16)` packs, the branch has no values, or the tolerance is negative or NaN.
pub fn solve<T: Scalar, B: Branch<T>, S: Solver<T>>(
    branch: &B,
    y: &[T],
    samples: usize,
    solver: &S,
    stop: Stop,
) -> Result<Solved<T>, Contradiction> {
    assert!(!branch.is_empty(), "a branch must have at least one value a sample");
    assert!(stop.tolerance.is_none_or(|tolerance| tolerance >= 0.0), "tolerance {:?}", stop.tolerance);
    let pack = branch.len() * LANES;
    assert_eq!(y.len(), samples.div_ceil(LANES) * pack, "packs of {samples} samples of {} values", branch.len());
    if stop.max_iterations == 0 {
        let report = SampleReport {
            outcome: Outcome::OutOfIterations,
            iterations: 0,
            evaluations: 0,
            residual: f64::NAN,
            error_bar: None,
            contraction_observed: None,
        };
        return Ok(Solved { x: y.to_vec(), reports: vec![report; samples] });
    }
    let mut x = vec![T::ZERO; y.len()];
    let task_len = SAMPLES_A_TASK / LANES * pack;
    let tasks: Vec<_> = x.chunks_mut(task_len).zip(y.chunks(task_len)).enumerate().collect();
    let reports: Result<Vec<_>, Contradiction> = tasks
        .into_par_iter()
        .map(|(i, (x, y))| {
            let first = i * SAMPLES_A_TASK;
            let count = SAMPLES_A_TASK.min(samples - first);
            Task { branch, solver, stop, first, count, y, x }.run()
        })
        .collect();
    Ok(Solved { x, reports: reports?.concat() })
}

/// One lane at work.
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

impl Lane {
    fn new(sample: usize, size: f64) -> Self {
        let nan = f64::NAN;
        Lane { sample, iterations: 0, size, travelled: 0.0, previous: nan, first: nan, growing: 0, contraction: None }
    }
}

/// Whether these are all the samples of one pack, each in its own lane.
fn whole_pack(moves: &[(usize, usize)]) -> bool {
    moves.len() == LANES
        && moves.iter().enumerate().all(|(i, &(l, sample))| l == i && sample == moves[0].1 + i)
        && moves[0].1.is_multiple_of(LANES)
}

/// Copies samples of the packs `from` into lanes of `y` and of `x`, and returns their lengths.
fn load<T: Scalar>(from: &[T], len: usize, moves: &[(usize, usize)], y: &mut [T], x: &mut [T]) -> [f64; LANES] {
    let mut squares = [0.0; LANES];
    if moves.is_empty() {
        return squares;
    }
    if whole_pack(moves) {
        y.copy_from_slice(&from[moves[0].1 * len..][..len * LANES]);
    } else {
        // All lanes in one pass, so that every line of the pack is touched once.
        for (i, to) in y.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            for &(l, sample) in moves {
                to[l] = from[(sample / LANES * len + i) * LANES + sample % LANES];
            }
        }
    }
    for (to, from) in x.as_chunks_mut::<LANES>().0.iter_mut().zip(y.as_chunks::<LANES>().0) {
        for l in 0..LANES {
            squares[l] += from[l].to_f64() * from[l].to_f64();
        }
        for &(l, _) in moves {
            to[l] = from[l];
        }
    }
    squares.map(f64::sqrt)
}

/// Copies lanes of `x` to their samples' places in the packs `to`.
fn unload<T: Scalar>(x: &[T], len: usize, moves: &[(usize, usize)], to: &mut [T]) {
    if whole_pack(moves) {
        to[moves[0].1 * len..][..len * LANES].copy_from_slice(x);
    } else if !moves.is_empty() {
        for (i, from) in x.as_chunks::<LANES>().0.iter().enumerate() {
            for &(l, sample) in moves {
                to[(sample / LANES * len + i) * LANES + sample % LANES] = from[l];
            }
        }
    }
}

struct Task<'a, T, B, S> {
    branch: &'a B,
    solver: &'a S,
    stop: Stop,
    /// Number of its first sample in the batch.
    first: usize,
    count: usize,
    y: &'a [T],
    x: &'a mut [T],
}

/// Steps in a row that must grow before a sample counts as not contractive.
const GROWING: usize = 8;
/// Growth of the residual over the first one that ends a sample at once.
const EXPLODED: f64 = 1e6;

impl<T: Scalar, B: Branch<T>, S: Solver<T>> Task<'_, T, B, S> {
    fn run(self) -> Result<Vec<SampleReport>, Contradiction> {
        let len = self.branch.len();
        let mut scratch = B::Scratch::default();
        let mut state = self.solver.init(len);
        let (mut y, mut x) = (vec![T::ZERO; len * LANES], vec![T::ZERO; len * LANES]);
        let mut lanes: [Option<Lane>; LANES] = std::array::from_fn(|_| None);
        let mut reports: Vec<Option<SampleReport>> = vec![None; self.count];
        let mut waiting = 0..self.count;
        loop {
            let mut entering = Vec::new();
            for l in (0..LANES).filter(|&l| lanes[l].is_none()) {
                entering.extend(waiting.next().map(|sample| (l, sample)));
            }
            let sizes = load(self.y, len, &entering, &mut y, &mut x);
            for (l, sample) in entering {
                self.solver.reset(&mut state, l);
                lanes[l] = Some(Lane::new(sample, sizes[l]));
            }
            if lanes.iter().all(Option::is_none) {
                return Ok(reports.into_iter().map(|r| r.expect("every sample ended")).collect());
            }
            let residuals = self.solver.step(self.branch, &y, &mut x, &mut state, &mut scratch);
            let mut leaving = Vec::new();
            for (l, slot) in lanes.iter_mut().enumerate() {
                let Some(lane) = slot else { continue };
                if let Some(found) = self.contradiction(lane, residuals[l]) {
                    let of_lane = |packs: &[T]| packs.iter().skip(l).step_by(LANES).copied().collect::<Vec<T>>();
                    if self.branch.is_refuted(&of_lane(&y), &of_lane(&x)) {
                        return Err(found);
                    }
                }
                if let Some(outcome) = self.judge(lane, residuals[l]) {
                    self.solver.settle(&state, &mut x, l);
                    reports[lane.sample] = Some(self.report(lane, residuals[l], outcome));
                    leaving.push((l, lane.sample));
                    *slot = None;
                }
            }
            unload(&x, len, &leaving, self.x);
        }
    }

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
        let lipschitz = self.contraction().filter(|_| self.solver.is_plain() && lane.iterations > 0)?;
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
    fn judge(&self, lane: &mut Lane, residual: f64) -> Option<Outcome> {
        let (previous, round_off) = (lane.previous, self.round_off(lane, residual));
        lane.iterations += 1;
        lane.travelled += residual;
        lane.previous = residual;
        if !residual.is_finite() || !lane.size.is_finite() {
            return Some(Outcome::NonFinite);
        }
        if lane.iterations == 1 {
            lane.first = residual;
        } else if self.solver.is_plain() && residual > round_off {
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

#[cfg(test)]
mod tests;
