//! Training by the paper's recipe: seeded, repeatable, resumable to the bit.
//!
//! A step is `update_norms`, `differentiate`, [`Sgd::step`], `track`. Everything random is a function of the run's
//! seed and of epoch and step numbers, so a run that was killed goes on from its checkpoint as if nothing had
//! happened. At the end of an epoch power iterations converge and the head's statistics are taken anew, then the weights
//! are tested. Checkpoints are written after every epoch, every few minutes, and when a run is asked to stop.
//!
//! ```
//! use std::sync::atomic::AtomicBool;
//!
//! use iresnet::config::RunConfig;
//! use iresnet::device::Cpu;
//! use iresnet::train::{RunDir, RunRecord, Together, train};
//!
//! let data = iresnet::data::load("digits", std::path::Path::new(""), None)?;
//! let config = RunConfig::preset_with("digits", &["model.blocks=[1,1]".into(), "train.epochs=1".into()])?;
//! let record = RunRecord::new(&data, "digits", config, 0);
//! let folder = tempfile::tempdir()?;
//! let dir = RunDir::create(folder.path(), &record, false)?;
//! let (_, progress, _) = train(&dir, &record, &data, Together::alone(&Cpu), &AtomicBool::new(false), &mut ())?;
//! assert!(progress.epochs[0].test_error_percent < 50.0);
//! let (_, model) = dir.load()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod epoch;
mod error;
mod folder;
mod muon;
mod observer;
mod optimizer;
mod record;
mod run;
mod state;
mod step;

pub use crate::config::{RunConfig, TrainConfig};
pub use error::RunError;
pub use folder::{RunDir, write_atomically};
pub use observer::{BatchReport, Observer};
pub use optimizer::Sgd;
pub use record::RunRecord;
pub use run::{Ended, train};
pub use state::{EpochRecord, RunState};
pub use step::{Alone, Reduce, Together, step};

#[cfg(test)]
mod tests;
