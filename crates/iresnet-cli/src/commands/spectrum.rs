//! `iresnet spectrum`

use anyhow::Result;
use iresnet::spectrum::Spectrum;
use iresnet::train::{RunDir, write_atomically};

use crate::Verdict;
use crate::args::SpectrumArgs;
use crate::terminal::bar;

pub fn run(args: SpectrumArgs) -> Result<Verdict> {
    let (record, model) = RunDir::open(&args.run)?.load()?;
    let weights = model.effective_weights();
    let layers = weights.layers(model.layout());
    let progress = bar(layers.len() as u64, "spectra");
    let spectrum = Spectrum::of(&layers, |done, _| progress.set_position(done as u64));
    progress.finish_and_clear();
    if let Some(path) = &args.plot {
        let svg = iresnet_lab::figure2::plot(&[(record.model.norm.label(), &spectrum)])?;
        write_atomically(path, svg.as_bytes())?;
    }
    if args.json {
        println!("{}", serde_json::to_string(&spectrum)?);
        return Ok(Verdict::Done);
    }
    println!("{:<28} {:>12} {:>12} {:>9} {:>12}", "layer", "norm from", "to", "width", "circular");
    for layer in &spectrum.layers {
        let (lower, upper) = (layer.norm.lower.value(), layer.norm.upper.value());
        let width = 100.0 * layer.norm.relative_width();
        let circular = layer.circular.first().copied().unwrap_or(0.0);
        println!("{:<28} {lower:>12.6} {upper:>12.6} {width:>7.2} % {circular:>12.6}", layer.name);
    }
    println!("{} of {} layers are certainly above 1", spectrum.above_one(), spectrum.layers.len());
    Ok(Verdict::Done)
}
