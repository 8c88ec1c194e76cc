//! `iresnet invert`

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use iresnet::data::picture::{self, Picture};
use iresnet::evaluate::{length, normed_l2};
use iresnet::model::ImageReport;
use iresnet::solve::{Picard, Stop};
use iresnet::train::{RunDir, RunRecord, write_atomically};
use serde::Serialize;

use super::{Verdict, certify::certify, data::load_for_run, make_folder};
use crate::args::{RunData, UsageError};

#[derive(Args, Debug)]
pub struct InvertArgs {
    /// Run folder
    run: PathBuf,
    /// Image files, or folders that are searched for them [default: 16 of the run's test images, at even distances]
    #[arg(long, num_args = 1.., value_name = "PATH")]
    images: Vec<PathBuf>,
    #[command(flatten)]
    data: RunData,
    /// Accuracy wanted: distance from the true preimage, relative to the image
    #[arg(long, default_value_t = 1e-6)]
    tolerance: f64,
    /// At most this many iterations a block
    #[arg(long, default_value_t = 100)]
    max_iterations: usize,
    /// Folder for reconstructions, differences, a contact sheet and report.json
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

/// One image of the report.
#[derive(Serialize)]
struct ImageResult {
    image: String,
    normed_l2: Option<f64>,
    /// Bound on the distance from the latent's true preimage, relative to that one's length; none where it reaches 1.
    relative_error_bar: Option<f64>,
    #[serde(flatten)]
    report: ImageReport,
}

/// What `report.json` holds.
#[derive(Serialize)]
struct Results {
    run: String,
    version: &'static str,
    tolerance: f64,
    tolerance_on: &'static str,
    max_iterations: usize,
    certified: bool,
    images: Vec<ImageResult>,
    blocks: Vec<iresnet::model::BlockReport>,
}

/// Images shown when none are named.
const SHOWN: usize = 16;

pub fn run(args: InvertArgs) -> Result<Verdict> {
    if args.tolerance.is_nan() || args.tolerance < 0.0 {
        return Err(UsageError(format!("--tolerance {} must be zero or positive", args.tolerance)).into());
    }
    if args.max_iterations == 0 {
        return Err(UsageError("--max-iterations must be at least 1".into()).into());
    }
    let (record, model) = RunDir::open(&args.run)?.load()?;
    let (names, pictures) = pictures(&args, &record)?;
    make_folder(&args.out)?;
    let certificate = certify(&model);
    let lipschitz = certificate.contractions(&model);

    let (input, largest) = (record.input, record.white());
    let len = input.len();
    let mut values = Vec::new();
    pictures.iter().for_each(|p| record.normalization.apply(&p.pixels, &mut values));
    let trunk = model.fixed_trunk();
    let latent = trunk.forward_to_invert(&values, lipschitz.as_deref());
    let stop = Stop { tolerance: args.tolerance, max_iterations: args.max_iterations };
    let (images, mut report) = trunk.inverse(&latent, names.len(), &Picard, stop, lipschitz.as_deref())?;
    if let Some(lipschitz) = &lipschitz {
        report.set_error_bars(trunk.error_bars(&images, &latent, lipschitz));
    }

    let mut rows = Vec::new();
    let mut results = Vec::new();
    let each = names.iter().zip(values.chunks_exact(len)).zip(images.chunks_exact(len)).zip(&report.images);
    for (i, (((name, x), reconstructed), image)) in each.enumerate() {
        let error = normed_l2(x, reconstructed);
        let shape = [input.channels, input.height, input.width];
        let show = |values: &[f32]| Picture { shape, pixels: record.normalization.to_pixels(values, largest) };
        let (original, copy) = (show(x), show(reconstructed));
        let difference = Picture {
            shape,
            pixels: original.pixels.iter().zip(&copy.pixels).map(|(a, b)| 255 - a.abs_diff(*b)).collect(),
        };
        picture::write(&args.out.join(format!("{i:04}-reconstruction.png")), &copy)?;
        picture::write(&args.out.join(format!("{i:04}-difference.png")), &difference)?;
        rows.push([original, copy, difference]);
        let size = length(reconstructed);
        results.push(ImageResult {
            image: name.clone(),
            normed_l2: error.is_finite().then_some(error),
            relative_error_bar: image.error_bar.filter(|bar| *bar < size).map(|bar| (bar / (size - bar)).next_up()),
            report: image.clone(),
        });
    }
    // Originals, reconstructions, differences: three rows, at most 16 columns.
    let sheet: Vec<Vec<Picture>> =
        (0..3).map(|part| rows.iter().take(SHOWN).map(|row| row[part].clone()).collect()).collect();
    let scale = (96 / input.height.max(1)).max(1);
    picture::write(&args.out.join("sheet.png"), &picture::contact_sheet(&sheet, scale))?;
    let results = Results {
        run: args.run.display().to_string(),
        version: env!("CARGO_PKG_VERSION"),
        tolerance: args.tolerance,
        tolerance_on: report.tolerance_on,
        max_iterations: args.max_iterations,
        certified: certificate.certified,
        images: results,
        blocks: report.blocks.clone(),
    };
    write_atomically(&args.out.join("report.json"), serde_json::to_string_pretty(&results)?.as_bytes())?;
    if args.json {
        println!("{}", serde_json::to_string(&results)?);
        return Ok(results.verdict());
    }
    println!("{} images, tolerance {:e} on the {}", names.len(), args.tolerance, report.tolerance_on);
    for (result, x) in results.images.iter().zip(values.chunks_exact(len)) {
        let error = match result.normed_l2 {
            Some(error) => format!("{error:.1e}"),
            None if length(x) == 0.0 => "undefined".into(),
            None => "inf".into(),
        };
        let (iterations, outcome) = (result.report.iterations, result.report.outcome);
        println!("{:<32} normed L2 {error:>9}  iterations of all blocks {iterations:>5}  {outcome}", result.image);
    }
    results.show_error_bars();
    println!("originals, reconstructions and differences (white is none): {}", args.out.join("sheet.png").display());
    let failed = results.failed();
    if failed > 0 {
        println!(
            "{failed} of {} images were not inverted: what is shown of them is where the limit left them",
            names.len()
        );
    }
    Ok(results.verdict())
}

impl Results {
    /// Images whose inverse did not come to an end.
    fn failed(&self) -> usize {
        self.images.iter().filter(|image| !image.report.outcome.is_success()).count()
    }

