//! `iresnet train`

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use iresnet::data::Split;
use iresnet::model::{Layout, Memory, ModelConfig, Norm, available_bytes};
use iresnet::train::{Ended, RunConfig, RunDir, RunRecord, Together, train};

use super::verdict::Verdict;
use crate::error::{Given, of_config, of_option};
use crate::inputs::load;
use crate::options::{DeviceArg, NormArgs, Recipe, checked, only_on_cpu};
use crate::output::say;
use crate::terminal::{self, TrainingProgress};

#[derive(Args, Debug)]
pub struct TrainArgs {
    #[command(flatten)]
    recipe: Recipe,
    #[command(flatten)]
    norm: NormArgs,
    /// Images a step [default: the preset's]
    #[arg(long)]
    batch: Option<usize>,
    /// Run folder
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// Go on from the checkpoint in the run folder, with the same options (the schedule depends on --epochs)
    #[arg(long)]
    resume: bool,
    /// What to keep for the backward pass: standard (all), checkpoint=K (every K-th activation), reversible (only what
    /// leaves a stage; inputs are recovered by the inverse), or auto (what fits the memory available)
    #[arg(long, default_value = "auto", value_name = "MODE")]
    memory: MemoryChoice,
    #[command(flatten)]
    device: DeviceArg,
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
    fn config(&self) -> Result<RunConfig> {
        let mut config = self.recipe.config("--norm and --coeff choose the normalisation")?;
        config.model.norm = self.norm.norm()?;
        if self.batch.is_some() {
            self.recipe.no_set("train.batch_size", "--batch says it already")?;
        }
        config.train.batch_size = self.batch.unwrap_or(config.train.batch_size);
        checked(config, &self.given()).map_err(Into::into)
    }

    /// The options that were given and set keys of the configuration.
    fn given(&self) -> Vec<Given> {
        let batch = self.batch.map(|batch| Given::new("train.batch_size", format!("--batch {batch}")));
        self.recipe.given().into_iter().chain(self.norm.given()).chain(batch).collect()
    }
}

pub fn run(args: TrainArgs) -> Result<Verdict> {
    let config = args.config()?;
    terminal::set_threads(args.recipe.threads)?;
    let device = args.device.open()?;
    let loaded = load(&args.recipe.data, &args.recipe.data_dir)?;
    let mut record = loaded.record(args.recipe.preset_name(), config, args.recipe.seed);
    record.device = device.name();
    let layout = Layout::new(&record.model, record.input).map_err(|error| of_config(error, &args.given()))?;
    record.memory = memory(&args, &record, &layout)?;
    if args.resume {
        RunDir::open(&args.out)?;
    }
    // A recipe that does not fit the data makes no folder.
    record.check(&loaded.split).map_err(|error| of_config(error, &args.given()))?;
    let dir = RunDir::create(&args.out, &record, args.resume)?;
    introduce(&record, &layout, &loaded.split);
    let stop = terminal::stop_flag()?;
    let mut progress = TrainingProgress::new(record.model.norm.label(), 0);
    let (_, state, ended) = train(&dir, &record, &loaded.split, Together::alone(&*device), &stop, &mut progress)?;
    let path = dir.path().display();
    match ended {
        Ended::Finished => {
            let last = state.epochs.last().map_or(f64::NAN, |e| e.test_error_percent);
            say!("done: test error {last:.2} %; weights in {path}/last.safetensors");
        }
        Ended::Stopped => {
            let (epoch, step) = (state.epoch + 1, state.batch);
            say!("stopped in epoch {epoch}, step {step}; go on with the same command and --resume");
            return Ok(Verdict::Stopped);
        }
    }
    Ok(Verdict::Done)
}

/// Says what is trained on what.
fn introduce(record: &RunRecord, layout: &Layout, data: &Split) {
    let (input, train, label) = (record.input, &record.train, record.model.norm.label());
    say!(
        "data: {}, {} training{} and {} test images of {}x{} with {} channel{}, {} classes",
        data.name,
        data.train.len() - train.validation,
        if train.validation > 0 { format!(", {} validation", train.validation) } else { String::new() },
        data.test.len(),
        input.width,
        input.height,
        input.channels,
        if input.channels == 1 { "" } else { "s" },
        input.classes
    );
    say!(
        "network: {label}, preset {}, {} blocks, {} parameters",
        record.preset,
        layout.num_blocks(),
        layout.num_parameters()
    );
    let augmentation = match (train.flip, train.shift) {
        (false, 0) => "no augmentation".to_string(),
        (true, 0) => "mirrored at random".into(),
        (false, shift) => format!("shifted by up to {shift}"),
        (true, shift) => format!("mirrored at random and shifted by up to {shift}"),
    };
    say!(
        "training: {} epochs in batches of {}, {augmentation}, seed {}, on {}",
        train.epochs,
        train.batch_size,
        record.seed,
        record.device
    );
    warn_of_step(record, record.model.norm);
}

/// Warns of a step size for which this normalisation is not enough.
pub fn warn_of_step(record: &RunRecord, norm: Norm) {
    let model = ModelConfig { norm, ..record.model.clone() };
    if let Some(budget) = model.lipschitz_budget().filter(|budget| *budget >= 1.0) {
        let label = norm.label();
        say!(
            "warning: {label}: step times c^3 is {budget:.3}; an inverse is only sure below 1, or if `iresnet certify` says so"
        );
    }
}

/// The mode that was asked for, or one that fits; says which, and why.
fn memory(args: &TrainArgs, record: &RunRecord, layout: &Layout) -> Result<Memory> {
    if !args.device.is_cpu() {
        return match args.memory {
            MemoryChoice::Auto | MemoryChoice::Fixed(Memory::Standard) => Ok(Memory::Standard),
            MemoryChoice::Fixed(other) => Err(only_on_cpu(&format!("--memory {other}")).into()),
        };
    }
    let predicted = |memory: Memory| layout.step_bytes(memory, record.train.batch_size) >> 20;
    let available = available_bytes();
    let memory = match args.memory {
        MemoryChoice::Fixed(memory) => memory,
        MemoryChoice::Auto => layout.choose_memory(&record.model, record.train.batch_size, available),
    };
    record.model.allows(memory).map_err(|error| of_option(&format!("--memory {memory}"), error))?;
    let available = available.map_or("memory unknown".into(), |bytes| format!("{} MiB available", bytes >> 20));
    say!("memory: {memory}, about {} MiB a step, {available}", predicted(memory));
    Ok(memory)
}
