//! `iresnet evaluate`

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use iresnet::evaluate::{Reconstruction, error_percent_on, reconstruction};
use iresnet::solve::Picard;
use iresnet::train::RunDir;
use serde::Serialize;

use super::certify::certify;
use super::verdict::Verdict;
use crate::inputs::load_for_run;
use crate::options::values::at_least_one;
use crate::options::{DeviceArg, RunData};
use crate::output::{self, out};
use crate::terminal::{at, bar};
use crate::version::VERSION;

#[derive(Args, Debug)]
pub struct EvaluateArgs {
    /// Run folder
    run: PathBuf,
    #[command(flatten)]
    data: RunData,
    /// Test images to invert, at even distances (all are classified)
    #[arg(long, default_value_t = 1000, value_parser = at_least_one)]
    invert_samples: usize,
    /// At most this many iterations a block
    #[arg(long, default_value_t = 100, value_parser = at_least_one)]
    max_iterations: usize,
    #[command(flatten)]
    device: DeviceArg,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Evaluation {
    run: String,
    data: String,
    version: &'static str,
    seed: u64,
    /// What classified; the inverse ran on the CPU.
    device: String,
    error_percent: f64,
    #[serde(flatten)]
    reconstruction: Reconstruction,
    certified: bool,
}

pub fn run(args: EvaluateArgs) -> Result<Verdict> {
    let device = args.device.open()?;
    let (record, model) = RunDir::open(&args.run)?.load()?;
    let data = args.data.data.as_deref().unwrap_or(&record.data);
    let loaded = load_for_run(&record, &args.data)?;
    let test = &loaded.split.test;
    let progress = bar(test.len() as u64, "classifying");
    let error = error_percent_on(&model, test, &record.normalization, &*device, Some(&at(&progress)));
    progress.finish_and_clear();
    let examined = certify(&model);
    let certificate = examined.certificate();
    let inverted = test.spread(args.invert_samples);
    let progress = bar(inverted.len() as u64, "inverting");
    let (iterations, listener) = (args.max_iterations, at(&progress));
    let reconstruction =
        reconstruction(&examined, &inverted, &record.normalization, &Picard, iterations, Some(&listener))?;
    progress.finish_and_clear();
    let evaluation = Evaluation {
        run: args.run.display().to_string(),
        data: data.into(),
        version: VERSION,
        seed: record.seed,
        device: device.name(),
        error_percent: error,
        reconstruction,
        certified: certificate.certified,
    };
    if args.json {
        output::json(&evaluation)?;
        return Ok(Verdict::Done);
    }
    out!("{} on {} ({} test images)", record.model.norm.label(), loaded.split.name, test.len());
    out!("error                {error:.2} %");
    let reconstruction = &evaluation.reconstruction;
    let precision = if certificate.certified { "float64 latents and last steps" } else { "float32" };
    out!(
        "normed L2            {:.2e} mean, {:.2e} largest, of {} images, {precision}",
        reconstruction.normed_l2.0,
        reconstruction.largest_normed_l2.0,
        reconstruction.samples
    );
    out!("iterations           {:.1} a block, at most {} allowed", reconstruction.iterations, args.max_iterations);
    let outcomes: Vec<String> = reconstruction.outcomes.iter().map(|(outcome, n)| format!("{n} {outcome}")).collect();
    let judged = if certificate.certified { "" } else { ", by an inverse that gives up where steps grow" };
    out!("outcomes             {}{judged}", outcomes.join(", "));
    out!("guaranteed inverse   {}", if certificate.certified { "yes" } else { "no" });
    Ok(Verdict::Done)
}
