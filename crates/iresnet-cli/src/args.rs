//! What can be asked on the command line.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};
use iresnet::device::{DeviceChoice, DeviceError, OpenDevice};
use iresnet::model::{Memory, Norm};
use iresnet::train::RunConfig;

/// Train, invert and certify invertible residual networks (arXiv 1811.00995).
///
/// Without a command: `iresnet reproduce`, which trains the six networks of the paper's Table 1 on the embedded
/// digits, inverts them and writes a report.
///
/// Exit codes: 0 done, 1 failed, 2 wrong use, 3 a checked claim does not hold.
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

#[derive(Args, Debug)]
pub struct TrainArgs {
    /// `digits` (embedded), `mnist`, `cifar10`, or a folder with train/<class>/*.png|jpg and test/<class>/...
    #[arg(long, default_value = "digits")]
    pub data: String,
    #[command(flatten)]
    pub data_dir: DataDir,
    /// Named configuration [default: one that suits the data and two cores; see `iresnet summary --list`]
    #[arg(long)]
    pub preset: Option<String>,
    /// Normalisation of the trunk
    #[arg(long, value_enum, default_value = "spectral")]
    pub norm: NormKind,
    /// Coefficient c of spectral normalisation, strictly between 0 and 1
    #[arg(long, default_value_t = 0.9)]
    pub coeff: f64,
    /// Passes over the training set; the learning-rate schedule scales with it [default: the preset's]
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Images a step [default: the preset's]
    #[arg(long)]
    pub batch: Option<usize>,
    /// Seed of weights, order, augmentation and dropout
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Run folder
    #[arg(long, value_name = "RUN")]
    pub out: PathBuf,
    /// Go on from the checkpoint in the run folder, with the same options (the schedule depends on --epochs)
    #[arg(long)]
    pub resume: bool,
    /// Change one value of the preset, such as `--set model.dropout=0`; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// What to keep for the backward pass: standard (all), checkpoint=K (every K-th activation), reversible (only what
    /// leaves a stage; inputs are recovered by the inverse), or auto (what fits the memory available)
    #[arg(long, default_value = "auto", value_name = "MODE")]
    pub memory: MemoryChoice,
    #[command(flatten)]
    pub device: DeviceArg,
    /// Threads [default: all cores]
    #[arg(long)]
    pub threads: Option<usize>,
}

/// `--memory`: a mode, or the choice of one.
#[derive(Clone, Copy, Debug)]
pub enum MemoryChoice {
    Auto,
    Fixed(Memory),
}

impl std::str::FromStr for MemoryChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(MemoryChoice::Auto),
            _ => text.parse().map(MemoryChoice::Fixed).map_err(|e: String| format!("{e}, or auto")),
        }
    }
}

impl TrainArgs {
    /// The configuration that the options ask for.
    pub fn config(&self) -> Result<RunConfig> {
        let preset = self.preset_name();
        let mut config = RunConfig::preset_with(&preset, &self.set).map_err(|e| UsageError(e.to_string()))?;
        config.model.norm = self.norm.norm(self.coeff);
        config.train.epochs = self.epochs.unwrap_or(config.train.epochs);
        config.train.batch_size = self.batch.unwrap_or(config.train.batch_size);
        config.validate().map_err(|e| UsageError(e.to_string()))?;
        Ok(config)
    }

    /// The preset that was named, or the one that suits the data.
    pub fn preset_name(&self) -> String {
        self.preset.clone().unwrap_or_else(|| default_preset(&self.data).into())
    }
}

/// The preset that suits a data set on two cores.
pub fn default_preset(data: &str) -> &'static str {
    match data {
        "digits" => "digits",
        "mnist" => "small-mnist",
        _ => "small-cifar10",
    }
}

