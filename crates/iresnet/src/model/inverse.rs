//! The inverse of the whole network: latents in, images out, block by block from the last (equations 3 and 4 of the
//! paper), in memory that grows neither with depth nor with iterations.

use std::collections::BTreeMap;

use burn::Tensor;
use iresnet_kernels::{BlockPlan, DoubleBlock, ImageShape, Workspace};
use rayon::prelude::*;
use serde::Serialize;

use super::IResNet;
use super::double::{expands, refine, wide};
use super::trunk::{FixedTrunk, leave, upsample};
use crate::certificate::Certificate;
use crate::evaluate::length;
use crate::solve::{
    Branch, Contradiction, LANES, Outcome, SampleReport, Solver, Stop, ToleranceOn, share_tolerance, solve,
};

/// `h g` of one block on the fused kernels.
pub struct ConvBranch<'a> {
    plan: &'a BlockPlan,
    double: &'a DoubleBlock,
    lipschitz: Option<f64>,
}

impl Branch<f32> for ConvBranch<'_> {
    type Scratch = Workspace;

    fn len(&self) -> usize {
        self.plan.shape().image.pack_len() / LANES
    }

    fn value(&self, x: &[f32], out: &mut [f32], scratch: &mut Workspace) {
        self.plan.branch_pack(x, out, scratch);
        let step = self.plan.shape().step;
        if step != 1.0 {
            out.iter_mut().for_each(|g| *g *= step);
        }
    }

    fn lipschitz(&self) -> Option<f64> {
        self.lipschitz
    }

    fn offset_scale(&self) -> f64 {
        self.double.magnitude(0.0)
    }

    fn is_refuted(&self, y: &[f32], x: &[f32]) -> bool {
        let lipschitz = self.lipschitz.unwrap_or(f64::INFINITY);
        expands(self.double, y, x, lipschitz)
    }

    fn fixed_point(&self, y: &[f32], x: &mut [f32], scratch: &mut Workspace) -> [f64; LANES] {
        self.plan.fixed_point_pack(y, x, None, None, scratch).map(|square| f64::from(square).sqrt())
    }

    fn jvp(&self, x: &[f32], v: &[f32], scratch: &mut Workspace) -> Option<Vec<f32>> {
        let mut out = vec![0.0; x.len()];
        self.plan.jvp_pack(x, v, &mut out, scratch);
        let step = self.plan.shape().step;
        out.iter_mut().for_each(|g| *g *= step);
        Some(out)
    }
}

/// Reconstructed images and what is known of them.
#[derive(Clone, Debug)]
pub struct Inversion {
    /// `[n, channels, height, width]` values of the network's input.
    pub images: Tensor<4>,
    /// Per image and per block.
    pub report: InversionReport,
}

/// What is known of the inverse of one image.
#[derive(Clone, Debug, Serialize)]
pub struct ImageReport {
    /// The worst outcome among its blocks.
    pub outcome: Outcome,
    /// Iterations over all blocks.
    pub iterations: usize,
    /// Most iterations of a block.
    pub most_iterations: usize,
    /// Bound on the L2 distance from the latent's true preimage, all rounding included
    /// ([`FixedTrunk::error_bars`], which [`FixedTrunk::inverse`] leaves to its caller). None without a certificate.
    pub error_bar: Option<f64>,
    /// Length of what the zero channels held, which the injective padding drops: zero for an exact inverse.
    pub padding_residual: f64,
}

/// What is known of one block over all images.
#[derive(Clone, Debug, Serialize)]
pub struct BlockReport {
    /// Its name in the network.
    pub name: String,
    /// Outcomes and how many images had them.
    pub outcomes: BTreeMap<Outcome, usize>,
    /// Mean iterations.
    pub mean_iterations: f64,
    /// Most iterations.
    pub most_iterations: usize,
    /// Largest observed contraction.
    pub contraction_observed: Option<f64>,
    /// Certified Lipschitz constant.
    pub contraction_certified: Option<f64>,
}

/// What is known of an inverse.
#[derive(Clone, Debug, Serialize)]
pub struct InversionReport {
    /// One an image.
    pub images: Vec<ImageReport>,
    /// One a block, in the order of the inverse: the last block first.
    pub blocks: Vec<BlockReport>,
    /// `error` where the tolerance was shared out among the blocks so that their errors add up to it at the network's
    /// input, `residual` where it could only bound each block's residual because there is no certificate. Shares are judged
    /// by the lengths of steps, and those below round-off cannot be kept: error bars say what was reached.
    pub tolerance_on: ToleranceOn,
}

