//! The one loop: samples in lanes, each to its own end.
//!
//! A sample that is done leaves its lane, and a waiting one takes it, so finished samples cost nothing more. A [`Rule`]
//! says when a sample is done.

use super::branch::Branch;
use super::report::{Contradiction, Outcome};
use super::solver::Solver;
use crate::batch::lengths;
use crate::{LANES, Scalar};

/// When samples are done.
pub(crate) trait Rule<T: Scalar> {
    /// What is remembered of a sample under way.
    type Lane;

    /// Begins with sample number `sample`, whose `y` has length `size`.
    fn enter(&self, sample: usize, size: f64) -> Self::Lane;

    /// Books a step with this residual, after which the sample's values are `values()`: `y`, then `x`. `Some` ends the
    /// sample.
    ///
    /// # Errors
    /// A step that contradicts a certified constant.
    fn judge(
        &self,
        lane: &mut Self::Lane,
        residual: f64,
        values: &dyn Fn() -> [Vec<T>; 2],
    ) -> Result<Option<Outcome>, Contradiction>;

    /// Whether the samples of a pack leave together, once all are done in one and the same step.
    const TOGETHER: bool = false;
}

/// Packs to solve: right-hand sides, where to start, and where solutions go.
pub(crate) struct Packs<'a, T> {
    /// Values of a sample.
    pub len: usize,
    pub y: &'a [T],
    pub start: &'a [T],
    pub x: &'a mut [T],
}

/// Solves `x + g(x) = y` for the samples that `waiting` names; `done` gets each one's number, its lane, its last residual
/// and its outcome.
///
/// # Errors
/// What the rule finds.
pub(crate) fn run<T: Scalar, R: Rule<T>>(
    branch: &dyn Branch<T>,
    solver: &dyn Solver<T>,
    rule: &R,
    packs: Packs<'_, T>,
    mut waiting: impl Iterator<Item = usize>,
    mut done: impl FnMut(usize, &R::Lane, f64, Outcome),
) -> Result<(), Contradiction> {
    let len = packs.len;
    let mut stepper = solver.start(len);
    let (mut y, mut x) = (vec![T::ZERO; len * LANES], vec![T::ZERO; len * LANES]);
    let mut lanes: [Option<(usize, R::Lane)>; LANES] = std::array::from_fn(|_| None);
    loop {
        let mut entering = Vec::new();
        for l in (0..LANES).filter(|&l| lanes[l].is_none()) {
            entering.extend(waiting.next().map(|sample| (l, sample)));
        }
        let sizes = if entering.is_empty() {
            [0.0; LANES]
        } else {
            load(packs.y, len, &entering, &mut y);
            load(packs.start, len, &entering, &mut x);
            lengths(&y)
        };
        for (l, sample) in entering {
            stepper.reset(l);
            lanes[l] = Some((sample, rule.enter(sample, sizes[l])));
        }
        if lanes.iter().all(Option::is_none) {
            return Ok(());
        }
        let residuals = stepper.step(branch, &y, &mut x);
        let mut leaving = Vec::new();
        for (l, slot) in lanes.iter_mut().enumerate() {
            let Some((_, lane)) = slot else { continue };
            let of_lane = |packs: &[T]| packs.iter().skip(l).step_by(LANES).copied().collect::<Vec<T>>();
            if let Some(outcome) = rule.judge(lane, residuals[l], &|| [of_lane(&y), of_lane(&x)])? {
                leaving.push((l, outcome));
            }
        }
        if R::TOGETHER && leaving.len() < lanes.iter().flatten().count() {
            continue;
        }
        let mut moves = Vec::with_capacity(leaving.len());
        for (l, outcome) in leaving {
            let (sample, lane) = lanes[l].take().expect("a lane at work");
            stepper.settle(&mut x, l);
            done(sample, &lane, residuals[l], outcome);
            moves.push((l, sample));
        }
        unload(&x, len, &moves, packs.x);
    }
}

/// Whether these are all the samples of one pack, each in its own lane.
fn whole_pack(moves: &[(usize, usize)]) -> bool {
    moves.len() == LANES
        && moves.iter().enumerate().all(|(i, &(l, sample))| l == i && sample == moves[0].1 + i)
        && moves[0].1.is_multiple_of(LANES)
}

/// Copies samples of the packs `from` into lanes of `to`.
fn load<T: Scalar>(from: &[T], len: usize, moves: &[(usize, usize)], to: &mut [T]) {
    if whole_pack(moves) {
        to.copy_from_slice(&from[moves[0].1 * len..][..len * LANES]);
    } else {
        // All lanes in one pass, so that every line of the pack is touched once.
        for (i, to) in to.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            for &(l, sample) in moves {
                to[l] = from[(sample / LANES * len + i) * LANES + sample % LANES];
            }
        }
    }
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
