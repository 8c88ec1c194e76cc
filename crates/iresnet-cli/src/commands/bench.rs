//! `iresnet bench`

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use iresnet::Tensor;
use iresnet::data::Loader;
use iresnet::device::{DeviceChoice, OpenDevice};
use iresnet::evaluate::{mean_normed_l2, normed_l2};
use iresnet::model::{Dropout, DropoutKey, IResNet, Memory, peak_resident_bytes};
use iresnet::solve::{Anderson, Picard, Stop};
use iresnet::spectrum::{ConvLayer, best_bounds};
use iresnet::train::{RunConfig, RunDir, Sgd};
use iresnet_lab::timing::seconds;
use serde::Serialize;

use super::{Verdict, data::load_for_run, summary::usual_input};
use crate::args::{DeviceArg, NormArgs, RunData, UsageError, only_on_cpu};
use crate::terminal::set_threads;

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
    kind: BenchKind,
    /// Named configuration (forward, step, inverse, spectrum, norms) [default: paper-cifar10]
    #[arg(long)]
    preset: Option<String>,
    /// A trained run with test images of its data, instead of a preset (forward, step, inverse, spectrum, norms)
    #[arg(long, value_name = "RUN", conflicts_with_all = ["preset", "blocks", "norm", "coeff"])]
    run: Option<PathBuf>,
    #[command(flatten)]
    data: RunData,
    /// Residual blocks of each stage, instead of the preset's
    #[arg(long, num_args = 1..)]
    blocks: Option<Vec<usize>>,
    #[command(flatten)]
    norm: NormArgs,
    /// Channels of the block (block) or of the convolution (norm) [default: 48]
    #[arg(long)]
    channels: Option<usize>,
    /// Middle width of the block (block) [default: 12]
    #[arg(long)]
    bottleneck: Option<usize>,
    /// Height and width of the images (block, norm) [default: 16 16]
    #[arg(long, num_args = 2, value_names = ["H", "W"])]
    size: Option<Vec<usize>>,
    /// Images a call (forward, step, inverse, block) [default: 128]
    #[arg(long)]
    batch: Option<usize>,
    /// What to keep for the backward pass (step): standard, checkpoint=K or reversible [default: standard]
    #[arg(long, value_name = "MODE")]
    memory: Option<Memory>,
    #[command(flatten)]
    device: DeviceArg,
    /// Solver (inverse) [default: picard]
    #[arg(long, value_enum)]
    solver: Option<SolverKind>,
    /// Residual, relative to the block's output, at which an image is done (inverse) [default: none, all make --iterations]
    #[arg(long)]
    tolerance: Option<f64>,
    /// Fixed-point iterations a block, at most (inverse) [default: 20]
    #[arg(long)]
    iterations: Option<usize>,
    /// Threads [default: all cores]
    #[arg(long)]
    threads: Option<usize>,
    /// Timed calls
    #[arg(long, default_value_t = 10)]
    repeat: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `--json` prints; seconds a call.
#[derive(Serialize)]
struct Timing {
    kind: String,
    preset: String,
    device: String,
    batch: usize,
    iterations: Option<usize>,
    memory: Option<String>,
    threads: usize,
    repeat: usize,
    best: f64,
    median: f64,
    peak_rss_bytes: u64,
    #[serde(flatten)]
    found: Found,
}

/// What an inverse reached: mean of `||x - x^|| / ||x||`, and iterations a block and image.
#[derive(Default, Serialize)]
struct Found {
    #[serde(skip_serializing_if = "Option::is_none")]
    normed_l2: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_iterations: Option<f64>,
}

pub fn run(args: BenchArgs) -> Result<Verdict> {
    set_threads(args.threads)?;
    args.check()?;
    if args.device.choice != DeviceChoice::Cpu && !matches!(args.kind, BenchKind::Step | BenchKind::Forward) {
        return Err(only_on_cpu(&format!("bench {}", args.kind.name())));
    }
    let memory = args.memory.unwrap_or_default();
    if args.device.choice != DeviceChoice::Cpu && memory != Memory::Standard {
        return Err(only_on_cpu(&format!("--memory {memory}")));
    }
    let device = args.device.open()?;
    let mut found = Found::default();
    let times = match args.kind {
        BenchKind::Block => block(&args),
        BenchKind::Norm => norm(&args),
        _ => network(&args, &device, &mut found)?,
    };
    let timing = Timing {
        kind: args.kind.name(),
        preset: match (args.kind.is_of_a_network(), &args.run) {
            (false, _) => String::new(),
            (true, Some(run)) => run.display().to_string(),
            (true, None) => args.preset().into(),
        },
        device: device.name,
        batch: args.batch(),
        iterations: (args.kind == BenchKind::Inverse).then_some(args.iterations()),
        memory: (args.kind == BenchKind::Step).then(|| memory.to_string()),
        threads: rayon::current_num_threads(),
        repeat: args.repeat,
        best: times[0],
        median: times[times.len() / 2],
        peak_rss_bytes: peak_resident_bytes(),
        found,
    };
    match args.json {
        true => println!("{}", serde_json::to_string(&timing)?),
        false => println!(
            "{} {}: best {:.4} s, median {:.4} s, batch {}, {} threads, peak {} MiB",
            timing.kind,
            timing.preset,
            timing.best,
            timing.median,
            timing.batch,
            timing.threads,
            timing.peak_rss_bytes >> 20
        ),
    }
    if let (false, Some(error), Some(iterations)) = (args.json, timing.found.normed_l2, timing.found.mean_iterations) {
        println!("normed L2 {error:.2e}, {iterations:.2} iterations a block");
    }
    Ok(Verdict::Done)
}

