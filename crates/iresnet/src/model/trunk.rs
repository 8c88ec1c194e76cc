//! The trunk on the fused kernels: images in, latents out, and the gradients on the way back.
//!
//! Between entering and leaving, everything stays in packs of [`LANES`] images (see `iresnet_kernels`). A training
//! pass keeps the input of every block on a [`Tape`]; evaluation runs each pack through whole stages in place.

use std::sync::Arc;

use iresnet_kernels::{Affine, BlockPlan, DropoutMask, ImageShape, LANES, Purpose, Workspace};
use rayon::prelude::*;

use super::dropout::Dropout;
use super::effective::{BlockWeights, EffectiveWeights, normalized_weights, spectral_factor};
use super::layout::{Block, Layout};
use super::norms::{NormState, conv_shape};

/// Gradients of the latent below this are zero.
const NEGLIGIBLE: f32 = 1e-20;

/// Kernels ready to run one block.
pub(crate) fn plan(block: &Block, weights: &BlockWeights, purpose: Purpose) -> BlockPlan {
    let affine =
        weights.affine.as_ref().map(|maps| maps.each_ref().map(|map| Affine { scale: &map.scale, shift: &map.shift }));
    BlockPlan::new(&block.shape, &weights.weights, affine, purpose)
}

/// Zero channels join the images, which become packs.
pub(crate) fn enter(images: &[f32], layout: &Layout) -> Vec<f32> {
    let input = layout.input;
    let (len, padded) = (input.channels * input.height * input.width, layout.padded.len());
    let samples = images.len() / len;
    let mut wide = vec![0.0; samples * padded];
    for (image, wide) in images.chunks_exact(len).zip(wide.chunks_exact_mut(padded)) {
        wide[..len].copy_from_slice(image);
    }
    let mut packs = vec![0.0; samples.div_ceil(LANES) * layout.padded.pack_len()];
    iresnet_kernels::pack(&wide, layout.padded, &mut packs);
    packs
}

/// Packs of `shape` become `samples` images in NCHW.
pub(crate) fn leave(packs: &[f32], shape: ImageShape, samples: usize) -> Vec<f32> {
    let mut images = vec![0.0; samples * shape.len()];
    iresnet_kernels::unpack(packs, shape, &mut images);
    images
}

/// The 2x2 downsampling in front of a stage, on packs of `shape`.
pub(crate) fn downsample(packs: &[f32], shape: ImageShape, to: ImageShape) -> Vec<f32> {
    let mut out = vec![0.0; packs.len() / shape.pack_len() * to.pack_len()];
    iresnet_kernels::pixel_unshuffle(packs, shape, &mut out);
    out
}

/// Its inverse, which is also its adjoint; `to` is the larger image.
pub(crate) fn upsample(packs: &[f32], shape: ImageShape, to: ImageShape) -> Vec<f32> {
    let mut out = vec![0.0; packs.len() / shape.pack_len() * to.pack_len()];
    iresnet_kernels::pixel_shuffle(packs, to, &mut out);
    out
}

/// The trunk with its weights fixed: the network that is evaluated, inverted and audited.
pub struct FixedTrunk {
    pub(crate) layout: Arc<Layout>,
    pub(crate) plans: Vec<BlockPlan>,
    /// Of each block: see [`crate::solve::Branch::offset_scale`].
    pub(crate) offset_scales: Vec<f64>,
}

impl FixedTrunk {
    /// Prepares the kernels for `weights`.
    pub fn new(layout: Arc<Layout>, weights: &EffectiveWeights) -> Self {
        let plans = layout
            .blocks()
            .zip(&weights.blocks)
            .map(|(block, weights)| plan(block, weights, Purpose::Inference))
            .collect();
        let offset_scales =
            layout.blocks().zip(&weights.blocks).map(|(block, weights)| weights.offset_scale(block)).collect();
        FixedTrunk { layout, plans, offset_scales }
    }

    /// Latents of `images`.
    ///
    /// # Shapes
    /// - images: `[n, channels, height, width]` of the layout's input
    /// - result: `[n, C, H, W]` of the layout's latent
    pub fn forward(&self, images: &[f32]) -> Vec<f32> {
        let samples = images.len() / (self.layout.input.channels * self.layout.input.height * self.layout.input.width);
        let mut packs = enter(images, &self.layout);
        let mut shape = self.layout.padded;
        let mut plans = self.plans.as_slice();
        for (s, stage) in self.layout.stages.iter().enumerate() {
            if s > 0 {
                packs = downsample(&packs, shape, stage.image);
                shape = stage.image;
            }
            let (here, later) = plans.split_at(stage.blocks.len());
            plans = later;
            packs.par_chunks_mut(shape.pack_len()).for_each_init(Workspace::default, |workspace, pack| {
                for plan in here {
                    plan.forward_pack(pack, workspace);
                }
            });
        }
        leave(&packs, shape, samples)
    }
}

/// What a training pass needs beside the parameters.
#[derive(Clone, Debug)]
pub(crate) struct TrainingPass {
    pub layout: Arc<Layout>,
    /// Power-iteration vectors and estimates of this step.
    pub state: Arc<NormState>,
    pub coeff: Option<f64>,
    pub dropout: Option<Dropout>,
}

/// What the backward pass needs of one block.
struct Record {
    input: Vec<f32>,
    plan: BlockPlan,
    mask: Option<Vec<u16>>,
    inner: Inner,
}

/// What happened inside a block.
enum Inner {
    /// Outputs of its first two convolutions.
    Hidden(Vec<f32>),
    /// Those, and the statistics of the batch.
    Normalized(iresnet_kernels::BatchNormTape),
}

