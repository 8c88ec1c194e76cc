//! The paper's branch in training: dropout, batch statistics, and recovery of its input from its output.

use std::sync::Mutex;

use iresnet_kernels::{BlockPlan, BlockShape, DropoutMask, Purpose, with_workspace};
use rayon::prelude::*;

use crate::autodiff::{Inner, Pool, Recovered, Step};
use crate::solve::lanes::{Packs, Rule, run};
use crate::solve::{Branch, Contradiction, Outcome, Picard};
use crate::{ImageShape, LANES};

/// Error of a recovered input, relative to the layer's output, far below the error that gradients may have, 1e-4. What
/// happened inside is that of the iterate before, whose error is larger by the last contraction's inverse.
const RECOVERY_TOLERANCE: f64 = 3e-7;
/// Evaluations of a branch after which its inverse is given up.
const MAX_EVALUATIONS: usize = 30;
/// Moves, relative to the output, that are rounding.
const ROUNDING: f64 = 1.5e-7;

/// Which values dropout keeps, and what they are multiplied by.
#[derive(Clone, Debug)]
pub struct DropoutBits {
    /// `[ceil(n / 16)][channel][y][x]`: bit l keeps the value of sample l of its sixteen.
    pub bits: Vec<u16>,
    /// `1 / (1 - p)`
    pub scale: f32,
}

/// The BatchNorms of a block with batch statistics: scales and shifts, `scale, shift` of each there is.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorms<'a>(pub &'a [f32]);

/// `x + h g(x)` ready to run on the samples of one training pass.
pub struct BottleneckStep<'a> {
    plan: BlockPlan,
    samples: usize,
    dropout: Option<DropoutBits>,
    norms: Option<BatchNorms<'a>>,
}

impl<'a> BottleneckStep<'a> {
    /// The layer of these weights (`w1, b1, w2, b2, w3, b3`, normalised where the network is) on `samples` samples.
    ///
    /// # Panics
    /// If the lengths do not fit `shape`.
    pub fn new(
        shape: &BlockShape,
        weights: &[f32],
        samples: usize,
        dropout: Option<DropoutBits>,
        norms: Option<BatchNorms<'a>>,
        purpose: Purpose,
    ) -> Self {
        BottleneckStep { plan: BlockPlan::new(shape, weights, None, purpose), samples, dropout, norms }
    }

    /// Input and inner values of one pack, and the evaluations that took; `None` if a sample does not come to rest.
    fn recover_pack(&self, pack: usize, y: &[f32], x: &mut [f32], hidden: &mut [f32]) -> Option<usize> {
        let shape = self.plan.shape();
        let lanes = (self.samples - pack * LANES).min(LANES);
        if lanes < LANES {
            // Nothing else writes the unused lanes of a buffer that was used before.
            x.fill(0.0);
        }
        let mask = self.mask().map(|mask| mask.of_pack(pack, shape.middle()));
        let branch = Recording { plan: &self.plan, mask, hidden: Mutex::new(hidden) };
        let packs = Packs { len: shape.image.len(), y, start: y, x };
        let (mut evaluations, mut found) = (0, true);
        let done = run(&branch, &Picard, &ByContraction, packs, 0..lanes, |_, lane, _, outcome| {
            evaluations = lane.iterations;
            found &= outcome.is_success();
        });
        (done.is_ok() && found).then_some(evaluations)
    }

    fn mask(&self) -> Option<DropoutMask<'_>> {
        self.dropout.as_ref().map(|dropout| DropoutMask { bits: &dropout.bits, scale: dropout.scale })
    }
}

