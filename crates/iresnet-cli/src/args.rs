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
use crate::commands::encode::EncodeArgs;
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
/// Exit codes: 0 done, 1 failed, 2 wrong use, 3 a checked claim does not hold, an image could not be inverted or a network
/// of a report diverged, 130 stopped by Ctrl-C with all work saved.
#[derive(Parser)]
#[command(name = "iresnet", version = crate::VERSION, max_term_width = 100)]
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
    /// Classify images and write their latents
    Encode(EncodeArgs),
    /// Invert a network on images, or on latents, and write the reconstructions
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
    /// Folder of the data sets [default: that of the variable IRESNET_DATA, else the user's cache folder]
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
}

impl DataDir {
    /// The folder.
    pub fn path(&self) -> PathBuf {
        let variable = || std::env::var_os("IRESNET_DATA").filter(|value| !value.is_empty()).map(PathBuf::from);
        self.data_dir.clone().or_else(variable).unwrap_or_else(iresnet::data::default_dir)
    }
}

/// The images of a trained network: those it learnt from, or others.
#[derive(Args, Clone, Debug)]
pub struct RunData {
    /// Data set, or folder of images, in place of the one the network was trained on
    #[arg(long)]
    pub data: Option<String>,
    #[command(flatten)]
    pub dir: DataDir,
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
enum NormKind {
    /// Weights as they are: the inverse need not exist
    None,
    /// A BatchNorm before every activation: the inverse need not exist
    Batch,
    /// Spectral norms held at --coeff as power iteration estimates them: the inverse exists if `certify` proves it
    Spectral,
}

/// Normalisation of the trunk.
#[derive(Args, Clone, Copy, Debug)]
pub struct NormArgs {
    /// Normalisation of the trunk [default: spectral]
    #[arg(long, value_enum)]
    norm: Option<NormKind>,
    /// Coefficient c of spectral normalisation, strictly between 0 and 1 [default: 0.9]
    #[arg(long)]
    coeff: Option<f64>,
}

impl NormArgs {
    /// Whether one of the two was named.
    pub fn is_given(self) -> bool {
        self.norm.is_some() || self.coeff.is_some()
    }

    /// The normalisation, with its coefficient where it has one.
    pub fn norm(self) -> Result<Norm, UsageError> {
        match (self.norm.unwrap_or(NormKind::Spectral), self.coeff) {
            (NormKind::Spectral, coeff) => Ok(Norm::Spectral { coeff: coeff.unwrap_or(0.9) }),
            (_, Some(_)) => Err(UsageError("--coeff belongs to --norm spectral; leave one of the two out".into())),
            (NormKind::None, None) => Ok(Norm::None),
            (NormKind::Batch, None) => Ok(Norm::Batch),
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
    ///
    /// A folder's images are mirrored and shifted if a preset is named that does so, not by default.
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
        let mut config = RunConfig::preset_with(self.preset_name(), &set).map_err(|e| UsageError(e.to_string()))?;
        config.train.epochs = self.epochs.unwrap_or(config.train.epochs);
        Ok(config)
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

/// Checks a configuration that options have changed.
pub fn checked(config: RunConfig) -> Result<RunConfig> {
    config.validate().map_err(|e| UsageError(e.to_string()))?;
    Ok(config)
}