impl BenchKind {
    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// Whether it times a network, not a layer or a block.
    fn is_of_a_network(self) -> bool {
        !matches!(self, BenchKind::Block | BenchKind::Norm)
    }
}

impl BenchArgs {
    fn preset(&self) -> &str {
        self.preset.as_deref().unwrap_or("paper-cifar10")
    }

    fn batch(&self) -> usize {
        self.batch.unwrap_or(128)
    }

    fn iterations(&self) -> usize {
        self.iterations.unwrap_or(20)
    }

    fn channels(&self) -> usize {
        self.channels.unwrap_or(48)
    }

    /// Height and width.
    fn size(&self) -> [usize; 2] {
        self.size.as_deref().map_or([16, 16], |size| [size[0], size[1]])
    }

    fn check(&self) -> Result<(), UsageError> {
        use BenchKind::*;
        let kind = self.kind;
        let network = kind.is_of_a_network();
        for (option, given, applies) in [
            ("--preset", self.preset.is_some(), network),
            ("--run", self.run.is_some(), network),
            ("--data", self.data.data.is_some(), self.run.is_some()),
            ("--blocks", self.blocks.is_some(), network),
            ("--norm or --coeff", self.norm.is_given(), network),
            ("--batch", self.batch.is_some(), matches!(kind, Forward | Step | Inverse | Block)),
            ("--channels", self.channels.is_some(), !network),
            ("--bottleneck", self.bottleneck.is_some(), kind == Block),
            ("--size", self.size.is_some(), !network),
            ("--memory", self.memory.is_some(), kind == Step),
            ("--solver", self.solver.is_some(), kind == Inverse),
            ("--tolerance", self.tolerance.is_some(), kind == Inverse),
            ("--iterations", self.iterations.is_some(), kind == Inverse),
        ] {
            if given && !applies {
                let without = if option == "--data" && network { " without --run" } else { "" };
                return Err(UsageError(format!("{option} means nothing to bench {}{without}", kind.name())));
            }
        }
        if self.repeat == 0 || !(1..=MOST_IMAGES).contains(&self.batch()) {
            return Err(UsageError(format!("--repeat must be at least 1, --batch from 1 to {MOST_IMAGES}")));
        }
        if self.tolerance.is_some_and(|tolerance| tolerance.is_nan() || tolerance < 0.0) {
            return Err(UsageError("--tolerance must be zero or positive".into()));
        }
        if self.iterations() == 0 || self.channels() == 0 || self.bottleneck == Some(0) || self.size().contains(&0) {
            return Err(UsageError("--iterations, --channels, --bottleneck and --size must be at least 1".into()));
        }
        Ok(())
    }
}

/// Of a call; more do not get faster, and fill the memory.
const MOST_IMAGES: usize = 1 << 16;

/// What is timed: a network, its recipe, images and labels.
struct Subject {
    model: IResNet,
    config: RunConfig,
    images: Vec<f32>,
    labels: Vec<u32>,
}

/// A fresh network of a preset, with numbers for images.
fn fresh(args: &BenchArgs) -> Result<Subject> {
    let mut config = RunConfig::preset(args.preset()).map_err(|e| UsageError(e.to_string()))?;
    config.model.norm = args.norm.norm()?;
    if let Some(blocks) = &args.blocks {
        config.model.blocks = blocks.clone();
    }
    let input = usual_input(args.preset());
    let model = config.model.init(input, 0).map_err(|e| UsageError(e.to_string()))?;
    let len = input.len();
    let images = (0..args.batch() * len).map(|i| ((i * 7919) % 1013) as f32 / 1013.0 - 0.5).collect();
    let labels = (0..args.batch()).map(|i| (i % input.classes) as u32).collect();
    Ok(Subject { model, config, images, labels })
}

/// The network of a run, with test images of its data at even distances.
fn trained(args: &BenchArgs, run: &Path) -> Result<Subject> {
    let (record, model) = RunDir::open(run)?.load()?;
    let test = load_for_run(&record, &args.data)?.split.test.spread(args.batch());
    if test.len() < args.batch() {
        return Err(UsageError(format!("--batch {} is more than the {} test images", args.batch(), test.len())).into());
    }
    let batch = Loader::evaluate(&test, &record.normalization, args.batch()).next().expect("a batch of test images");
    let config = RunConfig { model: record.model, train: record.train };
    Ok(Subject { model, config, images: batch.images, labels: batch.labels })
}

