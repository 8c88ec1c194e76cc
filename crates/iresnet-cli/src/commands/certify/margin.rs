//! `iresnet certify --margin`

use anyhow::Result;
use iresnet::certificate::{Margins, certified_accuracy, predictions};
use iresnet::model::Examined;
use iresnet::train::{RunDir, RunRecord, write_atomically};
use serde::Serialize;

use super::args::CertifyArgs;
use crate::inputs::load_for_run;
use crate::output::out;
use crate::terminal::{at, bar};

/// What `margins.json` holds. Radii are L2 distances between images whose pixels go from 0, black, to 1.
#[derive(Serialize)]
pub struct Report {
    /// Of the trunk's weights in use, as in the certificate.
    weights_sha256: String,
    data: String,
    /// Share of all test images that are classified rightly whatever is done within the radius.
    certified_accuracy: Vec<AtRadius>,
    /// Of the images that are classified rightly: smallest, lower quartile, median, upper quartile, largest.
    radius_quartiles: Option<[f64; 5]>,
    images: Vec<Image>,
}

#[derive(Serialize)]
struct AtRadius {
    radius: f64,
    accuracy: f64,
}

#[derive(Serialize)]
struct Image {
    label: u32,
    prediction: usize,
    /// No change smaller than this changes the prediction, with the logits taken as exact.
    radius: f64,
}

/// Writes `margins.json` into the run folder.
pub fn run(args: &CertifyArgs, radii: &[f64], dir: &RunDir, record: &RunRecord, examined: &Examined) -> Result<Report> {
    let test = load_for_run(record, &args.data)?.split.test;
    let margins = Margins::of(examined);
    let progress = bar(test.len() as u64, "classifying");
    let (network, listener) = (examined.network(), at(&progress));
    let mut predictions = predictions(network, &margins, &test, &record.normalization, Some(&listener));
    progress.finish_and_clear();
    // A change of length r in pixels from 0 to 1 has at most this times r at the network's input.
    let steepest = record.normalization.scale.iter().map(|s| f64::from(s.abs())).fold(0.0, f64::max);
    let per_pixel = steepest * f64::from(record.white());
    predictions.iter_mut().for_each(|p| p.radius = (p.radius / per_pixel).next_down().max(0.0));
    let accuracy = certified_accuracy(&predictions, &test.labels, radii);
    let mut right: Vec<f64> = predictions
        .iter()
        .zip(test.labels.iter())
        .filter(|(p, l)| p.class == **l as usize)
        .map(|(p, _)| p.radius)
        .collect();
    right.sort_by(f64::total_cmp);
    let quantile = |quarter: usize| right[quarter * (right.len() - 1) / 4];
    let report = Report {
        weights_sha256: examined.certificate().weights_sha256.clone(),
        data: record.data_name.clone(),
        certified_accuracy: radii
            .iter()
            .zip(accuracy)
            .map(|(&radius, accuracy)| AtRadius { radius, accuracy })
            .collect(),
        radius_quartiles: (!right.is_empty()).then(|| [0, 1, 2, 3, 4].map(quantile)),
        images: predictions
            .iter()
            .zip(test.labels.iter())
            .map(|(p, &label)| Image { label, prediction: p.class, radius: p.radius })
            .collect(),
    };
    write_atomically(&dir.path().join("margins.json"), serde_json::to_string_pretty(&report)?.as_bytes())?;
    if !args.json {
        out!(
            "accuracy that no change of an image within an L2 radius can lower (pixels from 0 to 1, logits taken as exact):"
        );
        for at in &report.certified_accuracy {
            out!("  radius {:<10} {:>6.2} %", at.radius, 100.0 * at.accuracy);
        }
        if let Some([least, lower, median, upper, most]) = report.radius_quartiles {
            out!(
                "radii of the images classified rightly: {least:.2e} smallest, {median:.2e} median ({lower:.2e} to {upper:.2e} the middle half), {most:.2e} largest"
            );
        }
        out!("of every image: {}", dir.path().join("margins.json").display());
    }
    Ok(report)
}
