//! `iresnet reproduce`

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use clap::{Args, Parser, ValueEnum};
use indicatif::ProgressBar;
use iresnet::data::Split;
use iresnet::train::{RunConfig, RunDir, RunRecord, write_atomically};
use iresnet_lab::figure2::Figure2;
use iresnet_lab::figure4::Figure4;
use iresnet_lab::kept::{Kept, checksum};
use iresnet_lab::networks::{MODELS, Network, Networks, networks, run_name};
use iresnet_lab::report::Report;
use iresnet_lab::table1::PaperData;
use iresnet_lab::{LabError, figure1, figure2, figure3, figure4, table1, timing};
use serde_json::{Value, json};

use super::{Verdict, data::load, make_folder};
use crate::args::{Recipe, checked};
use crate::terminal::{self, TrainingProgress};

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
    /// Seconds of a forward pass and of inverses
    Timing,
}

#[derive(Args, Debug)]
pub struct ReproduceArgs {
    #[command(flatten)]
    recipe: Recipe,
    /// Only these parts, separated by commas, in DIR/parts.html and so on; DIR/report.html stays as it is
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// What the report calls the data, such as `--title "CIFAR-10 (JPEG copy)"` [default: its name]
    #[arg(long)]
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

/// Test images that are inverted for the table.
const INVERTED: usize = 1000;

pub fn run(args: ReproduceArgs) -> Result<Verdict> {
    let Recipe { data, data_dir, seed, threads, .. } = &args.recipe;
    let config = checked(args.recipe.config("the report trains all six normalisations")?)?;
    terminal::set_threads(*threads)?;
    let loaded = load(data, data_dir)?;
    let name = &loaded.split.name;
    let out = args.out.unwrap_or_else(|| format!("runs/reproduce-{}", name.trim_end_matches(" (image folder)")).into());
    // The place of the results is opened before hours of work go into them.
    make_folder(&out)?;
    let record = loaded.record(args.recipe.preset_name(), config, *seed);
    // Some parts are no report, and leave an earlier one alone.
    let file = if args.only.is_empty() { "report" } else { "parts" };
    let parts = if args.only.is_empty() { Part::value_variants() } else { &args.only };
    let stop = terminal::stop_flag()?;
    let mut report = match make(&record, &loaded.split, &out, parts, &stop) {
        Err(stopped @ LabError::Stopped) => {
            eprintln!("{stopped}");
            return Ok(Verdict::Stopped);
        }
        made => made?,
    };
    report.data = args.title.unwrap_or(report.data);
    for (file, content) in report.files(file) {
        write_atomically(&out.join(file), &content)?;
    }
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{}", report.text());
        println!("\nreport: {}", out.join(format!("{file}.html")).display());
    }
    Ok(Verdict::Done)
}

