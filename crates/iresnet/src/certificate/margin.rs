//! How far an image may be moved before its class can change.
//!
//! The difference of two logits behind the head (BatchNorm `s z + t`, κ, mean over the pixels, linear rows `w_i`) has the
//! constant `(sum_c ((w_ic - w_jc) s_c)^2 / (H W))^(1/2)` in the latent, since κ is 1-Lipschitz value by value and the
//! mean of a channel has norm `(H W)^(-1/2)`. With `Lip(F)` of the trunk in front (the injective padding has norm 1), a
//! prediction `i` cannot change within `min_j (logit_i - logit_j) / (Lip(F) Lip_ij)` (Tsuzuku et al. 2018).

use iresnet_flow::{Progress, tell};
use iresnet_spectra::UpperBound;
use serde::Serialize;

use crate::data::{Dataset, Loader, Normalization};
use crate::model::weights_in_use::affine_of;
use crate::model::{Examined, Prepared, argmax};

/// The constants of all differences of logits.
#[derive(Clone, Debug)]
pub struct Margins {
    classes: usize,
    /// `[classes, classes]`, trunk included.
    lipschitz: Vec<f64>,
}

/// A prediction and how far it holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// The class with the largest logit.
    pub class: usize,
    /// Every input closer than this in L2, in the units of the network's input, has the same class.
    pub radius: f64,
}

impl Margins {
    /// The constants of a network with its head in evaluation.
    ///
    /// `Lip(F)` needs no inverse, so networks that are not certified have margins too, small ones.
    pub fn of(network: &Examined) -> Self {
        let trunk = UpperBound::of_factor(network.certificate().lipschitz_forward);
        let (network, layout) = (network.network(), network.network().layout());
        let (head, mean, var) = network.head();
        let (channels, classes) = (layout.latent.channels, layout.input.classes);
        let affine = affine_of(&head[..channels], &head[channels..2 * channels], mean, var);
        let linear = &head[2 * channels..(2 + classes) * channels];
        Margins::new(trunk, &affine.scale, linear, layout.latent.height * layout.latent.width)
    }

    /// `trunk` bounds `Lip(F)`; `scale` is the head's BatchNorm in evaluation, `linear` its weights `[classes, channels]`,
    /// `pixels` the area of the latent.
    ///
    /// # Panics
    /// If `linear` is not a whole number of rows of `scale.len()`, or without channels.
    pub fn new(trunk: UpperBound, scale: &[f32], linear: &[f32], pixels: usize) -> Self {
        let channels = scale.len();
        assert!(
            channels > 0 && linear.len().is_multiple_of(channels),
            "{} linear weights are no rows of {channels}",
            linear.len()
        );
        let rows: Vec<&[f32]> = linear.chunks_exact(channels).collect();
        // Sums of `channels` squares of rounded products, a quotient, a root and a product.
        let up = 1.0 + (channels as f64 + 16.0) * f64::EPSILON;
        let between = |a: &[f32], b: &[f32]| {
            let square = |((a, b), s): ((&f32, &f32), &f32)| ((f64::from(*a) - f64::from(*b)) * f64::from(*s)).powi(2);
            let sum: f64 = a.iter().zip(b).zip(scale).map(square).sum();
            trunk.value() * (sum / pixels as f64).sqrt() * up
        };
        let lipschitz = rows.iter().flat_map(|a| rows.iter().map(|b| between(a, b))).collect();
        Margins { classes: rows.len(), lipschitz }
    }

    /// The class of `logits` and its radius. The logits are taken as exact; a NaN among them certifies nothing.
    ///
    /// # Panics
    /// If there are not as many logits as classes.
    pub fn predict(&self, logits: &[f32]) -> Prediction {
        assert_eq!(logits.len(), self.classes, "number of logits");
        let class = argmax(logits);
        let distance = |other: usize| {
            let gap = f64::from(logits[class]) - f64::from(logits[other]);
            let distance = gap / self.lipschitz[class * self.classes + other] * (1.0 - 4.0 * f64::EPSILON);
            // 0 / 0 (two classes that are always equal) and NaN prove nothing.
            if distance.is_nan() { 0.0 } else { distance }
        };
        let radius = (0..self.classes).filter(|other| *other != class).map(distance).fold(f64::INFINITY, f64::min);
        Prediction { class, radius }
    }
}

/// Images a batch.
const BATCH: usize = 256;

/// The class of every image of `data` and how far it holds; `progress` gets images done and images in all.
pub fn predictions(
    network: &Prepared,
    margins: &Margins,
    data: &Dataset,
    normalization: &Normalization,
    progress: Progress<'_>,
) -> Vec<Prediction> {
    let mut all = Vec::with_capacity(data.len());
    for batch in Loader::evaluate(data, normalization, BATCH) {
        let logits = network.forward(network.layout().view(&batch.images)).logits;
        let rows = logits.as_slice().expect("a new array").chunks_exact(margins.classes);
        all.extend(rows.map(|row| margins.predict(row)));
        tell(progress, all.len(), data.len());
    }
    all
}

/// Share of the images whose class is right and stays so within `radius`, for each of the given radii.
pub fn certified_accuracy(predictions: &[Prediction], labels: &[u32], radii: &[f64]) -> Vec<f64> {
    let share = |radius: &f64| {
        let right = predictions.iter().zip(labels).filter(|(p, l)| p.class == **l as usize && p.radius >= *radius);
        right.count() as f64 / predictions.len().max(1) as f64
    };
    radii.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_head_has_its_exact_radius() {
        // One pixel, identity κ where it matters: logits 3 z_0 and 4 z_1; the boundary is 3 z_0 = 4 z_1.
        let margins = Margins::new(UpperBound::of_factor(1.0), &[1.0, 2.0], &[3.0, 0.0, 0.0, 2.0], 1);
        let z = [2.0f32, 1.0];
        let prediction = margins.predict(&[3.0 * z[0], 4.0 * z[1]]);
        assert_eq!(prediction.class, 0);
        // Distance of (2, 1) from that line.
        let distance = (3.0 * 2.0 - 4.0 * 1.0) / 5.0;
        assert!(prediction.radius <= distance && prediction.radius > distance * (1.0 - 1e-12), "{prediction:?}");
        // Four pixels average: four times the pixels, half the constant.
        let wide = Margins::new(UpperBound::of_factor(2.0), &[1.0, 2.0], &[3.0, 0.0, 0.0, 2.0], 4);
        assert!((wide.predict(&[6.0, 4.0]).radius - distance).abs() < 1e-12);
    }

    #[test]
    fn accuracy_counts_right_images_that_hold() {
        let predictions = [(0, 0.5), (1, 0.1), (1, 0.9)].map(|(class, radius)| Prediction { class, radius });
        assert_eq!(certified_accuracy(&predictions, &[0, 1, 0], &[0.0, 0.2, 1.0]), [2.0 / 3.0, 1.0 / 3.0, 0.0]);
        assert_eq!(
            Margins::new(UpperBound::of_factor(1.0), &[1.0], &[1.0, 1.0], 1).predict(&[f32::NAN, 0.0]).radius,
            0.0
        );
    }
}
