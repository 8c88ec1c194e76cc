//! `iresnet summary`

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use iresnet::model::PRESETS;
use iresnet::train::RunDir;

use super::verdict::Verdict;
use crate::error::UsageError;
use crate::options::{NormArgs, fresh};
use crate::output::{self, out};

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

pub fn run(args: SummaryArgs) -> Result<Verdict> {
    if args.list {
        for (name, text) in PRESETS {
            out!("{name:<14} {}", text.lines().next().unwrap_or_default().trim_start_matches("# "));
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
            let (model, config) = fresh(preset, args.norm, None)?;
            (model, config.train.batch_size)
        }
        (None, None) => return Err(UsageError("name a run folder, --preset P or --list".into()).into()),
    };
    if args.batch.is_some_and(|batch| !(1..=1 << 24).contains(&batch)) {
        return Err(UsageError("--batch must be from 1 to 16777216".into()).into());
    }
    let summary = model.summary(args.batch.unwrap_or(batch));
    match args.json {
        true => output::json(&summary)?,
        false => out!("{summary}"),
    }
    Ok(Verdict::Done)
}