impl InversionReport {
    /// What [`FixedTrunk::error_bars`] says of the images.
    pub fn set_error_bars(&mut self, bars: Vec<Option<f64>>) {
        self.images.iter_mut().zip(bars).for_each(|(image, bar)| image.error_bar = bar);
    }

    /// Outcomes and how many images had them.
    pub fn outcomes(&self) -> BTreeMap<Outcome, usize> {
        count(self.images.iter().map(|image| image.outcome))
    }

    /// An error unless every image converged or is as good as the number format allows.
    ///
    /// # Errors
    /// The first image that is not.
    pub fn require_converged(&self) -> Result<(), NotConverged> {
        match self.images.iter().enumerate().find(|(_, image)| !image.outcome.is_success()) {
            Some((image, report)) => Err(NotConverged { image, outcome: report.outcome }),
            None => Ok(()),
        }
    }
}

/// An image whose inverse did not succeed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the inverse of image {image} ended so: {outcome}")]
pub struct NotConverged {
    /// Number of the image.
    pub image: usize,
    /// How it ended.
    pub outcome: Outcome,
}

fn count(outcomes: impl Iterator<Item = Outcome>) -> BTreeMap<Outcome, usize> {
    let mut counts = BTreeMap::new();
    outcomes.for_each(|outcome| *counts.entry(outcome).or_default() += 1);
    counts
}

impl IResNet {
    /// The images whose latents are `latent` `[n, C, H, W]`.
    ///
    /// With a `certificate` of these weights the tolerance is meant for the whole inverse and shared out among the
    /// blocks ([`share_tolerance`]; each share relative to the length of the block's own `y`); else it bounds each
    /// block's residual.
    ///
    /// # Errors
    /// Steps that contradict the certificate. Not converging is no error but part of the report.
    pub fn inverse<S: Solver<f32>>(
        &self,
        latent: Tensor<4>,
        solver: &S,
        stop: Stop,
        certificate: Option<&Certificate>,
    ) -> Result<Inversion, Contradiction> {
        let [n, channels, height, width] = latent.dims();
        let (device, shape) = (latent.device(), self.layout.latent);
        assert_eq!([channels, height, width], [shape.channels, shape.height, shape.width], "shape of the latent");
        let values = latent.into_data().try_into_vec::<f32>().expect("float32 latents");
        let (lipschitz, trunk) = (certificate.and_then(|c| c.block_lipschitz(self)), self.fixed_trunk());
        let (images, mut report) = trunk.inverse(&values, n, solver, stop, lipschitz.as_deref())?;
        if let Some(lipschitz) = &lipschitz {
            report.set_error_bars(trunk.error_bars(&images, &values, lipschitz));
        }
        let input = self.layout.input;
        let shape = [n, input.channels, input.height, input.width];
        Ok(Inversion { images: Tensor::<1>::from_floats(images.as_slice(), &device).reshape(shape), report })
    }
}

impl FixedTrunk {
    /// The same on plain values; `lipschitz` holds certified constants of all blocks.
    ///
    /// # Errors
    /// Steps that contradict the certified constants.
    pub fn inverse<S: Solver<f32>>(
        &self,
        latent: &[f32],
        samples: usize,
        solver: &S,
        stop: Stop,
        lipschitz: Option<&[f64]>,
    ) -> Result<(Vec<f32>, InversionReport), Contradiction> {
        let layout = &self.layout;
        let constants: Option<Vec<f64>> = lipschitz.map(|l| l.iter().rev().copied().collect());
        let shares = constants
            .as_ref()
            .zip(stop.tolerance)
            .and_then(|(constants, tolerance)| share_tolerance(tolerance, constants));
        let len = layout.latent.len();
        let chunks: Result<Vec<_>, Contradiction> = latent
            .par_chunks(SAMPLES_TOGETHER * len)
            .enumerate()
            .map(|(i, latent)| {
                let chunk = self.invert_chunk(latent, solver, stop, lipschitz, shares.as_deref());
                chunk.map_err(|found| Contradiction { sample: found.sample + i * SAMPLES_TOGETHER, ..found })
            })
            .collect();
        let chunks = chunks?;
        let blocks = layout.blocks().collect::<Vec<_>>().into_iter().rev().enumerate().map(|(at, block)| {
            let reports: Vec<&SampleReport> = chunks.iter().flat_map(|chunk| &chunk.by_block[at]).collect();
            summarize(&block.name, &reports, constants.as_ref().map(|c| c[at]))
        });
        let blocks = blocks.collect();
        let (mut images, mut reports) = (Vec::new(), Vec::with_capacity(samples));
        for chunk in &chunks {
            let (kept, padding) = unpad(&chunk.wide, layout.input.channels, layout.padded);
            images.extend(kept);
            let image = |(n, padding): (usize, &f64)| image_report(n, &chunk.by_block, *padding);
            reports.extend(padding.iter().enumerate().map(image));
        }
        let contractive = lipschitz.is_some_and(|l| l.iter().all(|l| *l < 1.0));
        let tolerance_on = if contractive { ToleranceOn::Error } else { ToleranceOn::Residual };
        Ok((images, InversionReport { images: reports, blocks, tolerance_on }))
    }

