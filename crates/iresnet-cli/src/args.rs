//! What can be asked on the command line, and the options that commands share.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};
use iresnet::device::{DeviceChoice, DeviceError, OpenDevice};
use iresnet::model::Norm;
use iresnet::train::RunConfig;

use crate::commands::bench::BenchArgs;
use crate::commands::certify::CertifyArgs;
use crate::commands::data::DataArgs;
use crate::commands::evaluate::EvaluateArgs;
use crate::commands::invert::InvertArgs;
use crate::commands::reproduce::ReproduceArgs;
use crate::commands::spectrum::SpectrumArgs;
use crate::commands::summary::SummaryArgs;
use crate::commands::train::TrainArgs;

/// Train, invert and certify invertible residual networks (arXiv 1811.00995).
///
/// Without a command: `iresnet reproduce`, which trains the six networks of the paper's Table 1 on the embedded
/// digits, inverts them and writes a report.
///
/// Exit codes: 0 done, 1 failed, 2 wrong use, 3 a checked claim does not hold, 130 stopped by Ctrl-C with all work saved.
#[derive(Parser)]
#[command(name = "iresnet", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Train a network into a run folder
    Train(TrainArgs),
    /// Classification error and reconstruction error on the test set
    Evaluate(EvaluateArgs),
    /// Invert a network on images and write the reconstructions
    Invert(InvertArgs),
    /// Singular values of every convolution, exact, with rigorous bounds
    Spectrum(SpectrumArgs),
    /// Prove that the inverse exists (exit code 0) or say why not (3)
    Certify(CertifyArgs),
    /// Make the paper's table and figures as one report
    Reproduce(ReproduceArgs),
    /// Time a training step, a forward pass, an inverse, a spectrum or one block
    Bench(BenchArgs),
    /// Shapes, parameters and Lipschitz budget of a preset or a run
    Summary(SummaryArgs),
    /// List, fetch and verify the data sets
    Data(DataArgs),
}

impl Default for Command {
    fn default() -> Self {
        Command::Reproduce(ReproduceArgs::default_run())
    }
}

/// An option that cannot be used as it was given: exit code 2.
#[derive(Debug)]
pub struct UsageError(pub String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Where data sets are looked for.
#[derive(Args, Clone, Debug, Default)]
pub struct DataDir {
    /// Folder of the data sets [default: the user's cache folder]
    #[arg(long, env = "IRESNET_DATA", value_name = "DIR", global = true)]
    pub data_dir: Option<PathBuf>,
}

/// What trains networks and classifies images.
#[derive(Args, Clone, Copy, Debug)]
pub struct DeviceArg {
    /// Trains and classifies: the CPU's own kernels, or a GPU through Vulkan in a build with `--features gpu`
    ///
    /// Inverse, spectra and certificates stay on the CPU.
    #[arg(long = "device", default_value_t, value_name = "cpu|vulkan")]
    pub choice: DeviceChoice,
}

impl DeviceArg {
    /// Starts the device.
    pub fn open(self) -> Result<OpenDevice> {
        self.choice.open().map_err(|error| match error {
            DeviceError::NotBuilt => UsageError(error.to_string()).into(),
            error => error.into(),
        })
    }
}

/// What was asked for together with a GPU and is made of the CPU's kernels.
pub fn only_on_cpu(what: &str) -> anyhow::Error {
    UsageError(format!("{what} works on the CPU only; leave it or --device vulkan out")).into()
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum NormKind {
    /// Weights as they are: the inverse need not exist
    None,
    /// A BatchNorm before every activation: the inverse need not exist
    Batch,
    /// Spectral norms held at most at --coeff: the inverse exists
    Spectral,
}

impl NormKind {
    /// The normalisation, with its coefficient where it has one.
    pub fn norm(self, coeff: f64) -> Norm {
        match self {
            NormKind::None => Norm::None,
            NormKind::Batch => Norm::Batch,
            NormKind::Spectral => Norm::Spectral { coeff },
        }
    }
}

/// What is trained, and how, but for the normalisation.
#[derive(Args, Debug)]
pub struct Recipe {
    /// `digits` (embedded), `mnist`, `cifar10`, or a folder with train/<class>/*.png|jpg and test/<class>/...
    #[arg(long, default_value = "digits")]
    pub data: String,
    #[command(flatten)]
    pub data_dir: DataDir,
    /// Named configuration [default: one that suits the data and two cores; see `iresnet summary --list`]
    #[arg(long)]
    pub preset: Option<String>,
    /// Passes over the training set; the learning-rate schedule scales with it [default: the preset's]
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Seed of weights, order, augmentation and dropout
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Change one value of the preset, such as `--set model.dropout=0`; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
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
    pub fn config(&self, instead: &str) -> Result<RunConfig> {
        if let Some(assignment) = self.set.iter().find(|text| text.trim_start().starts_with("model.norm")) {
            return Err(UsageError(format!("--set {assignment}: {instead}")).into());
        }
        let mut config =
            RunConfig::preset_with(self.preset_name(), &self.set).map_err(|e| UsageError(e.to_string()))?;
        config.train.epochs = self.epochs.unwrap_or(config.train.epochs);
        Ok(config)
    }
}

/// Checks a configuration that options have changed.
pub fn checked(config: RunConfig) -> Result<RunConfig> {
    config.validate().map_err(|e| UsageError(e.to_string()))?;
    Ok(config)
}
