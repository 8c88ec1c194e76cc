//! Table 1: error, reconstruction error and guarantee of the six networks.

use std::collections::BTreeMap;
use std::time::Instant;

use iresnet::data::{CIFAR10_CLASSES, Input, Split};
use iresnet::evaluate::{error_percent, reconstruction};
use iresnet::measure::Measure;
use iresnet::solve::{Outcome, Picard};
use iresnet::train::RunRecord;
use serde::{Deserialize, Serialize};

use crate::networks::Network;
use crate::progress::tell;
use crate::{LabError, Progress};

/// Iterations a block, as in the paper.
pub const ITERATIONS: usize = 100;

/// The paper's figures for a model: error % and normed L2.
pub fn paper(model: &str, data: PaperData) -> Option<(f64, &'static str)> {
    let (_, errors, norms) = PAPER.iter().find(|(name, _, _)| *name == model)?;
    let column = match data {
        PaperData::Cifar10 => 0,
        PaperData::Mnist => 1,
    };
    Some((errors[column], norms[column]))
}

/// The paper's figures: model, error % on CIFAR-10 and MNIST, normed L2 on both (its Table 1).
const PAPER: [(&str, [f64; 2], [&str; 2]); 6] = [
    ("vanilla", [6.95, 0.61], ["1.4", "2.5e-7"]),
    ("batch-norm", [6.00, 0.65], ["inf", "1.0"]),
    ("c = 0.9", [6.30, 0.64], ["1.3e-7", "2.2e-7"]),
    ("c = 0.7", [8.23, 0.61], ["9.5e-8", "1.9e-7"]),
    ("c = 0.5", [17.71, 1.12], ["1.9e-8", "1.6e-7"]),
    ("c = 0.3", [24.66, 1.65], ["7.2e-9", "7.3e-8"]),
];

/// Data that the paper has figures for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PaperData {
    /// CIFAR-10, in whatever files.
    Cifar10,
    /// MNIST.
    Mnist,
}

impl PaperData {
    /// Tells by the images' size and the names of the classes.
    pub fn of(record: &RunRecord) -> Option<Self> {
        let Input { channels, height, width, .. } = record.input;
        let digits = || (0..10).map(|digit| digit.to_string()).eq(record.classes.iter().cloned());
        match [channels, height, width] {
            [3, 32, 32] if record.classes == CIFAR10_CLASSES => Some(PaperData::Cifar10),
            [1, 28, 28] if digits() => Some(PaperData::Mnist),
            _ => None,
        }
    }
}

/// One row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Label of the model.
    pub model: String,
    /// Classification error on the test set, in percent.
    pub error_percent: f64,
    /// Mean over the images of `||x - x^|| / ||x||` on the network's input.
    pub normed_l2: Measure,
    /// The largest one.
    pub largest_normed_l2: Measure,
    /// Mean over the images of `||x - x^||`, in units of the input, whose range is 1.
    pub distance: Measure,
    /// Values of an image.
    pub image_values: usize,
    /// Images inverted.
    pub samples: usize,
    /// Mean iterations a block and image, of the inverse that the errors are of.
    pub iterations: f64,
    /// Outcomes and how many images had them; without a guarantee those of a second inverse, which gives up where steps grow.
    pub outcomes: BTreeMap<Outcome, usize>,
    /// Whether the certificate proves that the inverse exists.
    pub guaranteed_inverse: bool,
    /// Largest certified `Lip(g)` of a block.
    pub largest_block_lipschitz: f64,
    /// Epochs trained.
    pub epochs: usize,
    /// Seed of the run.
    pub seed: u64,
    /// Seconds of training.
    pub training_seconds: f64,
    /// Seconds that latents and inverses of `samples` images took: without a guarantee both inverses.
    pub inverse_seconds: f64,
    /// SHA-256 of the file of weights.
    pub file_sha256: String,
}

/// Evaluates, certifies and inverts one network: `samples` test images at even distances are inverted, all are classified.
///
/// # Errors
/// A refuted certificate.
pub fn row(network: &Network, data: &Split, samples: usize, progress: Progress<'_>) -> Result<Row, LabError> {
    let (model, normalization) = (&network.model, &network.record.normalization);
    let certificate = network.certificate();
    let test = data.test.spread(samples);
    let all = data.test.len() + test.len();
    let classified = |done, _| tell(progress, done, all);
    let error_percent = error_percent(model, &data.test, normalization, Some(&classified));
    let begun = Instant::now();
    let inverted = |done, _| tell(progress, data.test.len() + done, all);
    let inverse = reconstruction(network.examined(), &test, normalization, &Picard, ITERATIONS, Some(&inverted))?;
    let inverse_seconds = begun.elapsed().as_secs_f64();
    Ok(Row {
        model: network.label(),
        error_percent,
        normed_l2: inverse.normed_l2,
        largest_normed_l2: inverse.largest_normed_l2,
        distance: inverse.distance,
        image_values: test.image_len(),
        samples: inverse.samples,
        iterations: inverse.iterations,
        outcomes: inverse.outcomes,
        guaranteed_inverse: certificate.certified,
        largest_block_lipschitz: certificate.largest_block_lipschitz(),
        epochs: network.state.epoch,
        seed: network.record.seed,
        training_seconds: network.state.epochs.iter().map(|e| e.seconds).sum(),
        inverse_seconds,
        file_sha256: network.file_sha256.clone(),
    })
}
