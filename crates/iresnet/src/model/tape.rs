//! A training pass through the trunk on the fused kernels, and the way back.
//!
//! What the backward pass needs of a block is its input and the outputs of its first two convolutions. [`Memory`] says
//! which of these are kept; the others are made again: from a block's output by the inverse, or from the nearest kept
//! input by the blocks in between. What is recovered has errors of about float32's rounding, which gradients would feel
//! only where a value changes sides of ReLU's kink: the few values near zero are kept. Kernels are prepared for a few
//! blocks at a time and dropout masks replayed, so that nothing but kept activations grows with depth.

use std::sync::Arc;

use iresnet_kernels::{BlockPlan, DropoutMask, LANES, Purpose, Workspace, with_workspace};
use rayon::prelude::*;

use super::dropout::Dropout;
use super::effective::{BlockWeights, normalized_weights, spectral_factor};
use super::layout::{Block, Layout, Stage};
use super::memory::{Memory, MemoryReport, Pool};
use super::norms::{NormState, conv_shape};
use super::trunk::{enter, leave, plan};

/// Gradients of the latent below this are zero.
const NEGLIGIBLE: f32 = 1e-20;
/// Blocks whose kernels are prepared together.
const GROUP: usize = 8;
/// Error of a recovered input, relative to the block's output, far below the error that gradients may have, 1e-4. What
/// happened inside is that of the iterate before, whose error is larger by the last contraction's inverse.
const RECOVERY_TOLERANCE: f32 = 3e-7;
/// Evaluations of a branch after which its inverse is given up.
const MAX_EVALUATIONS: usize = 30;
/// Values this close to zero, relative to the root mean square of their pack, are kept. Errors of recovered values grow
/// from block to block and stay far below this; about one value in ten thousand is kept.
const KINK: f32 = 3e-4;
/// Moves, relative to the output, that are rounding.
const ROUNDING: f32 = 1.5e-7;

/// What a training pass needs beside the parameters.
#[derive(Clone, Debug)]
pub(crate) struct TrainingPass {
    pub layout: Arc<Layout>,
    /// Power-iteration vectors and estimates of this step.
    pub state: Arc<NormState>,
    pub coeff: Option<f64>,
    pub dropout: Option<Dropout>,
    pub memory: Memory,
    /// Whether the derivative of κ jumps at zero.
    pub kinked: bool,
    pub pool: Arc<Pool>,
}

/// What is kept of one block.
#[derive(Default)]
struct Record {
    input: Option<Vec<f32>>,
    inner: Option<Inner>,
    kinks: Option<Kinks>,
}

/// Values at which recovered activations must be exact, of every pack: of the input, and inside.
#[derive(Default)]
struct Kinks {
    input: Vec<Vec<(u32, f32)>>,
    hidden: Vec<Vec<(u32, f32)>>,
}

/// What happened inside a block.
enum Inner {
    /// Outputs of its first two convolutions.
    Hidden(Vec<f32>),
    /// Those, and the statistics of the batch.
    Normalized(iresnet_kernels::BatchNormTape),
}

/// A block ready to run.
struct Prepared<'a> {
    block: &'a Block,
    plan: BlockPlan,
    mask: Option<Vec<u16>>,
}

/// What a forward pass keeps for its backward pass.
pub(crate) struct Tape {
    pass: TrainingPass,
    records: Vec<Record>,
    /// What leaves the last block, where inputs will be recovered from outputs.
    output: Option<Vec<f32>>,
    samples: usize,
    report: MemoryReport,
}

/// Statistics of one batch: means and unbiased variances of the trunk's BatchNorms.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BatchStatistics {
    pub mean: Vec<f32>,
    pub var: Vec<f32>,
}

impl std::fmt::Debug for Tape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tape of {} blocks, {} samples, {}", self.records.len(), self.samples, self.pass.memory)
    }
}