/// Trains what is missing, makes `parts`, and keeps every result in `out/parts` as soon as it is there.
fn make(record: &RunRecord, data: &Split, out: &Path, parts: &[Part], stop: &AtomicBool) -> Result<Report, LabError> {
    let kept = Kept::open(&out.join("parts"))?;
    let wanted = |part: Part| parts.contains(&part);
    let mut report = Report {
        data: data.name.clone(),
        paper: PaperData::of(record),
        preset: record.preset.clone(),
        seed: record.seed,
        epochs: record.train.epochs,
        version: record.version.clone(),
        device: record.device.clone(),
        threads: rayon::current_num_threads(),
        max_iterations: table1::ITERATIONS,
        ..Report::default()
    };
    if wanted(Part::Figure1) {
        let settings = figure1::settings(record.seed);
        let key = json!([record.version, format!("{settings:?}")]);
        report.figure1 = Some(kept.get_or("figure1", key, || figure1::figure1(settings))?);
    }
    if parts == [Part::Figure1] {
        return Ok(report);
    }
    let epochs = record.train.epochs;
    let done = |norm| {
        let progress = RunDir::open(&out.join(run_name(norm))).and_then(|dir| dir.progress());
        progress.ok().flatten().map_or(0, |progress| progress.epoch)
    };
    let observer = |place: usize, norm: iresnet::model::Norm| {
        let label = format!("network {}/{}, {:<10}", place + 1, MODELS.len(), norm.label());
        let later = MODELS[place + 1..].iter().map(|norm| epochs.saturating_sub(done(*norm)));
        TrainingProgress::new(label, later.sum())
    };
    let Networks { trained, diverged } = networks(record, data, out, stop, observer)?;
    report.diverged = diverged;
    report.networks = trained.iter().map(Network::label).collect();
    report.config = Some(RunConfig { model: record.model.clone(), train: record.train.clone() });
    let test = checksum(&data.test);
    let work = Work { kept, stop, version: &record.version, test, bar: RefCell::default() };
    if wanted(Part::Table1) {
        report.rows = work.each(&trained, "table1", json!(INVERTED), |network| table1::row(network, data, INVERTED))?;
    }
    if wanted(Part::Figure2) {
        let progress = |what: &str, done, len| work.show(what, done, len);
        let networks = work.each(&trained, "figure2", Value::Null, |network| Ok(figure2::norms(network, &progress)))?;
        report.figure2 = Some(Figure2 { networks });
    }
    if wanted(Part::Figure3) {
        let key = json!([figure3::COUNTS, figure3::SHOWN]);
        let networks = work.each(&trained, "figure3", key, |network| figure3::reconstructions(network, data))?;
        report.figure3 = Some(figure3::Figure3 { networks, ..figure3::originals(record, data) });
    }
    if wanted(Part::Figure4) {
        let key = json!([figure3::COUNTS, figure4::TARGETS, figure4::SAMPLES]);
        let curves = work.each(&trained, "figure4", key, |network| figure4::curves(network, data))?;
        let samples = data.test.len().min(figure4::SAMPLES);
        report.figure4 = Some(Figure4::of(curves.concat(), samples));
    }
    // One will do: the normalised networks differ in their weights only.
    let timed = trained.iter().find(|network| network.coeff().is_some());
    if let Some(network) = timed.filter(|_| wanted(Part::Timing)) {
        let key = json!([record.device, report.threads]);
        let timing =
            work.each(std::slice::from_ref(network), "timing", key, |network| Ok(timing::timing(network, data)))?;
        report.timing = timing.into_iter().next();
    }
    Ok(report)
}

/// Work on trained networks whose results are kept.
struct Work<'a> {
    kept: Kept,
    stop: &'a AtomicBool,
    version: &'a str,
    /// Checksum of the test images and labels.
    test: String,
    bar: RefCell<Option<(String, ProgressBar)>>,
}

impl Work<'_> {
    /// One result a network, kept as `<part>-<network>`.
    fn each<T: serde::Serialize + serde::de::DeserializeOwned>(
        &self,
        networks: &[Network],
        part: &str,
        settings: Value,
        make: impl Fn(&Network) -> Result<T, LabError>,
    ) -> Result<Vec<T>, LabError> {
        let mut results = Vec::new();
        for (i, network) in networks.iter().enumerate() {
            self.show(part, i, networks.len());
            let key = json!([self.version, network.weights_sha256, self.test, settings]);
            let name = format!("{part}-{}", network.name());
            results.push(self.kept.get_or(&name, key, || {
                if self.stop.load(Ordering::Relaxed) { Err(LabError::Stopped) } else { make(network) }
            })?);
        }
        self.show(part, networks.len(), networks.len());
        Ok(results)
    }

    /// One bar at a time, with the time left, until its work is done.
    fn show(&self, what: &str, done: usize, len: usize) {
        let mut slot = self.bar.borrow_mut();
        if slot.as_ref().is_none_or(|(name, _)| name != what) {
            *slot = Some((what.into(), terminal::bar(len as u64, what)));
        }
        if let Some((_, bar)) = slot.as_ref() {
            bar.set_position(done as u64);
            if done == len {
                bar.finish_and_clear();
                *slot = None;
            }
        }
    }
}