    /// Takes some latents through all blocks, so that they stay in the cache of one core.
    fn invert_chunk<S: Solver<f32>>(
        &self,
        latent: &[f32],
        solver: &S,
        stop: Stop,
        lipschitz: Option<&[f64]>,
        shares: Option<&[f64]>,
    ) -> Result<Chunk, Contradiction> {
        let layout = &self.layout;
        let mut shape = layout.latent;
        let samples = latent.len() / shape.len();
        let mut packs = vec![0.0; samples.div_ceil(LANES) * shape.pack_len()];
        iresnet_kernels::pack(latent, shape, &mut packs);
        // The same in float64, where steps are sure to come closer.
        let precise = stop.tolerance.is_some() && lipschitz.is_some_and(|l| l.iter().all(|l| *l < 1.0));
        let mut doubles = if precise { wide(&packs) } else { Vec::new() };
        let mut by_block: Vec<Vec<SampleReport>> = Vec::with_capacity(self.plans.len());
        let mut index = self.plans.len();
        for (s, stage) in layout.stages.iter().enumerate().rev() {
            for _ in &stage.blocks {
                index -= 1;
                let branch = ConvBranch {
                    plan: &self.plans[index],
                    double: &self.doubles[index],
                    lipschitz: lipschitz.map(|l| l[index]),
                };
                let tolerance = shares.map_or(stop.tolerance, |shares| Some(shares[by_block.len()]));
                let mut solved = solve(&branch, &packs, samples, solver, Stop { tolerance, ..stop })?;
                if precise {
                    doubles = refine(&self.doubles[index], &doubles, &mut solved, stop);
                }
                packs = solved.x;
                by_block.push(solved.reports);
            }
            if s > 0 {
                let before = layout.stages[s - 1].image;
                packs = upsample(&packs, shape, before);
                doubles = upsample(&doubles, shape, before);
                shape = before;
            }
        }
        Ok(Chunk { wide: leave(&packs, shape, samples), by_block })
    }
}

/// Latents that go through all blocks together: enough for finished samples to be replaced by waiting ones.
const SAMPLES_TOGETHER: usize = 4 * LANES;

/// Inverted latents, padding channels included, and reports of each block in the order of the inverse.
struct Chunk {
    wide: Vec<f32>,
    by_block: Vec<Vec<SampleReport>>,
}

fn summarize(name: &str, reports: &[&SampleReport], lipschitz: Option<f64>) -> BlockReport {
    BlockReport {
        name: name.into(),
        outcomes: count(reports.iter().map(|r| r.outcome)),
        mean_iterations: reports.iter().map(|r| r.iterations as f64).sum::<f64>() / reports.len().max(1) as f64,
        most_iterations: reports.iter().map(|r| r.iterations).max().unwrap_or(0),
        contraction_observed: reports.iter().filter_map(|r| r.contraction_observed).reduce(f64::max),
        contraction_certified: lipschitz,
    }
}

fn image_report(n: usize, by_block: &[Vec<SampleReport>], padding: f64) -> ImageReport {
    let reports = || by_block.iter().map(|block| &block[n]);
    ImageReport {
        outcome: reports().map(|r| r.outcome).max().unwrap_or(Outcome::Converged),
        iterations: reports().map(|r| r.iterations).sum(),
        most_iterations: reports().map(|r| r.iterations).max().unwrap_or(0),
        error_bar: None,
        padding_residual: padding,
    }
}

/// Drops the zero channels; returns the images and the length of what each one's dropped channels held.
fn unpad(wide: &[f32], channels: usize, shape: ImageShape) -> (Vec<f32>, Vec<f64>) {
    let kept = channels * shape.height * shape.width;
    let images = wide.chunks_exact(shape.len()).flat_map(|image| image[..kept].iter().copied()).collect();
    let padding = wide.chunks_exact(shape.len()).map(|image| length(&image[kept..])).collect();
    (images, padding)
}