impl TrainingPass {
    /// Latents of `images` (NCHW), with dropout and batch statistics.
    pub(crate) fn forward(&self, images: &[f32], trunk: &[f32]) -> (Vec<f32>, Tape, BatchStatistics) {
        let layout = &self.layout;
        let samples = layout.samples(images);
        let mut statistics =
            BatchStatistics { mean: vec![0.0; layout.statistics_len], var: vec![0.0; layout.statistics_len] };
        let mut shape = layout.padded;
        let mut packs = self.pool.take(samples.div_ceil(LANES) * shape.pack_len());
        enter(images, layout, &mut packs);
        let mut records = Vec::with_capacity(layout.num_blocks());
        for (s, stage) in layout.stages.iter().enumerate() {
            if s > 0 {
                let mut small = self.pool.take(packs.len());
                iresnet_kernels::pixel_unshuffle(&packs, shape, &mut small);
                self.pool.give(std::mem::replace(&mut packs, small));
                shape = stage.image;
            }
            let first = records.len();
            for group in stage.blocks.chunks(GROUP) {
                let purpose = Purpose::Inference;
                for prepared in self.prepare(group, records.len(), samples, trunk, purpose) {
                    let place = records.len() - first;
                    let keep_inner = self.memory == Memory::Standard;
                    let kinked = self.memory == Memory::Reversible && place > 0 && self.kinked;
                    let (out, inner) = self.run(&prepared, &packs, samples, trunk, keep_inner || kinked);
                    let kinks = kinked.then(|| Kinks::of(prepared.block, &packs, inner.as_ref(), samples));
                    if let Some(Inner::Normalized(tape)) = &inner {
                        statistics.record(prepared.block, tape);
                    }
                    let input = std::mem::replace(&mut packs, out);
                    let input = match self.memory.keeps_input(place) {
                        true => Some(input),
                        false => {
                            self.pool.give(input);
                            None
                        }
                    };
                    let inner = self.kept(inner, keep_inner);
                    records.push(Record { input, inner, kinks });
                }
            }
        }
        let latent = leave(&packs, shape, samples);
        let output = match self.memory {
            Memory::Reversible => Some(packs),
            _ => {
                self.pool.give(packs);
                None
            }
        };
        (latent, Tape { pass: self.clone(), records, output, samples, report: MemoryReport::default() }, statistics)
    }

    /// Kernels and dropout masks of consecutive blocks, the first of which has number `first`.
    fn prepare<'a>(
        &self,
        blocks: &'a [Block],
        first: usize,
        samples: usize,
        trunk: &[f32],
        purpose: Purpose,
    ) -> Vec<Prepared<'a>> {
        let prepare = |(i, block): (usize, &'a Block)| {
            let weights = normalized_weights(block, first + i, trunk, &self.state, self.coeff);
            let len = samples.div_ceil(LANES) * block.shape.middle();
            let mask = self.dropout.as_ref().map(|dropout| dropout.bits(first + i, len));
            Prepared { block, plan: plan(block, &BlockWeights { weights, affine: None }, purpose), mask }
        };
        blocks.par_iter().enumerate().map(prepare).collect()
    }

    fn mask<'a>(&self, prepared: &'a Prepared<'_>) -> Option<DropoutMask<'a>> {
        Some(DropoutMask { bits: prepared.mask.as_deref()?, scale: self.dropout.as_ref()?.scale() })
    }

    /// Output of a block and, if wanted or if it has BatchNorms, what happened inside.
    fn run(
        &self,
        prepared: &Prepared<'_>,
        x: &[f32],
        samples: usize,
        trunk: &[f32],
        keep_inner: bool,
    ) -> (Vec<f32>, Option<Inner>) {
        let Prepared { block, plan, .. } = prepared;
        let mask = self.mask(prepared);
        let mut out = self.pool.take(x.len());
        if block.norms.iter().any(Option::is_some) {
            let tape = plan.forward_batchnorm(x, &mut out, samples, &trunk[block.affine.clone()], mask);
            return (out, Some(Inner::Normalized(tape)));
        }
        let mut hidden =
            keep_inner.then(|| self.pool.take(x.len() / block.shape.image.pack_len() * block.shape.hidden_len()));
        plan.forward(x, &mut out, hidden.as_deref_mut(), mask);
        (out, hidden.map(Inner::Hidden))
    }

    /// What is kept of what happened inside a block; buffers that are not go back to the pool.
    fn kept(&self, inner: Option<Inner>, keep: bool) -> Option<Inner> {
        match inner {
            Some(Inner::Hidden(hidden)) if !keep => {
                self.pool.give(hidden);
                None
            }
            inner => inner.filter(|_| keep),
        }
    }

    /// Input of a block, and what happened inside, from its output: fixed-point iterations until every image's error is
    /// below [`RECOVERY_TOLERANCE`], judged by the contraction seen. `None` if some image's do not get there.
    fn recover(&self, prepared: &Prepared<'_>, output: &[f32], samples: usize) -> Option<(Vec<f32>, Inner, usize)> {
        let plan = &prepared.plan;
        let shape = plan.shape();
        let (len, hidden_len) = (shape.image.pack_len(), shape.hidden_len());
        let mask = self.mask(prepared);
        let mut input = self.pool.take(output.len());
        let mut hidden = self.pool.take(output.len() / len * hidden_len);
        let jobs = input.par_chunks_mut(len).zip(hidden.par_chunks_mut(hidden_len)).zip(output.par_chunks(len));
        let evaluations: Option<Vec<usize>> = jobs
            .enumerate()
            .map(|(pack, ((x, hidden), y))| {
                let mask = mask.map(|m| m.of_pack(pack, shape.middle()));
                x.copy_from_slice(y);
                let lanes = (samples - pack * LANES).min(LANES);
                with_workspace(|workspace| recover_pack(plan, y, x, hidden, mask, lanes, workspace))
            })
            .collect();
        match evaluations {
            Some(evaluations) => Some((input, Inner::Hidden(hidden), evaluations.iter().sum())),
            None => {
                self.pool.give(input);
                self.pool.give(hidden);
                None
            }
        }
    }
}

