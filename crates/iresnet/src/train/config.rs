//! One configuration a run: architecture, recipe, data and seed; saved beside the run's results.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::{Normalization, Split};
use crate::device::OpenDevice;
use crate::model::{ConfigError, Input, Memory, ModelConfig};

/// The recipe of section 4 of the paper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training set.
    pub epochs: usize,
    /// Images a step.
    pub batch_size: usize,
    /// Learning rate at the start.
    pub learning_rate: f64,
    /// Momentum of SGD, without dampening.
    pub momentum: f64,
    /// Weight decay on all parameters.
    pub weight_decay: f64,
    /// L2 norm to which longer gradients, of all parameters together, are shortened; 0 leaves them as they are. Values that are
    /// not finite stay so.
    #[serde(default)]
    pub clip_norm: f64,
    /// Learning rate at the start of Muon, for the kernels of the trunk; 0 leaves them to SGD like all other parameters.
    #[serde(default)]
    pub muon_rate: f64,
    /// Fractions of the epochs after which the rates fall; they scale with `epochs`.
    pub milestones: Vec<f64>,
    /// What the rates are multiplied by at each milestone.
    pub decay: f64,
    /// Random shifts of up to this many pixels.
    pub shift: usize,
    /// Random horizontal flips.
    pub flip: bool,
    /// Training images held out, at even distances in their set, whose error chooses `best.safetensors`; with 0 the test
    /// error does.
    #[serde(default)]
    pub validation: usize,
}

impl TrainConfig {
    /// Learning rate when `epochs_done` epochs, with fractions, are done.
    pub fn learning_rate_at(&self, epochs_done: f64) -> f64 {
        let passed = self.milestones.iter().filter(|&&m| epochs_done >= m * self.epochs as f64 - 1e-9).count();
        self.learning_rate * self.decay.powi(passed as i32)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let positive = |key, value: f64| match value > 0.0 && value.is_finite() {
            true => Ok(()),
            false => Err(value_error(key, value, "a positive number")),
        };
        if self.epochs == 0 || self.batch_size == 0 {
            let (key, value) = if self.epochs == 0 { ("train.epochs", 0) } else { ("train.batch_size", 0) };
            return Err(value_error(key, value, "at least 1"));
        }
        positive("train.learning_rate", self.learning_rate)?;
        positive("train.decay", self.decay)?;
        if !(0.0..1.0).contains(&self.momentum) {
            return Err(value_error("train.momentum", self.momentum, "a number from 0 up to, but not including, 1"));
        }
        for (key, value) in [
            ("train.weight_decay", self.weight_decay),
            ("train.clip_norm", self.clip_norm),
            ("train.muon_rate", self.muon_rate),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(value_error(key, value, "zero or a positive number"));
            }
        }
        if self.milestones.iter().any(|m| !(0.0..=1.0).contains(m)) {
            return Err(value_error(
                "train.milestones",
                format!("{:?}", self.milestones),
                "fractions of the epochs between 0 and 1",
            ));
        }
        Ok(())
    }
}

fn value_error(key: &'static str, value: impl ToString, expected: &str) -> ConfigError {
    ConfigError::Value { key, value: value.to_string(), expected: expected.into() }
}

/// What a preset holds: architecture and recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The architecture.
    pub model: ModelConfig,
    /// The recipe.
    pub train: TrainConfig,
}

impl RunConfig {
    /// The preset `name`.
    ///
    /// # Errors
    /// An unknown name; the message lists the known ones.
    pub fn preset(name: &str) -> Result<Self, ConfigError> {
        Self::preset_with(name, &[])
    }

    /// The preset `name` with `key=value` overrides, such as `model.blocks=[2,2,2]` or `train.shift=1`.
    ///
    /// # Errors
    /// An unknown preset or key, or a value that does not fit; the message names it.
    pub fn preset_with(name: &str, overrides: &[String]) -> Result<Self, ConfigError> {
        let text = crate::model::preset_text(name)?;
        let mut table: toml::Table = text.parse().map_err(|e| parse_error(&format!("preset {name}"), e))?;
        for assignment in overrides {
            let invalid = |message: String| ConfigError::Parse { source_name: format!("--set {assignment}"), message };
            let (key, value) =
                assignment.split_once('=').ok_or_else(|| invalid("write key=value, such as model.dropout=0".into()))?;
            let value = format!("v = {value}")
                .parse::<toml::Table>()
                .or_else(|_| format!("v = {:?}", value).parse::<toml::Table>())
                .map_err(|e| invalid(e.message().to_string()))?
                .remove("v")
                .expect("just written");
            let (section, key) = key.split_once('.').unwrap_or(("", key));
            let Some(section) = table.get_mut(section).and_then(|s| s.as_table_mut()) else {
                return Err(invalid("keys begin with model. or train.".into()));
            };
            if !section.contains_key(key) {
                let known: Vec<&str> = section.keys().map(String::as_str).collect();
                return Err(invalid(format!("unknown key {key}; known are {}", known.join(", "))));
            }
            section.insert(key.into(), value);
        }
        let config: RunConfig = table.try_into().map_err(|e| {
            let source =
                if overrides.is_empty() { format!("preset {name}") } else { format!("--set {}", overrides.join(" ")) };
            parse_error(&source, e)
        })?;
        config.validate()?;
        Ok(config)
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Names the first key whose value cannot be used.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.model.validate()?;
        self.train.validate()
    }
}

fn parse_error(source: &str, error: toml::de::Error) -> ConfigError {
    ConfigError::Parse { source_name: source.into(), message: error.message().to_string() }
}

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
            device: OpenDevice::cpu().name,
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
            return Err(value_error("train.validation", held_out, &format!("there are {all} training images")));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_from_before_clipping_and_muon_load_and_unknown_keys_do_not() {
        let config = TrainConfig { clip_norm: 0.0, muon_rate: 0.0, ..RunConfig::preset("digits").unwrap().train };
        let mut json = serde_json::to_value(&config).unwrap();
        let fields = json.as_object_mut().unwrap();
        fields.remove("clip_norm");
        fields.remove("muon_rate");
        let read = |fields: &serde_json::Map<String, serde_json::Value>| {
            serde_json::from_value::<TrainConfig>(fields.clone().into())
        };
        assert_eq!(read(fields).unwrap(), config);
        fields.insert("clip".into(), 1.0.into());
        assert!(read(fields).unwrap_err().to_string().contains("clip"));
    }

    #[test]
    fn clipping_and_muon_are_not_negative() {
        for key in ["clip_norm", "muon_rate"] {
            for (value, good) in [("1.5", true), ("0", true), ("-1", false), ("nan", false)] {
                let config = RunConfig::preset_with("digits", &[format!("train.{key}={value}")]);
                assert_eq!(config.is_ok(), good, "{key}={value}");
                if let Err(error) = config {
                    assert!(error.to_string().contains(key), "{error}");
                }
            }
        }
    }
}
