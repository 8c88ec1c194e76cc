//! `iresnet spectrum`

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use iresnet::spectra::Spectrum;
use iresnet::train::{RunDir, write_atomically};
use iresnet_lab::figure2::{Figure2, NetworkNorms};
use serde::Serialize;

use super::verdict::Verdict;
use crate::error::UsageError;
use crate::output::{self, out};
use crate::terminal::{at, bar};

#[derive(Args, Debug)]
pub struct SpectrumArgs {
    /// Run folder; several are drawn side by side
    #[arg(required = true)]
    run: Vec<PathBuf>,
    /// Print one JSON object, or with several runs a list of them
    #[arg(long)]
    json: bool,
    /// Draw the largest singular value of every layer, or with --layer all of one
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Layer whose singular values --plot draws: its name, or its number in the forward pass from 1
    #[arg(long, requires = "plot")]
    layer: Option<String>,
    /// Write the network with its normalisation in the weights: smaller, loads like any other, and plain for other
    /// software
    #[arg(long, value_name = "FILE.safetensors")]
    export_effective: Option<PathBuf>,
}

/// The spectra of one run.
#[derive(Serialize)]
struct RunSpectrum {
    run: String,
    label: String,
    #[serde(flatten)]
    spectrum: Spectrum,
}

pub fn run(args: SpectrumArgs) -> Result<Verdict> {
    if args.export_effective.is_some() && args.run.len() > 1 {
        return Err(UsageError("--export-effective takes one run".into()).into());
    }
    let is_svg = |path: &Path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("svg"));
    if let Some(path) = args.plot.as_deref().filter(|path| !is_svg(path)) {
        return Err(UsageError(format!("--plot {} must end in .svg, which is what it draws", path.display())).into());
    }
    let mut spectra = Vec::new();
    for path in &args.run {
        let (record, model) = RunDir::open(path)?.load()?;
        let weights = model.weights_in_use();
        if let Some(file) = &args.export_effective {
            write_atomically(file, &model.folded().to_safetensors())?;
        }
        let layers = weights.layers(model.layout());
        let progress = bar(layers.len() as u64, "spectra");
        let spectrum = Spectrum::of(&layers, Some(&at(&progress)));
        progress.finish_and_clear();
        spectra.push(RunSpectrum { run: path.display().to_string(), label: record.model.norm.label(), spectrum });
    }
    if let Some(path) = &args.plot {
        plot(&spectra, args.layer.as_deref(), path)?;
    }
    match (args.json, spectra.as_slice()) {
        (true, [one]) => output::json(one)?,
        (true, several) => output::json(&several)?,
        (false, several) => several.iter().for_each(show),
    }
    Ok(Verdict::Done)
}

fn plot(spectra: &[RunSpectrum], layer: Option<&str>, path: &Path) -> Result<()> {
    let twice = |label: &str| spectra.iter().filter(|s| s.label == label).count() > 1;
    let label = |s: &RunSpectrum| if twice(&s.label) { format!("{} ({})", s.label, s.run) } else { s.label.clone() };
    let chosen = layer.map(|layer| number(spectra, layer)).transpose()?;
    let networks = spectra.iter().map(|s| NetworkNorms::of(&label(s), &s.spectrum, chosen.unwrap_or(0))).collect();
    let figure = Figure2 { networks };
    let chart = if layer.is_some() { figure.spectrum_chart() } else { figure.norms_chart() };
    Ok(write_atomically(path, chart.file().as_bytes())?)
}

/// The number from 0 of a layer that was given by name or by its number from 1.
fn number(spectra: &[RunSpectrum], layer: &str) -> Result<usize, UsageError> {
    let layers =
        spectra.iter().map(|s| &s.spectrum.layers).max_by_key(|layers| layers.len()).expect("at least one run");
    let named = layers.iter().position(|l| l.name == layer);
    let numbered = || layer.parse::<usize>().ok().filter(|n| (1..=layers.len()).contains(n)).map(|n| n - 1);
    named.or_else(numbered).ok_or_else(|| {
        let (count, first) = (layers.len(), &layers[0].name);
        UsageError(format!(
            "--layer {layer} is none of the {count} layers: give a number from 1 or a name such as {first}"
        ))
    })
}

fn show(run: &RunSpectrum) {
    out!("{} of {}", run.label, run.run);
    out!("{:<28} {:>12} {:>12} {:>9} {:>12}  bound by", "layer", "norm from", "to", "width", "circular");
    for layer in &run.spectrum.layers {
        let (lower, upper) = (layer.norm.lower.value(), layer.norm.upper.value());
        let width = 100.0 * layer.norm.relative_width();
        let circular = layer.circular.first().copied().unwrap_or(0.0);
        out!(
            "{:<28} {lower:>12.6} {upper:>12.6} {width:>7.2} % {circular:>12.6}  {}",
            layer.name,
            layer.method.label()
        );
    }
    out!("{} of {} layers are certainly above 1", run.spectrum.above_one(), run.spectrum.layers.len());
}
