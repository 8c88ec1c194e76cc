//! Why a run could not be made, used or finished.

use std::path::PathBuf;

use crate::config::ConfigError;
use crate::model::WeightsError;

/// Why a run folder could not be used.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The system refused.
    #[error("cannot write {path}: {source}")]
    Write {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A run is there already.
    #[error("{path} holds a run already: resume it, or choose another folder")]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// No run is there.
    #[error("{path} is not a run folder: config.json is missing; a training run makes one")]
    NotARun {
        /// The folder.
        path: PathBuf,
    },
    /// Weights alone.
    #[error(
        "{path} is a file; commands take the run folder that holds it, with the config.json that says what it is of"
    )]
    NotAFolder {
        /// The file.
        path: PathBuf,
    },
    /// A run without weights.
    #[error(
        "{path} has no last.safetensors: no epoch of its training is done, or the file was lost; resuming the \
         run trains on, or takes the file back from the checkpoint"
    )]
    NoWeights {
        /// The folder.
        path: PathBuf,
    },
    /// The folder belongs to another run.
    #[error(
        "{path} is a run with {key} = {theirs}, and this run asks for {ours}: ask for the same, or choose another folder"
    )]
    OtherRun {
        /// The folder.
        path: PathBuf,
        /// What differs, such as `train.epochs`.
        key: String,
        /// Its value in the folder.
        theirs: String,
        /// Its value in the run that is asked for.
        ours: String,
    },
    /// Another process trains in the folder.
    #[error("{path} is being trained by another process; wait for it, or choose another folder")]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// Weights that training would overwrite, and nothing to go on from.
    #[error(
        "{path} holds the weights of {done} of {epochs} epochs and no checkpoint.safetensors to go on from; choose \
         another folder"
    )]
    NoCheckpoint {
        /// The folder.
        path: PathBuf,
        /// Epochs done.
        done: usize,
        /// Epochs asked for.
        epochs: usize,
    },
    /// The configuration does not load.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The weights do not load.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The loss, or a weight, stopped being a number.
    #[error(
        "the loss became {loss} in epoch {epoch}, step {step}; the last checkpoint is untouched; \
         try a smaller train.learning_rate or a train.clip_norm, in another folder"
    )]
    Diverged {
        /// The loss; NaN where a weight is not finite.
        loss: f32,
        /// From 1.
        epoch: usize,
        /// From 1.
        step: usize,
    },
}