/// Iterates `x <- y - h g(x)`; returns the evaluations it took, or `None` if it does not converge.
fn recover_pack(
    plan: &BlockPlan,
    y: &[f32],
    x: &mut [f32],
    hidden: &mut [f32],
    mask: Option<DropoutMask<'_>>,
    lanes: usize,
    workspace: &mut Workspace,
) -> Option<usize> {
    let mut squares = [0.0f32; LANES];
    for vector in y.as_chunks::<LANES>().0 {
        for l in 0..LANES {
            squares[l] += vector[l] * vector[l];
        }
    }
    let mut before = [f32::INFINITY; LANES];
    for evaluation in 1..=MAX_EVALUATIONS {
        let moves = plan.fixed_point_pack(y, x, Some(hidden), mask, workspace).map(f32::sqrt);
        let mut done = true;
        for l in 0..lanes {
            let scale = squares[l].sqrt().max(f32::MIN_POSITIVE);
            // An infinite first ratio says that nothing is known yet.
            let ratio = moves[l] / before[l];
            let error = if evaluation == 1 { f32::INFINITY } else { moves[l] * ratio / (1.0 - ratio) };
            if !moves[l].is_finite() {
                return None;
            }
            done &= moves[l] <= ROUNDING * scale || (ratio < 1.0 && error <= RECOVERY_TOLERANCE * scale);
        }
        if done {
            return Some(evaluation);
        }
        before = moves;
    }
    None
}

impl Kinks {
    fn of(block: &Block, input: &[f32], inner: Option<&Inner>, samples: usize) -> Self {
        let near = |values: &[f32], len: usize| {
            let lanes = |pack: usize| (samples - pack * LANES).min(LANES);
            let packs = values.par_chunks(len).enumerate();
            packs.map(|(i, pack)| iresnet_kernels::near_zero(pack, lanes(i), KINK)).collect()
        };
        match inner {
            Some(Inner::Hidden(hidden)) => Kinks {
                input: near(input, block.shape.image.pack_len()),
                hidden: near(hidden, block.shape.hidden_len()),
            },
            _ => Kinks::default(),
        }
    }

    fn restore(&self, input: &mut [f32], inner: &mut Inner) {
        let Inner::Hidden(hidden) = inner else { return };
        for (values, kinks) in [(input, &self.input), (hidden.as_mut_slice(), &self.hidden)] {
            let len = values.len() / kinks.len().max(1);
            for (pack, kinks) in values.chunks_exact_mut(len).zip(kinks) {
                kinks.iter().for_each(|&(place, value)| pack[place as usize] = value);
            }
        }
    }
}

