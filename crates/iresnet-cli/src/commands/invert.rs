//! `iresnet invert`

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use iresnet::data::picture::{self, Picture};
use iresnet::evaluate::{length, normed_l2};
use iresnet::model::ImageReport;
use iresnet::solve::{Picard, Stop, ToleranceOn};
use iresnet::train::{RunDir, write_atomically};
use serde::Serialize;

use super::images::{ImageArgs, Named, SHOWN};
use super::{Verdict, certify::certify, make_folder};
use crate::args::UsageError;

#[derive(Args, Debug)]
pub struct InvertArgs {
    /// Run folder
    run: PathBuf,
    #[command(flatten)]
    images: ImageArgs,
    /// Latents of `iresnet encode` in place of images, as it wrote them or changed
    ///
    /// A changed one need not be of any image: how much of its preimage lies in the padding channels is said.
    #[arg(long, value_name = "FILE.safetensors", conflicts_with_all = ["images", "data"])]
    latents: Option<PathBuf>,
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
    /// Bound on the distance from the latent's true preimage, relative to that one's length; none where the bound reaches
    /// the reconstruction's length.
    relative_error_bar: Option<f64>,
    /// Length of what the preimage holds in the padding channels, relative to the reconstruction's: rounding for latents of
    /// images, anything for others, whose reconstruction leaves it out.
    relative_padding: f64,
    #[serde(flatten)]
    report: ImageReport,
}

/// What `report.json` holds.
#[derive(Serialize)]
struct Results {
    run: String,
    version: &'static str,
    tolerance: f64,
    tolerance_on: ToleranceOn,
    max_iterations: usize,
    certified: bool,
    images: Vec<ImageResult>,
    blocks: Vec<iresnet::model::BlockReport>,
}

pub fn run(args: InvertArgs) -> Result<Verdict> {
    if args.tolerance.is_nan() || args.tolerance < 0.0 {
        return Err(UsageError(format!("--tolerance {} must be zero or positive", args.tolerance)).into());
    }
    if args.max_iterations == 0 {
        return Err(UsageError("--max-iterations must be at least 1".into()).into());
    }
    let (record, model) = RunDir::open(&args.run)?.load()?;
    let (input, largest) = (record.input, record.white());
    let len = input.len();
    let given = args.latents.as_ref().map(|path| model.layout().latents_of_file(path)).transpose()?;
    let Named { names, values } = match &given {
        // Nothing to compare with.
        Some(latents) => {
            let names = (0..latents.len() / model.layout().latent.len()).map(|i| format!("latent {i}"));
            Named { names: names.collect(), values: Vec::new() }
        }
        None => args.images.load(&record)?,
    };
    make_folder(&args.out)?;
    let certificate = certify(&model);
    let lipschitz = certificate.contractions(&model);
    let trunk = model.fixed_trunk();
    let latent = given.unwrap_or_else(|| trunk.forward_to_invert(&values, lipschitz.as_deref()));
    let stop = Stop { tolerance: Some(args.tolerance), max_iterations: args.max_iterations };
    let (images, mut report) = trunk.inverse(&latent, names.len(), &Picard, stop, lipschitz.as_deref())?;
    if let Some(lipschitz) = &lipschitz {
        report.set_error_bars(trunk.error_bars(&images, &latent, lipschitz));
    }

    let mut rows = Vec::new();
    let mut results = Vec::new();
    let each = names.iter().zip(images.chunks_exact(len)).zip(&report.images);
    for (i, ((name, reconstructed), image)) in each.enumerate() {
        let original = values.chunks_exact(len).nth(i);
        let shape = [input.channels, input.height, input.width];
        let show = |values: &[f32]| Picture { shape, pixels: record.normalization.to_pixels(values, largest) };
        let copy = show(reconstructed);
        picture::write(&args.out.join(format!("{i:04}-reconstruction.png")), &copy)?;
        rows.push(match original.map(show) {
            None => vec![copy],
            Some(original) => {
                let apart = original.pixels.iter().zip(&copy.pixels).map(|(a, b)| 255 - a.abs_diff(*b));
                let difference = Picture { shape, pixels: apart.collect() };
                picture::write(&args.out.join(format!("{i:04}-difference.png")), &difference)?;
                vec![original, copy, difference]
            }
        });
        let size = length(reconstructed);
        results.push(ImageResult {
            image: name.clone(),
            normed_l2: original.map(|x| normed_l2(x, reconstructed)).filter(|error| error.is_finite()),
            relative_error_bar: image.error_bar.filter(|bar| *bar < size).map(|bar| (bar / (size - bar)).next_up()),
            relative_padding: image.padding_residual / size,
            report: image.clone(),
        });
    }
    // Originals, reconstructions, differences: three rows, at most 16 columns; of latents one row.
    let parts = 0..rows[0].len();
    let sheet: Vec<Vec<Picture>> =
        parts.map(|part| rows.iter().take(SHOWN).map(|row| row[part].clone()).collect()).collect();
    let scale = (96 / input.height.max(1)).max(1);
    picture::write(&args.out.join("sheet.png"), &picture::contact_sheet(&sheet, scale))?;
    let results = Results {
        run: args.run.display().to_string(),
        version: crate::VERSION,
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
    let mut originals = values.chunks_exact(len);
    for result in &results.images {
        let error = match (result.normed_l2, originals.next()) {
            (_, None) => String::new(),
            (Some(error), _) => format!("normed L2 {error:>9.1e}  "),
            (None, Some(x)) => format!("normed L2 {:>9}  ", if length(x) == 0.0 { "undefined" } else { "inf" }),
        };
        let (iterations, outcome) = (result.report.iterations, result.report.outcome);
        let padding = match args.latents {
            Some(_) => format!("padding {:.1e}  ", result.relative_padding),
            None => String::new(),
        };
        println!("{:<32} {error}{padding}iterations of all blocks {iterations:>5}  {outcome}", result.image);
    }
    let is_off = |image: &&ImageResult| image.relative_padding.is_nan() || image.relative_padding > OF_AN_IMAGE;
    match (&args.latents, results.images.iter().filter(is_off).count()) {
        (None, _) | (_, 0) => results.show_error_bars(),
        (Some(_), n) => println!(
            "{n} of {} latents are of no image: their preimages hold something in the padding channels, which images \
             leave zero, and which reconstructions leave out",
            names.len()
        ),
    }
    let shown = match values.is_empty() {
        true => "reconstructions",
        false => "originals, reconstructions and differences (white is none)",
    };
    println!("{shown}: {}", args.out.join("sheet.png").display());
    let failed = results.failed();
    if failed > 0 {
        println!(
            "{failed} of {} images were not inverted: what is shown of them is where growing steps, the limit or a value \
             that is not finite left them",
            names.len()
        );
    }
    Ok(results.verdict())
}

/// What latents of images may have in the padding channels, relative to the image, by rounding that blocks amplify.
const OF_AN_IMAGE: f64 = 1e-3;

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
