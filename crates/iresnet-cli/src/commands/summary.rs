//! `iresnet summary`

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use iresnet::model::{Input, PRESETS};
use iresnet::train::{RunConfig, RunDir};

use super::Verdict;
use crate::args::{NormArgs, UsageError};

#[derive(Args, Debug)]
pub struct SummaryArgs {
    /// Run folder
    run: Option<PathBuf>,
    /// Named configuration
    #[arg(long, conflicts_with = "run")]
    preset: Option<String>,
    /// List the presets
    #[arg(long, exclusive = true)]
    list: bool,
    #[command(flatten)]
    norm: NormArgs,
    /// Images a training step, for the memory it needs [default: the preset's or the run's]
    #[arg(long)]
    batch: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The input that a preset is meant for.
pub fn usual_input(preset: &str) -> Input {
    match preset {
        "digits" => Input { channels: 1, height: 8, width: 8, classes: 10 },
        name if name.ends_with("mnist") => Input { channels: 1, height: 28, width: 28, classes: 10 },
        _ => Input { channels: 3, height: 32, width: 32, classes: 10 },
    }
}

pub fn run(args: SummaryArgs) -> Result<Verdict> {
    if args.list {
        for (name, text) in PRESETS {
            println!("{name:<14} {}", text.lines().next().unwrap_or_default().trim_start_matches("# "));
        }
        return Ok(Verdict::Done);
    }
    if args.run.is_some() && args.norm.is_given() {
        return Err(UsageError("--norm and --coeff are for a preset; a run has its own".into()).into());
    }
    let (model, batch) = match (&args.run, &args.preset) {
        (Some(run), _) => {
            let record = RunDir::open(run)?.record()?;
            (record.model.init(record.input, record.seed)?, record.train.batch_size)
        }
        (None, Some(preset)) => {
            let mut config = RunConfig::preset(preset).map_err(|e| UsageError(e.to_string()))?;
            config.model.norm = args.norm.norm()?;
            let model = config.model.init(usual_input(preset), 0).map_err(|e| UsageError(e.to_string()))?;
            (model, config.train.batch_size)
        }
        (None, None) => return Err(UsageError("name a run folder, --preset P or --list".into()).into()),
    };
    if args.batch.is_some_and(|batch| !(1..=1 << 24).contains(&batch)) {
        return Err(UsageError("--batch must be from 1 to 16777216".into()).into());
    }
    let summary = model.summary(args.batch.unwrap_or(batch));
    match args.json {
        true => println!("{}", serde_json::to_string(&summary)?),
        false => println!("{summary}"),
    }
    Ok(Verdict::Done)
}
