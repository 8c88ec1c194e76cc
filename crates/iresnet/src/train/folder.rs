//! The run folder: `config.json`, `metrics.jsonl`, `checkpoint.safetensors`, `last.safetensors`, `best.safetensors`.
//!
//! Every file is written beside its place and renamed into it, so that an interruption at any moment leaves the old
//! file or the new one, never half of one.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::SafeTensors;
use serde_json::Value;

use super::error::RunError;
use super::optimizer::Sgd;
use super::record::RunRecord;
use super::state::{EpochRecord, RunState};
use crate::data::files::replace_file;
use crate::data::hash::sha256;
use crate::model::{IResNet, Layout, WeightsError};

/// A run folder.
#[derive(Clone, Debug)]
pub struct RunDir {
    path: PathBuf,
}

const CONFIG: &str = "config.json";
const METRICS: &str = "metrics.jsonl";
const CHECKPOINT: &str = "checkpoint.safetensors";
const LAST: &str = "last.safetensors";
const BEST: &str = "best.safetensors";
const LOCK: &str = "train.lock";

/// A run folder in which this process trains.
pub(crate) struct Lock {
    path: PathBuf,
    _file: fs::File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.path);
    }
}

/// Writes `bytes` beside `path`, then renames: `path` is the old file or the new one, never half of one.
///
/// # Errors
/// What the system refused, with the path.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    replace_file(path, bytes).map_err(|source| RunError::Write { path: path.into(), source })
}

impl RunDir {
    /// Makes the folder for a new run, or opens it to resume.
    ///
    /// # Errors
    /// A folder that cannot be written, a run that is there already without `resume`, or one that differs in
    /// data, seed, network or recipe.
    pub fn create(path: &Path, record: &RunRecord, resume: bool) -> Result<Self, RunError> {
        // A network that cannot be built makes no folder.
        Layout::new(&record.model, record.input)?;
        let dir = RunDir { path: path.into() };
        let config = path.join(CONFIG);
        if config.exists() {
            if !resume {
                return Err(RunError::Exists { path: path.into() });
            }
            let theirs = RunRecord::read(&config)?;
            // The same images under another name are the same images; records of before have their name only.
            let by_sum = theirs.images_sha256.is_some() && record.images_sha256.is_some();
            let what = |of: &RunRecord| {
                let (key, images) =
                    if by_sum { ("images_sha256", of.images_sha256.as_ref()) } else { ("data", Some(&of.data_name)) };
                serde_json::json!({
                    key: images, "classes": of.classes, "normalization": of.normalization, "input": of.input,
                    "seed": of.seed, "model": of.model, "train": of.train,
                })
            };
            return match difference(&what(&theirs), &what(record), String::new()) {
                Some((key, theirs, ours)) => Err(RunError::OtherRun { path: path.into(), key, theirs, ours }),
                None => Ok(dir),
            };
        }
        fs::create_dir_all(path).map_err(|source| RunError::Write { path: path.into(), source })?;
        let text = serde_json::to_string_pretty(record).expect("a configuration is JSON");
        write_atomically(&config, text.as_bytes())?;
        Ok(dir)
    }

