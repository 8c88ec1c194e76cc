//! `iresnet reproduce`

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser};
use indicatif::ProgressBar;
use iresnet::data::FOLDER;
use iresnet::model::{Layout, Norm};
use iresnet::train::{Observer, RunError, write_atomically};
use iresnet_lab::LabError;
use iresnet_lab::networks::MODELS;
use iresnet_lab::reproduce::{Part, reproduce};
use iresnet_lab::watcher::Watcher;

use super::train::warn_of_step;
use super::verdict::Verdict;
use crate::error::{of_config, of_run};
use crate::inputs::load;
use crate::options::{Recipe, checked};
use crate::output::{self, make_folder, out, say};
use crate::terminal::{self, TrainingProgress};

#[derive(Args, Debug)]
pub struct ReproduceArgs {
    #[command(flatten)]
    recipe: Recipe,
    /// Only these parts, separated by commas, in DIR/parts.html and so on; DIR/report.html stays as it is
    #[arg(long, value_parser = part(), value_delimiter = ',')]
    only: Vec<Part>,
    /// What the report calls the data, such as `--title "CIFAR-10 (JPEG copy)"` [default: its name]
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    title: Option<String>,
    /// Folder for the report and the runs; what is done there already is kept [default: runs/reproduce-<data>]
    ///
    /// Runs that `iresnet train --out DIR/vanilla` (batch, c0.9, c0.7, c0.5, c0.3) made with the same options count as done.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A part by its name.
fn part() -> impl TypedValueParser<Value = Part> {
    let about = |part: Part| match part {
        Part::Table1 => "Errors, reconstruction errors and guarantees of the six networks",
        Part::Figure1 => "Trajectories on the line",
        Part::Figure2 => "Norms of all convolutions",
        Part::Figure3 => "Images and reconstructions",
        Part::Figure4 => "Reconstruction error against iterations",
        Part::Timing => "Seconds of a forward pass and of inverses",
    };
    let values = Part::ALL.map(|part| PossibleValue::new(part.name()).help(about(part)));
    PossibleValuesParser::new(values)
        .map(|name| Part::ALL.into_iter().find(|part| part.name() == name).expect("a possible value"))
}

impl ReproduceArgs {
    /// What the program does without a command.
    pub fn default_run() -> Self {
        #[derive(Parser)]
        struct Defaults {
            #[command(flatten)]
            args: ReproduceArgs,
        }
        Defaults::parse_from(["iresnet reproduce"]).args
    }
}

pub fn run(args: ReproduceArgs) -> Result<Verdict> {
    let Recipe { data, data_dir, seed, threads, .. } = &args.recipe;
    let given = args.recipe.given();
    let config = checked(args.recipe.config("the report trains all six normalisations")?, &given)?;
    terminal::set_threads(*threads)?;
    let loaded = load(data, data_dir)?;
    let record = loaded.record(args.recipe.preset_name(), config, *seed);
    let parts = if args.only.is_empty() { Part::ALL.to_vec() } else { args.only.clone() };
    if parts.iter().any(|part| part.needs_networks()) {
        Layout::new(&record.model, record.input).map_err(|error| of_config(error, &given))?;
        record.check(&loaded.split).map_err(|error| of_config(error, &given))?;
        MODELS.iter().for_each(|norm| warn_of_step(&record, *norm));
    }
    let name = &loaded.split.name;
    let out = args.out.unwrap_or_else(|| format!("runs/reproduce-{}", name.trim_end_matches(FOLDER)).into());
    // Some parts are no report, and leave an earlier one alone.
    let file = if args.only.is_empty() { "report" } else { "parts" };
    // The place of the results is looked at before hours of work go into them.
    make_folder(&out)?;
    for kind in ["html", "md", "json"] {
        let result = out.join(file).with_extension(kind);
        if result.is_dir() {
            bail!("{} is a folder; the report needs its name, or another --out", result.display());
        }
    }
    let stop = terminal::stop_flag()?;
    let mut report = match reproduce(&record, &loaded.split, &out, &parts, &stop, &Progress::default()) {
        Err(stopped @ LabError::Stopped) => {
            say!("{stopped}");
            return Ok(Verdict::Stopped);
        }
        made => made?,
    };
    report.data = args.title.unwrap_or(report.data);
    for (file, content) in report.files(file) {
        write_atomically(&out.join(file), &content)?;
    }
    if args.json {
        output::json(&report)?;
    } else {
        out!("{}\nreport: {}", report.text(), out.join(format!("{file}.html")).display());
    }
    Ok(if report.diverged.is_empty() { Verdict::Done } else { Verdict::ClaimFails })
}

/// One bar at a time on a terminal; a line for everything that was made.
#[derive(Default)]
struct Progress {
    work: Mutex<Option<(ProgressBar, Instant)>>,
}

impl Watcher for Progress {
    fn training(&self, place: usize, norm: Norm, later: usize) -> impl Observer {
        let label = format!("network {}/{}, {:<10}", place + 1, MODELS.len(), norm.label());
        TrainingProgress::new(label, later)
    }

    fn diverged(&self, norm: Norm, error: &RunError) {
        say!("{} diverged, and the report is made without it: {}", norm.label(), of_run(error));
    }

    fn work(&self, what: &str, done: usize, all: usize) {
        let mut work = self.work.lock().expect("no thread panicked");
        let (bar, _) = work.get_or_insert_with(|| (terminal::bar(all as u64, what), Instant::now()));
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    }

    fn made(&self, what: &str) {
        if let Some((bar, begun)) = self.work.lock().expect("no thread panicked").take() {
            bar.finish_and_clear();
            say!("{what}: {:.1} s", begun.elapsed().as_secs_f64());
        }
    }
}
