//! The six networks that all tables and figures are about.

use std::cell::OnceCell;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use iresnet::certificate::Certificate;
use iresnet::config::Norm;
use iresnet::data::Split;
use iresnet::device::Cpu;
use iresnet::model::{Examined, IResNet};
use iresnet::train::{Ended, RunDir, RunError, RunRecord, RunState, Together, train};

use crate::LabError;
use crate::watcher::Watcher;

/// The six normalisations, in the paper's order.
pub const MODELS: [Norm; 6] = [
    Norm::None,
    Norm::Batch,
    Norm::Spectral { coeff: 0.9 },
    Norm::Spectral { coeff: 0.7 },
    Norm::Spectral { coeff: 0.5 },
    Norm::Spectral { coeff: 0.3 },
];

/// Name of a model's run folder: `vanilla`, `batch`, `c0.9` and so on.
pub fn run_name(norm: Norm) -> String {
    match norm {
        Norm::None => "vanilla".into(),
        Norm::Batch => "batch".into(),
        Norm::Spectral { coeff } => format!("c{coeff}"),
    }
}

/// A trained network.
#[derive(Debug)]
pub struct Network {
    /// Its run's configuration.
    pub record: RunRecord,
    /// The weights of the last epoch.
    pub model: IResNet,
    /// Its training.
    pub state: RunState,
    /// SHA-256 of its file of weights.
    pub file_sha256: String,
    examined: OnceCell<Examined>,
}

impl Network {
    /// A network whose file of weights has the checksum `file_sha256`.
    pub fn new(record: RunRecord, model: IResNet, state: RunState, file_sha256: String) -> Self {
        Network { record, model, state, file_sha256, examined: OnceCell::new() }
    }

    /// `vanilla`, `batch-norm`, `c = 0.9` and so on.
    pub fn label(&self) -> String {
        self.record.model.norm.label()
    }

    /// Name of its run folder.
    pub fn name(&self) -> String {
        run_name(self.record.model.norm)
    }

    /// The coefficient of its spectral normalisation.
    pub fn coeff(&self) -> Option<f64> {
        self.record.model.norm.coeff()
    }

    /// The network with what is proved of it; examined at the first call.
    pub fn examined(&self) -> &Examined {
        self.examined.get_or_init(|| self.model.prepare().examine(None))
    }

    /// What is proved of it.
    pub fn certificate(&self) -> &Certificate {
        self.examined().certificate()
    }
}

/// The networks that could be trained, and the others' labels.
#[derive(Debug)]
pub struct Networks {
    /// In the order of [`MODELS`].
    pub trained: Vec<Network>,
    /// Models whose loss stopped being a number.
    pub diverged: Vec<String>,
}

/// Trains what is missing in the run folders `out/<name>` ([`run_name`]); finished runs are taken as they are.
///
/// `record` is the configuration of the first model; the others differ in their normalisation only.
///
/// # Errors
/// A `train.validation` that leaves no images, files that cannot be read or written, a folder with another run, or
/// [`LabError::Stopped`] once `stop` is set.
pub fn networks(
    record: &RunRecord,
    data: &Split,
    out: &Path,
    stop: &AtomicBool,
    watcher: &impl Watcher,
) -> Result<Networks, LabError> {
    // A recipe that does not fit the data makes no folder.
    record.check(data).map_err(RunError::from)?;
    let mut networks = Networks { trained: Vec::new(), diverged: Vec::new() };
    let missing = |norm: &Norm| {
        let done = RunDir::open(&out.join(run_name(*norm))).map_or(0, |dir| dir.epochs().len());
        record.train.epochs.saturating_sub(done)
    };
    for (place, norm) in MODELS.into_iter().enumerate() {
        let mut record = record.clone();
        record.model.norm = norm;
        let dir = RunDir::create(&out.join(run_name(norm)), &record, true)?;
        let later = MODELS[place + 1..].iter().map(missing).sum();
        let trained =
            train(&dir, &record, data, Together::alone(&Cpu), stop, &mut watcher.training(place, norm, later));
        if let Err(error @ RunError::Diverged { .. }) = &trained {
            watcher.diverged(norm, error);
            networks.diverged.push(norm.label());
            continue;
        }
        let (_, state, ended) = trained?;
        if ended == Ended::Stopped || stop.load(Ordering::Relaxed) {
            return Err(LabError::Stopped);
        }
        // The configuration and the weights of the folder, which another version may have trained.
        let (record, model, file_sha256) = dir.load_with_sha256()?;
        networks.trained.push(Network::new(record, model, state, file_sha256));
    }
    Ok(networks)
}