#[derive(Args, Debug)]
pub struct EvaluateArgs {
    /// Run folder
    pub run: PathBuf,
    /// Data set to evaluate on [default: the one the network was trained on]
    #[arg(long)]
    pub data: Option<String>,
    #[command(flatten)]
    pub data_dir: DataDir,
    /// Test images to invert, at even distances (all are classified)
    #[arg(long, default_value_t = 1000)]
    pub invert_samples: usize,
    /// At most this many iterations a block
    #[arg(long, default_value_t = 100)]
    pub max_iterations: usize,
    #[command(flatten)]
    pub device: DeviceArg,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct InvertArgs {
    /// Run folder
    pub run: PathBuf,
    /// Image files or folders [default: 16 of the run's test images, at even distances]
    #[arg(long, num_args = 1.., value_name = "PATH")]
    pub images: Vec<PathBuf>,
    #[command(flatten)]
    pub data_dir: DataDir,
    /// Accuracy wanted: distance from the true preimage, relative to the image
    #[arg(long, default_value_t = 1e-6)]
    pub tolerance: f64,
    /// At most this many iterations a block
    #[arg(long, default_value_t = 100)]
    pub max_iterations: usize,
    /// Folder for reconstructions, differences, a contact sheet and report.json
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Print the report as one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct SpectrumArgs {
    /// Run folder; several are drawn side by side
    #[arg(required = true)]
    pub run: Vec<PathBuf>,
    /// Print one JSON object, or with several runs a list of them
    #[arg(long)]
    pub json: bool,
    /// Draw the largest singular value of every layer, or with --layer all of one
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// Layer whose singular values --plot draws: its name, or its number in the forward pass from 1
    #[arg(long, requires = "plot")]
    pub layer: Option<String>,
    /// Write the network with its normalisation in the weights: smaller, loads like any other, and plain for other
    /// software
    #[arg(long, value_name = "FILE.safetensors")]
    pub export_effective: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct CertifyArgs {
    /// Run folder; the certificate is written to its certificate.json
    pub run: PathBuf,
    /// Count the iterations of Picard's method down to this part of a block's first step
    #[arg(long, default_value_t = 1e-6, allow_negative_numbers = true)]
    pub tolerance: f64,
    /// Check a certificate against the run instead: prove it again, write nothing [default FILE: RUN/certificate.json]
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, conflicts_with_all = ["finalize", "margin", "radii"])]
    pub verify: Option<Option<PathBuf>>,
    /// Scale the layers of blocks above --target, no others, into the certified run RUN/finalized
    #[arg(long)]
    pub finalize: bool,
    /// Bound of Lip(h g) that --finalize brings blocks down to
    #[arg(long, default_value_t = 0.99, requires = "finalize", allow_negative_numbers = true)]
    pub target: f64,
    /// Within which L2 radius each test image keeps its class for certain, into RUN/margins.json
    #[arg(long)]
    pub margin: bool,
    /// Certified accuracy at these radii, pixels from 0 to 1, separated by commas; implies --margin
    #[arg(long, value_name = "R,...", value_delimiter = ',', allow_negative_numbers = true)]
    pub radii: Vec<f64>,
    #[command(flatten)]
    pub data_dir: DataDir,
    /// Print the certificate, and what else was asked for, as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// A part of the report.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum Part {
    /// Errors, reconstruction errors and guarantees of the six networks
    Table1,
    /// Trajectories on the line
    Figure1,
    /// Norms of all convolutions
    Figure2,
    /// Images and reconstructions
    Figure3,
    /// Reconstruction error against iterations
    Figure4,
    /// Seconds for 100 images
    Timing,
}

#[derive(Args, Debug)]
pub struct ReproduceArgs {
    /// `digits`, `mnist`, `cifar10` or an image folder
    #[arg(long, default_value = "digits")]
    pub data: String,
    #[command(flatten)]
    pub data_dir: DataDir,
    /// Named configuration [default: one that suits the data and two cores]
    #[arg(long)]
    pub preset: Option<String>,
    /// Passes over the training set for each network [default: the preset's]
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Seed
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Change one value of the preset, such as `--set model.dropout=0`; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Threads [default: all cores]
    #[arg(long)]
    pub threads: Option<usize>,
    /// Only these parts, separated by commas, in DIR/parts.html and so on; DIR/report.html stays as it is
    #[arg(long, value_enum, value_delimiter = ',')]
    pub only: Vec<Part>,
    /// What the report calls the data, such as `--title "CIFAR-10 (JPEG copy)"` [default: its name]
    #[arg(long)]
    pub title: Option<String>,
    /// Folder for the report and the runs; what is done there already is kept [default: runs/reproduce-<data>]
    ///
    /// Runs that `iresnet train --out DIR/vanilla` (batch, c0.9, c0.7, c0.5, c0.3) made with the same options count as done.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

impl ReproduceArgs {
    fn default_run() -> Self {
        #[derive(Parser)]
        struct Defaults {
            #[command(flatten)]
            args: ReproduceArgs,
        }
        Defaults::parse_from(["iresnet reproduce"]).args
    }
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum BenchKind {
    /// One training step: forward, gradients, update
    Step,
    /// One forward pass in evaluation
    Forward,
    /// The inverse with a fixed number of iterations a block
    Inverse,
    /// All singular values with circular padding
    Spectrum,
    /// Certified norms alone
    Norms,
    /// The certified norm of one 3x3 convolution of --channels on --size
    Norm,
    /// One residual block: forward
    Block,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum SolverKind {
    /// The paper's iteration x <- y - g(x)
    Picard,
    /// Anderson acceleration of it, safeguarded
    Anderson,
}

#[derive(Args, Debug)]
pub struct BenchArgs {
    /// What to time
    #[arg(value_enum)]
    pub kind: BenchKind,
    /// Named configuration
    #[arg(long, default_value = "paper-cifar10")]
    pub preset: String,
    /// A trained run with test images of its data, instead of a preset (forward, step, inverse, spectrum, norms)
    #[arg(long, value_name = "RUN", conflicts_with_all = ["preset", "blocks", "norm", "coeff"])]
    pub run: Option<PathBuf>,
    #[command(flatten)]
    pub data_dir: DataDir,
    /// Residual blocks of each stage, instead of the preset's
    #[arg(long, num_args = 1..)]
    pub blocks: Option<Vec<usize>>,
    /// Normalisation of the trunk
    #[arg(long, value_enum, default_value = "spectral")]
    pub norm: NormKind,
    /// Channels of the block (block) or of the convolution (norm)
    #[arg(long, default_value_t = 48)]
    pub channels: usize,
    /// Middle width of the block (block)
    #[arg(long, default_value_t = 12)]
    pub bottleneck: usize,
    /// Height and width of the images (block, norm)
    #[arg(long, num_args = 2, value_names = ["H", "W"], default_values_t = [16, 16])]
    pub size: Vec<usize>,
    /// Images a call
    #[arg(long, default_value_t = 128)]
    pub batch: usize,
    /// What to keep for the backward pass (step): standard, checkpoint=K or reversible
    #[arg(long, default_value = "standard", value_name = "MODE")]
    pub memory: Memory,
    #[command(flatten)]
    pub device: DeviceArg,
    /// Coefficient of spectral normalisation
    #[arg(long, default_value_t = 0.9)]
    pub coeff: f64,
    /// Solver (inverse)
    #[arg(long, value_enum, default_value = "picard")]
    pub solver: SolverKind,
    /// Residual, relative to the block's output, at which an image is done (inverse) [default: none, all make --iterations]
    #[arg(long)]
    pub tolerance: Option<f64>,
    /// Fixed-point iterations a block, at most (inverse)
    #[arg(long, default_value_t = 20)]
    pub iterations: usize,
    /// Threads [default: all cores]
    #[arg(long)]
    pub threads: Option<usize>,
    /// Timed calls
    #[arg(long, default_value_t = 10)]
    pub repeat: usize,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct SummaryArgs {
    /// Run folder
    pub run: Option<PathBuf>,
    /// Named configuration
    #[arg(long, conflicts_with = "run")]
    pub preset: Option<String>,
    /// List the presets
    #[arg(long)]
    pub list: bool,
    /// Normalisation of the trunk
    #[arg(long, value_enum, default_value = "spectral")]
    pub norm: NormKind,
    /// Coefficient of spectral normalisation
    #[arg(long, default_value_t = 0.9)]
    pub coeff: f64,
    /// Images a training step, for the memory it needs [default: the preset's or the run's]
    #[arg(long)]
    pub batch: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct DataArgs {
    #[command(subcommand)]
    pub action: DataAction,
    #[command(flatten)]
    pub data_dir: DataDir,
}

#[derive(Subcommand, Debug)]
pub enum DataAction {
    /// The data sets and where they are
    List,
    /// Download what is missing, checked by checksum
    Fetch {
        /// `mnist` or `cifar10`
        name: String,
    },
    /// Check the files that are there
    Verify {
        /// `mnist` or `cifar10`
        name: String,
    },
}