    fn verdict(&self) -> Verdict {
        if self.failed() == 0 { Verdict::Done } else { Verdict::ClaimFails }
    }

    /// What is proved: with a certificate the tolerance is on the error, but its constants may be too large to show that.
    fn show_error_bars(&self) {
        if !self.certified {
            return;
        }
        let all = self.images.len();
        let bars: Vec<f64> = self.images.iter().filter_map(|image| image.relative_error_bar).collect();
        let kept = bars.iter().filter(|bar| **bar <= self.tolerance).count();
        let largest = bars.iter().copied().fold(0.0, f64::max);
        match bars.len() {
            0 => println!("error bars: none below the image itself; each block may amplify errors by 1 / (1 - L)"),
            n if n == all => println!(
                "error bars: {largest:.1e} of the image at most, {kept} of {all} proved to be within the tolerance"
            ),
            n => println!("error bars: {n} of {all} below the image itself, {largest:.1e} of it at most"),
        }
    }
}

/// The named pictures, or test images at even distances; sizes are checked.
fn pictures(args: &InvertArgs, record: &RunRecord) -> Result<(Vec<String>, Vec<Picture>)> {
    let input = record.input;
    let shape = [input.channels, input.height, input.width];
    if args.images.is_empty() {
        let all = load_for_run(record, &args.data)?.split.test;
        let chosen = all.spread_indices(SHOWN).map(|i| {
            let picture = Picture { shape, pixels: all.image(i).to_vec() };
            (format!("{} test image {i}", record.data_name), picture)
        });
        return Ok(chosen.unzip());
    }
    let mut paths: Vec<PathBuf> = Vec::new();
    for path in &args.images {
        if path.is_dir() {
            paths.extend(picture::list_all(path)?);
        } else {
            paths.push(path.clone());
        }
    }
    if paths.is_empty() {
        return Err(UsageError("--images names no .png, .jpg or .jpeg file".into()).into());
    }
    let mut pictures = Vec::new();
    for path in &paths {
        let mut picture = picture::read(path)?;
        if input.channels == 3 {
            picture = picture.into_rgb();
        }
        if picture.shape != shape {
            let show = |[c, h, w]: [usize; 3]| format!("{w}x{h} with {c} channels");
            let (found, wanted) = (show(picture.shape), show(shape));
            return Err(UsageError(format!("{} is {found}; this network takes {wanted}", path.display())).into());
        }
        // Digits count from 0 to 16, files from 0 to 255.
        let largest = u32::from(record.white());
        picture.pixels.iter_mut().for_each(|p| *p = ((u32::from(*p) * largest + 127) / 255) as u8);
        pictures.push(picture);
    }
    Ok((paths.iter().map(|p| p.display().to_string()).collect(), pictures))
}
