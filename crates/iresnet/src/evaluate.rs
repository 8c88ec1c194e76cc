//! Classification error and reconstruction error on a test set.

use std::collections::BTreeMap;

use iresnet_flow::solve::{Contradiction, Outcome, Solver, Stop, ToleranceOn};
use iresnet_flow::{Progress, tell};
use serde::Serialize;

use crate::data::{Dataset, Loader, Normalization};
use crate::device::{Cpu, Device};
use crate::measure::Measure;
use crate::model::{Examined, IResNet, Inversion, count_correct};

/// Images a batch in evaluation.
const BATCH: usize = 256;

/// Percentage of `data` that the network classifies wrongly; `progress` gets images done and images in all.
pub fn error_percent(model: &IResNet, data: &Dataset, normalization: &Normalization, progress: Progress<'_>) -> f64 {
    error_percent_on(model, data, normalization, &Cpu, progress)
}

/// [`error_percent`] of the network as `device` computes it: another device rounds differently, and an image whose two
/// largest logits are equal up to rounding may change sides.
pub fn error_percent_on(
    model: &IResNet,
    data: &Dataset,
    normalization: &Normalization,
    device: &dyn Device,
    progress: Progress<'_>,
) -> f64 {
    let (mut correct, mut seen) = (0, 0);
    for_each_logits(model, data, normalization, device, |logits, labels| {
        correct += count_correct(logits, labels);
        seen += labels.len();
        tell(progress, seen, data.len());
    });
    100.0 * (1.0 - correct as f64 / seen.max(1) as f64)
}

/// Calls `visit` with the logits `[n, classes]` and the labels of every batch of `data`, in order.
pub(crate) fn for_each_logits(
    model: &IResNet,
    data: &Dataset,
    normalization: &Normalization,
    device: &dyn Device,
    mut visit: impl FnMut(&[f32], &[u32]),
) {
    for batch in Loader::evaluate(data, normalization, BATCH) {
        let logits = device.forward(model, model.layout().view(&batch.images)).logits;
        visit(logits.as_slice().expect("a new array"), &batch.labels);
    }
}

/// Reconstruction of a test set: "normed L2" of Table 1 and what the solver says of it.
#[derive(Clone, Debug, Serialize)]
pub struct Reconstruction {
    /// Mean over the images of `||x - x^|| / ||x||` on the network's input; infinite if a value was not finite. An image
    /// of length zero, for which it is not defined, is left out.
    pub normed_l2: Measure,
    /// The largest one.
    pub largest_normed_l2: Measure,
    /// Mean over the images of `||x - x^||`, in units of the network's input; infinite if a value was not finite.
    pub distance: Measure,
    /// Images inverted.
    #[serde(rename = "inverted")]
    pub samples: usize,
    /// Mean iterations a block and image.
    pub iterations: f64,
    /// Outcomes and how many images had them. Without certified constants: those of an inverse that gives up where steps
    /// grow.
    pub outcomes: BTreeMap<Outcome, usize>,
    /// Whether the tolerance bounded the error or only the residual.
    pub tolerance_on: ToleranceOn,
}

/// Inverts the latents of all images of `data` with at most `max_iterations` a block and compares.
///
/// A certified network's images end earlier at the rounding of float32, where nothing changes any more. Any other network
/// makes every iteration, whatever comes of it, unless steps grow a million-fold.
///
/// # Errors
/// Steps that contradict the certificate.
pub fn reconstruction(
    network: &Examined,
    data: &Dataset,
    normalization: &Normalization,
    solver: &dyn Solver<f32>,
    max_iterations: usize,
    progress: Progress<'_>,
) -> Result<Reconstruction, Contradiction> {
    let (len, layout) = (data.image_len(), network.network().layout());
    let (mut errors, mut outcomes) = (Vec::new(), BTreeMap::new());
    let (mut tolerance_on, mut iterations, mut distance) = (ToleranceOn::Residual, 0, 0.0);
    for batch in Loader::evaluate(data, normalization, BATCH) {
        let latents = network.latents(layout.view(&batch.images));
        let inverse =
            |tolerance| network.inverse_without_bars(latents.view(), solver, Stop { tolerance, max_iterations });
        let judged = inverse(Some(0.0))?;
        judged.report.images.iter().for_each(|image| *outcomes.entry(image.outcome).or_default() += 1);
        let Inversion { images, report } = if network.certified().is_some() { judged } else { inverse(None)? };
        let reconstructed = images.as_slice().expect("a new array");
        for (x, y) in batch.images.chunks_exact(len).zip(reconstructed.chunks_exact(len)) {
            errors.push(normed_l2(x, y));
            let apart = squared_distance(x, y).sqrt();
            distance += if apart.is_finite() { apart } else { f64::INFINITY };
        }
        iterations += report.images.iter().map(|image| image.iterations).sum::<usize>();
        tolerance_on = report.tolerance_on;
        tell(progress, errors.len(), data.len());
    }
    let samples = errors.len();
    Ok(Reconstruction {
        normed_l2: Measure(mean_normed_l2(&errors)),
        largest_normed_l2: Measure(errors.iter().copied().fold(f64::NAN, f64::max)),
        distance: Measure(distance / samples.max(1) as f64),
        samples,
        iterations: iterations as f64 / (samples * layout.num_blocks()).max(1) as f64,
        outcomes,
        tolerance_on,
    })
}

/// `||x||`, summed in float64.
pub fn length(x: &[f32]) -> f64 {
    x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}

/// `||x - y||^2`, summed in float64.
fn squared_distance(x: &[f32], y: &[f32]) -> f64 {
    x.iter().zip(y).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum()
}

/// `||x - y|| / ||x||`, infinite where a value is not finite; not defined, NaN, where x is zero.
pub fn normed_l2(x: &[f32], y: &[f32]) -> f64 {
    let size: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
    let difference = squared_distance(x, y);
    if size == 0.0 && difference.is_finite() {
        return f64::NAN;
    }
    let ratio = (difference / size).sqrt();
    if ratio.is_finite() { ratio } else { f64::INFINITY }
}

/// Mean of those that are defined; NaN if none is.
pub fn mean_normed_l2(errors: &[f64]) -> f64 {
    let defined = || errors.iter().filter(|error| !error.is_nan());
    defined().sum::<f64>() / defined().count() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_of_length_zero_has_no_normed_l2() {
        assert!(normed_l2(&[0.0; 4], &[1e-8; 4]).is_nan());
        assert_eq!(normed_l2(&[0.0; 2], &[f32::NAN, 0.0]), f64::INFINITY);
        assert_eq!(mean_normed_l2(&[1.0, f64::NAN, 2.0]), 1.5);
        assert!(mean_normed_l2(&[f64::NAN]).is_nan());
        assert_eq!(normed_l2(&[3.0, 4.0], &[3.0, 4.5]), 0.1);
        assert_eq!(normed_l2(&[3.0, 4.0], &[3.0, f32::NAN]), f64::INFINITY);
    }
}