impl Step for BottleneckStep<'_> {
    fn forward(&self, x: &[f32], keep_inner: bool, pool: &Pool) -> (Vec<f32>, Inner) {
        let shape = self.plan.shape();
        let mut out = pool.take(x.len());
        if let Some(BatchNorms(parameters)) = self.norms {
            let tape = self.plan.forward_batchnorm(x, &mut out, self.samples, parameters, self.mask());
            return (out, Inner::Normalized(Box::new(tape)));
        }
        let mut hidden = keep_inner.then(|| pool.take(x.len() / shape.image.pack_len() * shape.hidden_len()));
        self.plan.forward(x, &mut out, hidden.as_deref_mut(), self.mask());
        (out, hidden.map_or(Inner::Nothing, Inner::Hidden))
    }

    /// Fixed-point iterations until every sample's error is below 3e-7 of the output, judged by the contraction seen.
    fn recover(&self, y: &[f32], pool: &Pool) -> Option<Recovered> {
        let shape = self.plan.shape();
        let (len, hidden_len) = (shape.image.pack_len(), shape.hidden_len());
        let mut input = pool.take(y.len());
        let mut hidden = pool.take(y.len() / len * hidden_len);
        let jobs = input.par_chunks_mut(len).zip(hidden.par_chunks_mut(hidden_len)).zip(y.par_chunks(len));
        let recovered = jobs.enumerate().map(|(pack, ((x, hidden), y))| self.recover_pack(pack, y, x, hidden));
        match recovered.collect::<Option<Vec<usize>>>() {
            Some(evaluations) => {
                Some(Recovered { input, inner: Inner::Hidden(hidden), evaluations: evaluations.iter().sum() })
            }
            None => {
                pool.give(input);
                pool.give(hidden);
                None
            }
        }
    }

    fn backward(&self, x: &[f32], inner: Inner, gradient: &mut Vec<f32>, parameters: &mut [f32], pool: &Pool) {
        match inner {
            Inner::Nothing => panic!("a backward pass through convolutions needs what they gave"),
            Inner::Hidden(hidden) => {
                self.plan.backward(x, &hidden, gradient, self.mask(), parameters);
                pool.give(hidden);
            }
            Inner::Normalized(tape) => {
                let BatchNorms(affine) = self.norms.expect("the layer has BatchNorms");
                let (weights, norms) = parameters.split_at_mut(self.plan.shape().num_weights());
                self.plan.backward_batchnorm(x, &tape, affine, gradient, self.mask(), weights, norms);
            }
        }
    }
}

/// The branch of one pack, whose steps leave behind what happened inside.
struct Recording<'a> {
    plan: &'a BlockPlan,
    mask: Option<DropoutMask<'a>>,
    hidden: Mutex<&'a mut [f32]>,
}

impl Branch<f32> for Recording<'_> {
    fn shape(&self) -> ImageShape {
        self.plan.shape().image
    }

    fn value(&self, _x: &[f32], _out: &mut [f32]) {
        unreachable!("Picard's iteration makes fixed-point steps");
    }

    fn lipschitz(&self) -> Option<f64> {
        None
    }

    fn fixed_point(&self, y: &[f32], x: &mut [f32]) -> [f64; LANES] {
        let mut hidden = self.hidden.lock().expect("one thread a pack");
        let squares =
            with_workspace(|workspace| self.plan.fixed_point_pack(y, x, Some(&mut hidden), self.mask, workspace));
        squares.map(|square| f64::from(square).sqrt())
    }
}

/// Done when the contraction seen so far promises an error below [`RECOVERY_TOLERANCE`]. What happened inside is wanted of
/// the same iterate for all samples of a pack, so they leave together.
struct ByContraction;

struct Recovering {
    size: f64,
    iterations: usize,
    before: f64,
}

impl Rule<f32> for ByContraction {
    type Lane = Recovering;

    const TOGETHER: bool = true;

    fn enter(&self, _sample: usize, size: f64) -> Recovering {
        Recovering { size: size.max(f64::from(f32::MIN_POSITIVE)), iterations: 0, before: f64::INFINITY }
    }

    fn judge(
        &self,
        lane: &mut Recovering,
        moved: f64,
        _values: &dyn Fn() -> [Vec<f32>; 2],
    ) -> Result<Option<Outcome>, Contradiction> {
        lane.iterations += 1;
        // Nothing is known of the contraction after the first step.
        let ratio = moved / lane.before;
        let error = if lane.iterations == 1 { f64::INFINITY } else { moved * ratio / (1.0 - ratio) };
        lane.before = moved;
        if !moved.is_finite() {
            return Ok(Some(Outcome::NonFinite));
        }
        let done = moved <= ROUNDING * lane.size || (ratio < 1.0 && error <= RECOVERY_TOLERANCE * lane.size);
        if !done && lane.iterations >= MAX_EVALUATIONS {
            return Ok(Some(Outcome::OutOfIterations));
        }
        Ok(done.then_some(Outcome::Converged))
    }
}