impl BatchStatistics {
    /// Takes over what the normalisations of one block saw.
    fn record(&mut self, block: &Block, tape: &iresnet_kernels::BatchNormTape) {
        for (norm, moments) in block.norms.iter().zip(tape.moments()) {
            if let (Some(norm), Some(moments)) = (norm, moments) {
                let unbias = moments.count as f32 / (moments.count as f32 - 1.0).max(1.0);
                self.mean[norm.statistics.clone()].copy_from_slice(&moments.mean);
                for (to, var) in self.var[norm.statistics.clone()].iter_mut().zip(&moments.var) {
                    *to = var * unbias;
                }
            }
        }
    }
}

impl Tape {
    /// Gradient with respect to the trunk's parameters, from the gradient with respect to the latent (NCHW), and what
    /// was made again on the way.
    pub(crate) fn backward(mut self, latent_gradient: &[f32], trunk: &[f32]) -> (Vec<f32>, MemoryReport) {
        let (layout, pool) = (self.pass.layout.clone(), self.pass.pool.clone());
        let mut gradient = vec![0.0; layout.trunk_len];
        let mut packs = pool.take(self.samples.div_ceil(LANES) * layout.latent.pack_len());
        iresnet_kernels::pack(latent_gradient, layout.latent, &mut packs);
        // Samples that are classified with certainty have gradients around exp(-90); what follows would run on
        // denormal numbers, twenty times slower, for changes that no weight can feel.
        packs.par_iter_mut().with_min_len(1 << 14).filter(|g| g.abs() < NEGLIGIBLE).for_each(|g| *g = 0.0);
        let mut index = self.records.len();
        for (s, stage) in layout.stages.iter().enumerate().rev() {
            let start = index - stage.blocks.len();
            // What the block that comes next gave, where it is known.
            let mut output = self.output.take();
            for group in stage.blocks.chunks(GROUP).rev() {
                let prepared = self.pass.prepare(group, index - group.len(), self.samples, trunk, Purpose::Training);
                for prepared in prepared.iter().rev() {
                    index -= 1;
                    let (input, inner) = self.recall(stage, start, index, prepared, output.as_deref(), trunk);
                    self.pass.pull(prepared, &input, inner, trunk, &mut packs, &mut gradient);
                    if let Some(output) = output.replace(input) {
                        pool.give(output);
                    }
                }
            }
            let input = output.expect("a stage has blocks");
            if s > 0 {
                let before = layout.stages[s - 1].image;
                let mut large = pool.take(packs.len());
                iresnet_kernels::pixel_shuffle(&packs, before, &mut large);
                pool.give(std::mem::replace(&mut packs, large));
                if self.pass.memory == Memory::Reversible {
                    let mut large = pool.take(packs.len());
                    iresnet_kernels::pixel_shuffle(&input, before, &mut large);
                    self.output = Some(large);
                }
            }
            pool.give(input);
        }
        pool.give(packs);
        if let Some(coeff) = self.pass.coeff {
            through_normalization(&layout, trunk, &self.pass.state, coeff, &mut gradient);
        }
        (gradient, self.report)
    }

    /// Input and inner values of block `index` of the stage that begins with block `start`: kept, recovered from its
    /// output, or computed again.
    fn recall(
        &mut self,
        stage: &Stage,
        start: usize,
        index: usize,
        prepared: &Prepared<'_>,
        output: Option<&[f32]>,
        trunk: &[f32],
    ) -> (Vec<f32>, Inner) {
        if self.records[index].input.is_none() {
            if let Some(output) = output.filter(|_| self.pass.memory == Memory::Reversible) {
                if let Some((mut input, mut inner, evaluations)) = self.pass.recover(prepared, output, self.samples) {
                    if let Some(kinks) = &self.records[index].kinks {
                        kinks.restore(&mut input, &mut inner);
                    }
                    self.report.evaluations += evaluations;
                    self.report.recovered += 1;
                    return (input, inner);
                }
                self.report.recomputed += 1;
            }
            self.recompute(stage, start, index, trunk);
        }
        let Record { input, inner, .. } = std::mem::take(&mut self.records[index]);
        let input = input.expect("kept or computed again");
        let inner = inner.unwrap_or_else(|| {
            let (out, inner) = self.pass.run(prepared, &input, self.samples, trunk, true);
            self.pass.pool.give(out);
            inner.expect("asked for")
        });
        (input, inner)
    }