/// What a forward pass keeps for its backward pass.
pub(crate) struct Tape {
    pass: TrainingPass,
    records: Vec<Record>,
    samples: usize,
}

/// Statistics of one batch: means and unbiased variances of the trunk's BatchNorms.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BatchStatistics {
    pub mean: Vec<f32>,
    pub var: Vec<f32>,
}

impl std::fmt::Debug for Tape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tape of {} blocks, {} samples", self.records.len(), self.samples)
    }
}

impl TrainingPass {
    /// Latents of `images` (NCHW), with dropout and batch statistics.
    pub(crate) fn forward(&self, images: &[f32], trunk: &[f32]) -> (Vec<f32>, Tape, BatchStatistics) {
        let input = self.layout.input;
        let samples = images.len() / (input.channels * input.height * input.width);
        let mut statistics =
            BatchStatistics { mean: vec![0.0; self.layout.statistics_len], var: vec![0.0; self.layout.statistics_len] };
        let mut packs = enter(images, &self.layout);
        let mut shape = self.layout.padded;
        let mut records = Vec::with_capacity(self.layout.num_blocks());
        for (s, stage) in self.layout.stages.iter().enumerate() {
            if s > 0 {
                packs = downsample(&packs, shape, stage.image);
                shape = stage.image;
            }
            let first = records.len();
            let plans: Vec<BlockPlan> = stage
                .blocks
                .par_iter()
                .enumerate()
                .map(|(i, block)| {
                    let weights = normalized_weights(block, first + i, trunk, &self.state, self.coeff);
                    plan(block, &BlockWeights { weights, affine: None }, Purpose::Training)
                })
                .collect();
            for (block, plan) in stage.blocks.iter().zip(plans) {
                let index = records.len();
                let mask = self.mask(block, index, packs.len() / shape.pack_len());
                let dropout = self.dropout_mask(&mask);
                let mut out = vec![0.0; packs.len()];
                let inner = if block.norms.iter().any(Option::is_some) {
                    let tape = plan.forward_batchnorm(&packs, &mut out, samples, &trunk[block.affine.clone()], dropout);
                    for (norm, moments) in block.norms.iter().zip(tape.moments()) {
                        if let (Some(norm), Some(moments)) = (norm, moments) {
                            let unbias = moments.count as f32 / (moments.count as f32 - 1.0).max(1.0);
                            statistics.mean[norm.statistics.clone()].copy_from_slice(&moments.mean);
                            for (to, var) in statistics.var[norm.statistics.clone()].iter_mut().zip(&moments.var) {
                                *to = var * unbias;
                            }
                        }
                    }
                    Inner::Normalized(tape)
                } else {
                    let mut hidden = vec![0.0; packs.len() / shape.pack_len() * block.shape.hidden_len()];
                    plan.forward(&packs, &mut out, Some(&mut hidden), dropout);
                    Inner::Hidden(hidden)
                };
                let input = std::mem::replace(&mut packs, out);
                records.push(Record { input, plan, mask, inner });
            }
        }
        let latent = leave(&packs, shape, samples);
        (latent, Tape { pass: self.clone(), records, samples }, statistics)
    }

    fn mask(&self, block: &Block, index: usize, packs: usize) -> Option<Vec<u16>> {
        let positions = block.shape.bottleneck * block.shape.image.height * block.shape.image.width;
        self.dropout.as_ref().map(|dropout| dropout.bits(index, packs * positions))
    }

    fn dropout_mask<'a>(&self, bits: &'a Option<Vec<u16>>) -> Option<DropoutMask<'a>> {
        Some(DropoutMask { bits: bits.as_deref()?, scale: self.dropout.as_ref()?.scale() })
    }
}

impl Tape {
    /// Gradient with respect to the trunk's parameters, from the gradient with respect to the latent (NCHW).
    pub(crate) fn backward(mut self, latent_gradient: &[f32], trunk: &[f32]) -> Vec<f32> {
        let layout = self.pass.layout.clone();
        let mut gradient = vec![0.0; layout.trunk_len];
        let mut shape = layout.latent;
        let mut packs = vec![0.0; self.samples.div_ceil(LANES) * shape.pack_len()];
        iresnet_kernels::pack(latent_gradient, shape, &mut packs);
        // Samples that are classified with certainty have gradients around exp(-90); what follows would run on
        // denormal numbers, twenty times slower, for changes that no weight can feel.
        packs.par_iter_mut().with_min_len(1 << 14).filter(|g| g.abs() < NEGLIGIBLE).for_each(|g| *g = 0.0);
        for (s, stage) in layout.stages.iter().enumerate().rev() {
            for block in stage.blocks.iter().rev() {
                let record = self.records.pop().expect("one record a block");
                let dropout = self.pass.dropout_mask(&record.mask);
                match record.inner {
                    Inner::Hidden(hidden) => {
                        let into = &mut gradient[block.weights.clone()];
                        record.plan.backward(&record.input, &hidden, &mut packs, dropout, into);
                    }
                    Inner::Normalized(tape) => {
                        let (weights, affine) =
                            gradient[block.weights.start..block.affine.end].split_at_mut(block.weights.len());
                        let parameters = &trunk[block.affine.clone()];
                        record.plan.backward_batchnorm(
                            &record.input,
                            &tape,
                            parameters,
                            &mut packs,
                            dropout,
                            weights,
                            affine,
                        );
                    }
                }
            }
            if s > 0 {
                let before = layout.stages[s - 1].image;
                packs = upsample(&packs, shape, before);
                shape = before;
            }
        }
        if let Some(coeff) = self.pass.coeff {
            through_normalization(&layout, trunk, &self.pass.state, coeff, &mut gradient);
        }
        gradient
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
