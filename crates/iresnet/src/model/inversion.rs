//! What is known of an inverse of the whole network.

use std::collections::BTreeMap;

use iresnet_flow::proof::Certificate;
use iresnet_flow::solve::{Outcome, SampleReport, ToleranceOn};
use ndarray::Array4;
use serde::Serialize;

use super::layout::Layout;

/// Reconstructed images and what is known of them.
#[derive(Clone, Debug)]
pub struct Inversion {
    /// `[n, channels, height, width]` values of the network's input.
    pub images: Array4<f32>,
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
    /// Bound on the L2 distance from the latent's true preimage, all rounding included. None without a certificate.
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

/// What inverting some latents together gave beside the images.
pub(super) struct Chunk {
    /// Of each block in the order of the inverse, a report a sample.
    pub solves: Vec<Vec<SampleReport>>,
    /// Length of each sample's padding channels.
    pub padding: Vec<f64>,
}

/// Sums up the chunks of an inverse.
pub(super) fn report(
    layout: &Layout,
    chunks: Vec<Chunk>,
    certificate: Option<&Certificate>,
    tolerance_on: ToleranceOn,
) -> InversionReport {
    let constant = |block: usize| certificate.map(|certificate| certificate.blocks[block].lipschitz.value());
    let (names, count): (Vec<&str>, usize) = (layout.blocks().map(|b| b.name.as_str()).collect(), layout.num_blocks());
    let block = |at: usize| {
        let reports: Vec<&SampleReport> = chunks.iter().flat_map(|chunk| &chunk.solves[at]).collect();
        summarize(names[count - 1 - at], &reports, constant(count - 1 - at))
    };
    let images = chunks.iter().flat_map(|chunk| {
        chunk.padding.iter().enumerate().map(|(n, padding)| image_report(n, &chunk.solves, *padding))
    });
    InversionReport { images: images.collect(), blocks: (0..count).map(block).collect(), tolerance_on }
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