    /// Runs forward from the nearest kept input to block `index`, keeping what the last few blocks need, and inputs
    /// here and there for those before them.
    fn recompute(&mut self, stage: &Stage, start: usize, index: usize, trunk: &[f32]) {
        let from = (start..=index).rev().find(|&i| self.records[i].input.is_some()).expect("a stage's input is kept");
        let stride = match self.pass.memory {
            Memory::Checkpoint(every) => every,
            _ => (index - from + 1).isqrt() + 1,
        };
        let mut at = from;
        let mut packs = self.records[from].input.take().expect("just found");
        for group in stage.blocks[from - start..=index - start].chunks(GROUP) {
            for prepared in self.pass.prepare(group, at, self.samples, trunk, Purpose::Inference) {
                let near = at + stride > index;
                let (out, inner) = self.pass.run(&prepared, &packs, self.samples, trunk, near);
                let input = std::mem::replace(&mut packs, out);
                match near || (at - from).is_multiple_of(stride) {
                    true => self.records[at] = Record { input: Some(input), inner, kinks: None },
                    false => self.pass.pool.give(input),
                }
                at += 1;
            }
        }
        self.pass.pool.give(packs);
    }
}

impl TrainingPass {
    /// `packs` holds the gradient of a block's output and becomes that of its input; the parameters' is added.
    fn pull(
        &self,
        prepared: &Prepared<'_>,
        input: &[f32],
        inner: Inner,
        trunk: &[f32],
        packs: &mut [f32],
        gradient: &mut [f32],
    ) {
        let Prepared { block, plan, .. } = prepared;
        let mask = self.mask(prepared);
        match inner {
            Inner::Hidden(hidden) => {
                plan.backward(input, &hidden, packs, mask, &mut gradient[block.weights.clone()]);
                self.pool.give(hidden);
            }
            Inner::Normalized(tape) => {
                let (weights, affine) =
                    gradient[block.weights.start..block.affine.end].split_at_mut(block.weights.len());
                plan.backward_batchnorm(input, &tape, &trunk[block.affine.clone()], packs, mask, weights, affine);
            }
        }
    }
}

/// Turns gradients of the normalised weights `W~ = s W`, `s = c / sigma`, into those of `W`.
///
/// `sigma = u . (W * v)` is linear in `W` with derivative `P = du . (dW * v)`, the correlation of u and v, hence
/// `dL/dW = s (dL/dW~ - <dL/dW~, W> / sigma P)`. Convolutions that were not scaled keep their gradient.
fn through_normalization(layout: &Layout, trunk: &[f32], state: &NormState, coeff: f64, gradient: &mut [f32]) {
    let convs: Vec<_> = layout.convs().zip(&state.power).collect();
    let mut rest = gradient;
    let mut offset = 0;
    let mut jobs = Vec::new();
    for (conv, power) in convs {
        let (skipped, tail) = rest.split_at_mut(conv.weight.end - offset);
        let start = skipped.len() - conv.weight.len();
        jobs.push((conv, power, &mut skipped[start..]));
        offset = conv.weight.end;
        rest = tail;
    }
    jobs.into_par_iter().for_each(|(conv, power, gradient)| {
        let factor = spectral_factor(coeff, power.sigma);
        if factor >= 1.0 {
            return;
        }
        let mut correlation = vec![0.0; conv.weight.len()];
        iresnet_kernels::outer_correlation(&power.u, &power.v, &conv_shape(conv), &mut correlation);
        let inner: f64 =
            gradient.iter().zip(&trunk[conv.weight.clone()]).map(|(g, w)| f64::from(*g) * f64::from(*w)).sum();
        let along = (inner / f64::from(power.sigma)) as f32;
        for (g, p) in gradient.iter_mut().zip(&correlation) {
            *g = factor * (*g - along * p);
        }
    });
}
