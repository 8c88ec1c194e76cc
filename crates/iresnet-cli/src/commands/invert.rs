//! `iresnet invert`

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use iresnet::data::picture::{self, Picture};
use iresnet::evaluate::{length, normed_l2};
use iresnet::model::{ImageReport, Inversion};
use iresnet::solve::{Picard, Stop, ToleranceOn};
use iresnet::train::{RunDir, RunRecord, write_atomically};
use serde::Serialize;

use super::certify::certify;
use super::verdict::Verdict;
use crate::inputs::{ImageArgs, Named, SHOWN};
use crate::options::values::{at_least_one, not_negative};
use crate::output::{self, make_folder, out};
use crate::version::VERSION;

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
    #[arg(long, default_value_t = 1e-6, value_parser = not_negative)]
    tolerance: f64,
    /// At most this many iterations a block
    #[arg(long, default_value_t = 100, value_parser = at_least_one)]
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
    let (record, model) = RunDir::open(&args.run)?.load()?;
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
    let (examined, layout) = (certify(&model), model.layout());
    let latents = match given {
        Some(latents) => layout.latents(latents),
        None => examined.latents(layout.view(&values)),
    };
    let stop = Stop { tolerance: Some(args.tolerance), max_iterations: args.max_iterations };
    let Inversion { images, report } = examined.inverse(latents.view(), &Picard, stop)?;
    let images = images.as_slice().expect("a new array");
    draw(&args.out, &record, images, &values)?;
    let len = record.input.len();
    let each = names.into_iter().zip(images.chunks_exact(len)).zip(report.images);
    let results = each.enumerate().map(|(i, ((name, reconstructed), image))| {
        ImageResult::new(name, values.chunks_exact(len).nth(i), reconstructed, image)
    });
    let results = Results {
        run: args.run.display().to_string(),
        version: VERSION,
        tolerance: args.tolerance,
        tolerance_on: report.tolerance_on,
        max_iterations: args.max_iterations,
        certified: examined.certified().is_some(),
        images: results.collect(),
        blocks: report.blocks,
    };
    write_atomically(&args.out.join("report.json"), serde_json::to_string_pretty(&results)?.as_bytes())?;
    match args.json {
        true => output::json(&results)?,
        false => results.show(&args, values.chunks_exact(len)),
    }
    Ok(if results.failed() == 0 { Verdict::Done } else { Verdict::ClaimFails })
}

/// Writes every reconstruction, how far each is from its original in `values` if there is one, and a sheet of them.
fn draw(out: &Path, record: &RunRecord, images: &[f32], values: &[f32]) -> Result<()> {
    let (input, largest) = (record.input, record.white());
    let shape = [input.channels, input.height, input.width];
    let show = |values: &[f32]| Picture { shape, pixels: record.normalization.to_pixels(values, largest) };
    let mut originals = values.chunks_exact(input.len());
    let mut rows = Vec::new();
    for (i, reconstructed) in images.chunks_exact(input.len()).enumerate() {
        let copy = show(reconstructed);
        picture::write(&out.join(format!("{i:04}-reconstruction.png")), &copy)?;
        rows.push(match originals.next().map(show) {
            None => vec![copy],
            Some(original) => {
                let apart = original.pixels.iter().zip(&copy.pixels).map(|(a, b)| 255 - a.abs_diff(*b));
                let difference = Picture { shape, pixels: apart.collect() };
                picture::write(&out.join(format!("{i:04}-difference.png")), &difference)?;
                vec![original, copy, difference]
            }
        });
    }
    // Originals, reconstructions, differences: three rows, at most 16 columns; of latents one row.
    let parts = 0..rows[0].len();
    let sheet: Vec<Vec<Picture>> =
        parts.map(|part| rows.iter().take(SHOWN).map(|row| row[part].clone()).collect()).collect();
    let scale = (96 / input.height.max(1)).max(1);
    Ok(picture::write(&out.join(SHEET), &picture::contact_sheet(&sheet, scale))?)
}

/// All pictures at a glance.
const SHEET: &str = "sheet.png";

/// What latents of images may have in the padding channels, relative to the image, by rounding that blocks amplify.
const OF_AN_IMAGE: f64 = 1e-3;

impl ImageResult {
    fn new(image: String, original: Option<&[f32]>, reconstructed: &[f32], report: ImageReport) -> Self {
        let size = length(reconstructed);
        ImageResult {
            image,
            normed_l2: original.map(|x| normed_l2(x, reconstructed)).filter(|error| error.is_finite()),
            relative_error_bar: report.error_bar.filter(|bar| *bar < size).map(|bar| (bar / (size - bar)).next_up()),
            relative_padding: report.padding_residual / size,
            report,
        }
    }
}

impl Results {
    /// Images whose inverse did not come to an end.
    fn failed(&self) -> usize {
        self.images.iter().filter(|image| !image.report.outcome.is_success()).count()
    }

    /// Prints an image a line, then what holds of all; `originals` are none where latents were given.
    fn show<'a>(&self, args: &InvertArgs, mut originals: impl ExactSizeIterator<Item = &'a [f32]>) {
        let (all, of_images) = (self.images.len(), originals.len() > 0);
        out!("{all} images, tolerance {:e} on the {}", self.tolerance, self.tolerance_on);
        for result in &self.images {
            let error = match (result.normed_l2, originals.next()) {
                (_, None) => format!("padding {:.1e}  ", result.relative_padding),
                (Some(error), _) => format!("normed L2 {error:>9.1e}  "),
                (None, Some(x)) => format!("normed L2 {:>9}  ", if length(x) == 0.0 { "undefined" } else { "inf" }),
            };
            let (iterations, outcome) = (result.report.iterations, result.report.outcome);
            out!("{:<32} {error}iterations of all blocks {iterations:>5}  {outcome}", result.image);
        }
        let is_off = |image: &&ImageResult| image.relative_padding.is_nan() || image.relative_padding > OF_AN_IMAGE;
        match self.images.iter().filter(is_off).count() {
            n if n > 0 && !of_images => out!(
                "{n} of {all} latents are of no image: their preimages hold something in the padding channels, which \
                 images leave zero, and which reconstructions leave out"
            ),
            _ => self.show_error_bars(),
        }
        let shown = match of_images {
            true => "originals, reconstructions and differences (white is none)",
            false => "reconstructions",
        };
        out!("{shown}: {}", args.out.join(SHEET).display());
        let failed = self.failed();
        if failed > 0 {
            out!(
                "{failed} of {all} images were not inverted: what is shown of them is where growing steps, the limit or a \
                 value that is not finite left them"
            );
        }
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
            0 => out!("error bars: none below the image itself; each block may amplify errors by 1 / (1 - L)"),
            n if n == all => out!(
                "error bars: {largest:.1e} of the image at most, {kept} of {all} proved to be within the tolerance"
            ),
            n => out!("error bars: {n} of {all} below the image itself, {largest:.1e} of it at most"),
        }
    }
}