fn network(args: &BenchArgs, device: &OpenDevice, found: &mut Found) -> Result<Vec<f64>> {
    let subject = match &args.run {
        Some(run) => trained(args, run)?,
        None => fresh(args)?,
    };
    let Subject { mut model, config, images, labels } = subject;
    let input = model.layout().input;
    Ok(match args.kind {
        BenchKind::Forward if args.device.choice != DeviceChoice::Cpu => {
            let shape = [args.batch(), input.channels, input.height, input.width];
            seconds(args.repeat, || {
                let images = Tensor::<1>::from_floats(images.as_slice(), &device.device).reshape(shape);
                _ = model.forward(images).logits.into_data();
            })
        }
        BenchKind::Forward => {
            let trunk = model.fixed_trunk();
            seconds(args.repeat, || {
                let latent = trunk.forward(&images);
                _ = model.classify(model.latent_tensor(latent, args.batch(), &device.device)).into_data();
            })
        }
        BenchKind::Step => {
            model.set_memory(args.memory.unwrap_or_default()).map_err(|e| UsageError(e.to_string()))?;
            let mut sgd = Sgd::new(&model);
            let mut step = 0;
            seconds(args.repeat, || {
                model.update_norms(1);
                let key = DropoutKey { seed: 0, step, probability: config.model.dropout };
                let dropout = (key.probability > 0.0).then_some(Dropout::Drawn(key));
                let result = model.differentiate(images.clone(), &labels, dropout, &device.device);
                // A rate at which random labels do not blow the weights up; the work is the same.
                sgd.step(&mut model, &result.gradients, &config.train, 1e-4);
                model.track(&result);
                step += 1;
            })
        }
        BenchKind::Inverse => {
            let trunk = model.fixed_trunk();
            let latent = trunk.forward(&images);
            let stop = Stop { tolerance: args.tolerance, max_iterations: args.iterations() };
            let invert = || {
                let inverted = match args.solver.unwrap_or(SolverKind::Picard) {
                    SolverKind::Picard => trunk.inverse(&latent, args.batch(), &Picard, stop, None),
                    SolverKind::Anderson => trunk.inverse(&latent, args.batch(), &Anderson::default(), stop, None),
                };
                inverted.expect("no certificate to contradict")
            };
            let mut last = None;
            let times = seconds(args.repeat, || last = Some(invert()));
            let (inverted, report) = last.expect("at least one call");
            let len = images.len() / args.batch();
            let errors: Vec<f64> = images.chunks(len).zip(inverted.chunks(len)).map(|(x, y)| normed_l2(x, y)).collect();
            found.normed_l2 = Some(mean_normed_l2(&errors));
            let iterations: usize = report.images.iter().map(|image| image.iterations).sum();
            found.mean_iterations = Some(iterations as f64 / (args.batch() * model.layout().num_blocks()) as f64);
            times
        }
        BenchKind::Norms => {
            let weights = model.effective_weights();
            let layers = weights.layers(model.layout());
            seconds(args.repeat, || _ = best_bounds(&layers, |_, _| {}))
        }
        BenchKind::Spectrum | BenchKind::Block | BenchKind::Norm => {
            let weights = model.effective_weights();
            let layers = weights.layers(model.layout());
            seconds(args.repeat, || layers.iter().for_each(|layer| _ = layer.circular_spectrum()))
        }
    })
}

fn norm(args: &BenchArgs) -> Vec<f64> {
    let channels = args.channels();
    let weight: Vec<f32> = pseudorandom(channels * channels * 9);
    let layer = ConvLayer {
        name: "convolution".into(),
        weight: &weight,
        out_channels: channels,
        in_channels: channels,
        kernel: 3,
        height: args.size()[0],
        width: args.size()[1],
    };
    seconds(args.repeat, || _ = layer.best_bound())
}

/// Numbers in `-0.5..0.5` that repeat nowhere soon.
fn pseudorandom(len: usize) -> Vec<f32> {
    let mix = |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40;
    (0..len as u64).map(|i| mix(i + 1) as f32 / (1u64 << 24) as f32 - 0.5).collect()
}

fn block(args: &BenchArgs) -> Vec<f64> {
    use iresnet_kernels::{BlockPlan, BlockShape, ImageShape, LANES, Purpose};
    let image = ImageShape { channels: args.channels(), height: args.size()[0], width: args.size()[1] };
    let shape = BlockShape::paper(image, args.bottleneck.unwrap_or(12));
    let weights: Vec<f32> = (0..shape.num_weights()).map(|i| ((i * 37 % 101) as f32 - 50.0) * 1e-3).collect();
    let plan = BlockPlan::new(&shape, &weights, None, Purpose::Inference);
    let x: Vec<f32> = (0..args.batch().div_ceil(LANES) * shape.image.pack_len())
        .map(|i| ((i * 31 % 97) as f32 - 48.0) / 48.0)
        .collect();
    let mut y = vec![0.0; x.len()];
    seconds(args.repeat, || plan.forward(&x, &mut y, None, None))
}
