//! Table 1: error, reconstruction error and guarantee of the six networks.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use iresnet::Device;
use iresnet::certificate::Certificate;
use iresnet::data::Split;
use iresnet::evaluate::{Reconstruction, error_percent, reconstruction};
use iresnet::model::Norm;
use iresnet::solve::{Contradiction, Picard, Stop};
use iresnet::train::{Ended, Observer, RunDir, RunError, RunRecord, train};
use serde::Serialize;

/// The six normalisations, in the paper's order.
pub const MODELS: [Norm; 6] = [
    Norm::None,
    Norm::Batch,
    Norm::Spectral { coeff: 0.9 },
    Norm::Spectral { coeff: 0.7 },
    Norm::Spectral { coeff: 0.5 },
    Norm::Spectral { coeff: 0.3 },
];

/// Iterations a block, as in the paper.
pub const ITERATIONS: usize = 100;

/// The paper's figures: model, error % on CIFAR-10 and MNIST, normed L2 on both (its Table 1).
pub const PAPER: [(&str, [f64; 2], [&str; 2]); 6] = [
    ("vanilla", [6.95, 0.61], ["1.4", "2.5e-7"]),
    ("batch-norm", [6.00, 0.65], ["inf", "1.0"]),
    ("c = 0.9", [6.30, 0.64], ["1.3e-7", "2.2e-7"]),
    ("c = 0.7", [8.23, 0.61], ["9.5e-8", "1.9e-7"]),
    ("c = 0.5", [17.71, 1.12], ["1.9e-8", "1.6e-7"]),
    ("c = 0.3", [24.66, 1.65], ["7.2e-9", "7.3e-8"]),
];

/// One row.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Name of the model.
    pub model: String,
    /// Classification error on the test set, in percent.
    pub error_percent: f64,
    /// What the inverse gives; `normed_l2` is the mean of `||x - x^|| / ||x||` on the network's input.
    #[serde(flatten)]
    pub reconstruction: Reconstruction,
    /// Whether the certificate proves that the inverse exists.
    pub guaranteed_inverse: bool,
    /// Largest certified `Lip(g)` of a block.
    pub largest_block_lipschitz: f64,
    /// Epochs trained.
    pub epochs: usize,
    /// Seconds of training.
    pub training_seconds: f64,
    /// Seconds that the inverse of `samples` images took.
    pub inverse_seconds: f64,
}

/// The table.
#[derive(Clone, Debug, Serialize)]
pub struct Table1 {
    /// The data set.
    pub data: String,
    /// The preset.
    pub preset: String,
    /// Seed.
    pub seed: u64,
    /// Version of this software.
    pub version: String,
    /// Most iterations a block.
    pub max_iterations: usize,
    /// One row a model.
    pub rows: Vec<Row>,
    /// Models whose loss stopped being a number: they have no row.
    pub diverged: Vec<String>,
}

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// A run failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A solver refuted a certificate.
    #[error(transparent)]
    Contradiction(#[from] Contradiction),
}

/// File name of a model's run.
pub fn run_name(norm: Norm) -> String {
    match norm {
        Norm::None => "vanilla".into(),
        Norm::Batch => "batch-norm".into(),
        Norm::Spectral { coeff } => format!("c{coeff}"),
    }
}

/// Trains what is missing in `out/runs`, evaluates, inverts and certifies every model. `None` if `stop` was set.
///
/// `record` is the configuration of the first model; the others differ in their normalisation only.
///
/// # Errors
/// Files that cannot be read or written, training that diverges, a refuted certificate.
pub fn table1<O: Observer>(
    record: &RunRecord,
    data: &Split,
    out: &Path,
    invert_samples: usize,
    stop: &AtomicBool,
    observer: impl Fn(Norm) -> O,
) -> Result<Option<Table1>, TableError> {
    let (mut rows, mut diverged) = (Vec::new(), Vec::new());
    for norm in MODELS {
        let mut record = record.clone();
        record.model.norm = norm;
        let dir = RunDir::create(&out.join("runs").join(run_name(norm)), &record, true)?;
        let trained = train(&dir, &record, data, &Device::flex(), stop, &mut observer(norm));
        if let Err(RunError::Diverged { .. }) = &trained {
            diverged.push(norm.label());
            continue;
        }
        let (model, progress, ended) = trained?;
        if ended == Ended::Stopped || stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let certificate = Certificate::of(&model, |_, _| {});
        let lipschitz = certificate.contractions(&model);
        let test = data.test.first(invert_samples);
        let begun = Instant::now();
        let limits = Stop { tolerance: 0.0, max_iterations: ITERATIONS };
        let normalization = &record.normalization;
        let reconstruction =
            reconstruction(&model, &test, normalization, &Picard, limits, lipschitz.as_deref(), &mut |_, _| {})?;
        let inverse_seconds = begun.elapsed().as_secs_f64();
        rows.push(Row {
            model: norm.label(),
            error_percent: error_percent(&model, &data.test, normalization, &mut |_, _| {}),
            reconstruction,
            guaranteed_inverse: certificate.certified,
            largest_block_lipschitz: certificate.largest_block_lipschitz(),
            epochs: progress.epoch,
            training_seconds: progress.epochs.iter().map(|e| e.seconds).sum(),
            inverse_seconds,
        });
    }
    Ok(Some(Table1 {
        data: data.name.clone(),
        preset: record.preset.clone(),
        seed: record.seed,
        version: record.version.clone(),
        max_iterations: ITERATIONS,
        rows,
        diverged,
    }))
}
