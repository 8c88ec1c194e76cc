//! What is trained, and how.

use anyhow::Result;
use clap::Args;
use iresnet::train::RunConfig;

use super::data::DataDir;
use crate::error::{Given, UsageError, of_config};

/// What is trained, and how, but for the normalisation.
#[derive(Args, Debug)]
pub struct Recipe {
    /// `digits` (embedded), `mnist`, `cifar10`, or a folder with train/<class>/*.png|jpg and test/<class>/...
    #[arg(long, default_value = "digits")]
    pub data: String,
    #[command(flatten)]
    pub data_dir: DataDir,
    /// Named configuration [default: one that suits the data and two cores; see `iresnet summary --list`]
    ///
    /// A folder's images are mirrored and shifted if a preset is named that does so, not by default.
    #[arg(long)]
    preset: Option<String>,
    /// Passes over the training set; the learning-rate schedule scales with it [default: the preset's]
    #[arg(long)]
    epochs: Option<usize>,
    /// Seed of weights, order, augmentation and dropout
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Change one value of the preset, such as `--set model.dropout=0`; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Threads [default: all cores]
    #[arg(long)]
    pub threads: Option<usize>,
}

impl Recipe {
    /// The preset that was named, or the one that suits the data on two cores.
    pub fn preset_name(&self) -> &str {
        self.preset.as_deref().unwrap_or(match self.data.as_str() {
            "digits" => "digits",
            "mnist" => "small-mnist",
            _ => "small-cifar10",
        })
    }

    /// The preset with the changes asked for, but for its normalisation, which `instead` says how to choose.
    ///
    /// Without a preset, a folder's images are trained on as they are: mirrored or shifted ones may be of another class.
    pub fn config(&self, instead: &str) -> Result<RunConfig> {
        self.no_set("model.norm", instead)?;
        if self.epochs.is_some() {
            self.no_set("train.epochs", "--epochs says it already")?;
        }
        let as_they_are =
            if iresnet::data::is_named(&self.data) || self.preset.is_some() { [].as_slice() } else { &AS_THEY_ARE };
        let set: Vec<String> = as_they_are.iter().map(|text| text.to_string()).chain(self.set.clone()).collect();
        let mut config =
            RunConfig::preset_with(self.preset_name(), &set).map_err(|error| of_config(error, &self.given()))?;
        config.train.epochs = self.epochs.unwrap_or(config.train.epochs);
        Ok(config)
    }

    /// The options that were given and set keys of the configuration.
    pub fn given(&self) -> Vec<Given> {
        let preset = self.preset.iter().map(|name| Given::new("preset", format!("--preset {name}")));
        let set = self.set.iter().map(|assignment| Given::set(assignment));
        let epochs = self.epochs.iter().map(|epochs| Given::new("train.epochs", format!("--epochs {epochs}")));
        preset.chain(set).chain(epochs).collect()
    }

    /// Refuses a `--set` of `key`, which `instead` says how to choose.
    pub fn no_set(&self, key: &str, instead: &str) -> Result<(), UsageError> {
        match self.set.iter().find(|text| text.trim_start().starts_with(key)) {
            Some(assignment) => Err(UsageError(format!("--set {assignment}: {instead}"))),
            None => Ok(()),
        }
    }
}

/// No augmentation.
const AS_THEY_ARE: [&str; 2] = ["train.flip=false", "train.shift=0"];

/// Checks a configuration that the options `given` have changed.
pub fn checked(config: RunConfig, given: &[Given]) -> Result<RunConfig, UsageError> {
    config.validate().map_err(|error| of_config(error, given))?;
    Ok(config)
}