    /// Opens the folder of a run.
    ///
    /// # Errors
    /// If it is not one.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        if path.is_file() {
            return Err(RunError::NotAFolder { path: path.into() });
        }
        if !path.join(CONFIG).is_file() {
            return Err(RunError::NotARun { path: path.into() });
        }
        Ok(RunDir { path: path.into() })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps other processes from training in the folder until what is returned is dropped, where the file system has locks
    /// and the folder can be written.
    pub(crate) fn lock(&self) -> Result<Option<Lock>, RunError> {
        let path = self.path.join(LOCK);
        let Ok(file) = fs::File::options().create(true).truncate(false).write(true).open(&path) else {
            return Ok(None);
        };
        match file.try_lock() {
            Err(fs::TryLockError::WouldBlock) => Err(RunError::Busy { path: self.path.clone() }),
            Ok(()) | Err(fs::TryLockError::Error(_)) => Ok(Some(Lock { path, _file: file })),
        }
    }

    /// The configuration.
    ///
    /// # Errors
    /// If it does not parse or holds values out of range.
    pub fn record(&self) -> Result<RunRecord, RunError> {
        Ok(RunRecord::read(&self.path.join(CONFIG))?)
    }

    /// The network with its last weights.
    ///
    /// # Errors
    /// If there are none yet, or they do not belong to the configuration.
    pub fn load(&self) -> Result<(RunRecord, IResNet), RunError> {
        let (record, model, _) = self.load_with_bytes()?;
        Ok((record, model))
    }

    /// The same, and the SHA-256 of the file of weights.
    ///
    /// # Errors
    /// As for [`Self::load`].
    pub fn load_with_sha256(&self) -> Result<(RunRecord, IResNet, String), RunError> {
        let (record, model, bytes) = self.load_with_bytes()?;
        Ok((record, model, sha256([bytes])))
    }

    fn load_with_bytes(&self) -> Result<(RunRecord, IResNet, Vec<u8>), RunError> {
        let record = self.record()?;
        let path = self.path.join(LAST);
        if !path.is_file() {
            return Err(RunError::NoWeights { path: self.path.clone() });
        }
        let mut model = record.model.zeros(record.input, record.seed)?;
        let bytes = read(&path)?;
        model.load_safetensors(&bytes, &path)?;
        Ok((record, model, bytes))
    }

    /// The epochs done, as `metrics.jsonl` has them.
    pub fn epochs(&self) -> Vec<EpochRecord> {
        let text = fs::read_to_string(self.path.join(METRICS)).unwrap_or_default();
        text.lines().map_while(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Writes a checkpoint: weights, momentum, power-iteration state, running statistics and progress.
    pub(crate) fn save_checkpoint(&self, model: &IResNet, sgd: &Sgd, progress: &RunState) -> Result<(), RunError> {
        let momentum = [(MOMENTUM[0], sgd.momentum[0].as_slice()), (MOMENTUM[1], sgd.momentum[1].as_slice())];
        let text = serde_json::to_string(progress).expect("progress is JSON");
        let bytes = model.serialize_with(&momentum, HashMap::from([(PROGRESS.to_string(), text)]));
        write_atomically(&self.path.join(CHECKPOINT), &bytes)
    }

    /// Loads the checkpoint into `model` and `sgd`, if there is one.
    pub(crate) fn load_checkpoint(&self, model: &mut IResNet, sgd: &mut Sgd) -> Result<Option<RunState>, RunError> {
        let path = self.path.join(CHECKPOINT);
        if !path.is_file() {
            return Ok(None);
        }
        let bytes = read(&path)?;
        let progress = progress_of(&bytes, &path)?;
        let file = SafeTensors::deserialize(&bytes).expect("progress was read from it");
        for (name, values) in MOMENTUM.iter().zip(&mut sgd.momentum) {
            let view = file.tensor(name).ok().filter(|v| v.data().len() == 4 * values.len()).ok_or_else(|| {
                let message = format!("{name} is missing or of another length than {}", values.len());
                WeightsError::Format { path: path.clone(), message }
            })?;
            crate::bytes::to_floats(view.data(), values);
        }
        model.load_tensors(&file, &path, false, &MOMENTUM)?;
        Ok(Some(progress))
    }

    /// The progress of a finished run without its checkpoint, as networks are published, with the weights in `model`;
    /// nothing for a new run.
    ///
    /// # Errors
    /// Weights that do not load, or those of a run that is not finished.
    pub(crate) fn load_finished(&self, model: &mut IResNet, epochs: usize) -> Result<Option<RunState>, RunError> {
        let path = self.path.join(LAST);
        if !path.is_file() {
            return Ok(None);
        }
        let records = self.epochs();
        if records.len() < epochs {
            return Err(RunError::NoCheckpoint { path: self.path.clone(), done: records.len(), epochs });
        }
        model.load_safetensors(&read(&path)?, &path)?;
        Ok(Some(RunState { epoch: records.len(), epochs: records, ..RunState::default() }))
    }

    /// Writes `last.safetensors`, and `best.safetensors` if this is the best epoch.
    pub(crate) fn save_weights(&self, model: &IResNet, best: bool) -> Result<(), RunError> {
        let bytes = model.to_safetensors();
        if best {
            write_atomically(&self.path.join(BEST), &bytes)?;
        }
        write_atomically(&self.path.join(LAST), &bytes)
    }

    /// Writes `last.safetensors` if it is missing.
    pub(crate) fn restore_weights(&self, model: &IResNet) -> Result<(), RunError> {
        if self.path.join(LAST).exists() { Ok(()) } else { self.save_weights(model, false) }
    }

    /// Writes the metrics of all epochs so far, a line each.
    pub(crate) fn save_metrics(&self, epochs: &[EpochRecord]) -> Result<(), RunError> {
        let lines: String = epochs.iter().map(|e| serde_json::to_string(e).expect("a record is JSON") + "\n").collect();
        write_atomically(&self.path.join(METRICS), lines.as_bytes())
    }
}

/// The first value that differs, with its path, and its text on either side.
fn difference(theirs: &Value, ours: &Value, path: String) -> Option<(String, String, String)> {
    match (theirs, ours) {
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => a.iter().find_map(|(key, value)| {
            let dot = if path.is_empty() { "" } else { "." };
            difference(value, &b[key], format!("{path}{dot}{key}"))
        }),
        _ => (theirs != ours).then(|| (path, theirs.to_string(), ours.to_string())),
    }
}

const MOMENTUM: [&str; 2] = ["momentum.trunk", "momentum.head"];
const PROGRESS: &str = "iresnet.progress";

fn read(path: &Path) -> Result<Vec<u8>, WeightsError> {
    fs::read(path).map_err(|source| WeightsError::Io { path: path.into(), source })
}

fn progress_of(bytes: &[u8], path: &Path) -> Result<RunState, RunError> {
    let format = |message: String| WeightsError::Format { path: path.into(), message };
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| format(e.to_string()))?;
    SafeTensors::deserialize(bytes).map_err(|e| format(e.to_string()))?;
    let text =
        metadata.metadata().as_ref().and_then(|m| m.get(PROGRESS)).ok_or_else(|| format("no progress in it".into()))?;
    serde_json::from_str(text).map_err(|e| format(e.to_string()).into())
}
