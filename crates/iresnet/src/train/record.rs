//! Everything that determines a run; saved beside its results.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, ModelConfig, RunConfig, TrainConfig};
use crate::data::{Input, Normalization, Split};
use crate::device::{Cpu, Device};
use crate::model::Memory;

/// Everything that determines a run; saved in its folder as `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// Version of this software.
    pub version: String,
    /// What it ran on: device and compiled level; another level rounds differently.
    #[serde(default)]
    pub device: String,
    /// Name of the preset it began from.
    pub preset: String,
    /// What `--data` said.
    pub data: String,
    /// Name of the data set.
    pub data_name: String,
    /// [`crate::data::Dataset::sha256`] of the training images; absent in records of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images_sha256: Option<String>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// How pixels become the network's input.
    pub normalization: Normalization,
    /// The network's input.
    pub input: Input,
    /// Seed of weights, order, augmentation and dropout.
    pub seed: u64,
    /// The architecture.
    pub model: ModelConfig,
    /// The recipe.
    pub train: TrainConfig,
    /// What was kept for the backward pass; a resumed run may choose anew.
    #[serde(default)]
    pub memory: Memory,
}

impl RunRecord {
    /// A run on `data` by the preset of this name, as `config` changed it.
    pub fn new(data: &Split, preset: &str, config: RunConfig, seed: u64) -> Self {
        RunRecord {
            version: env!("CARGO_PKG_VERSION").into(),
            device: Cpu.name(),
            preset: preset.into(),
            data: data.name.clone(),
            data_name: data.name.clone(),
            images_sha256: Some(data.train.sha256()),
            classes: data.classes.clone(),
            normalization: data.normalization.clone(),
            input: data.input(),
            seed,
            model: config.model,
            train: config.train,
            memory: Memory::default(),
        }
    }

    /// Whether the recipe fits the data.
    ///
    /// # Errors
    /// A `train.validation` that leaves no images to train on.
    pub fn check(&self, data: &Split) -> Result<(), ConfigError> {
        let (held_out, all) = (self.train.validation, data.train.len());
        if held_out >= all {
            return Err(ConfigError::value("train.validation", held_out, format!("there are {all} training images")));
        }
        Ok(())
    }

    /// The byte that stands for white: digits count to 16, picture files to 255.
    pub fn white(&self) -> u8 {
        if self.data_name == "digits" { 16 } else { 255 }
    }

    /// Reads `config.json` of a run folder.
    ///
    /// # Errors
    /// A missing or unreadable file, unknown keys, values out of range.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let parse = |message: String| ConfigError::Parse { source_name: path.display().to_string(), message };
        let text = std::fs::read_to_string(path).map_err(|e| parse(e.to_string()))?;
        let record: RunRecord = serde_json::from_str(&text).map_err(|e| parse(e.to_string()))?;
        record.model.validate()?;
        record.train.validate()?;
        let Normalization { scale, shift } = &record.normalization;
        for (key, len, wanted) in [
            ("normalization.scale", scale.len(), record.input.channels),
            ("normalization.shift", shift.len(), record.input.channels),
            ("classes", record.classes.len(), record.input.classes),
        ] {
            if len != wanted {
                return Err(parse(format!("{key} has {len} entries where input has {wanted}")));
            }
        }
        Ok(record)
    }
}
