//! The numbers of Figure 2: the norm of every convolution, and all singular values of one. [`crate::figure2`] draws
//! the norms.

use iresnet::spectrum::Spectrum;
use serde::{Deserialize, Serialize};

use crate::chart::{Chart, Colour, Series};
use crate::networks::Network;
use crate::{LabError, Progress, figure2};

/// Most points of a drawn spectrum.
const DRAWN: usize = 200;

/// Norms of one convolution.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LayerNorm {
    /// Its name in the network.
    pub name: String,
    /// Lower bound of the norm of the zero-padded operator in use.
    pub lower: f64,
    /// Proved upper bound.
    pub upper: f64,
    /// Largest singular value with circular padding.
    pub circular: f64,
}

/// One network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NetworkNorms {
    /// Label of the model.
    pub model: String,
    /// In the order of the forward pass.
    pub layers: Vec<LayerNorm>,
    /// Layers whose lower bound is above 1.
    pub above_one: usize,
    /// Singular values of the chosen layer with circular padding, largest first, thinned out evenly to at most 200:
    /// place among all (from 0 to 1) and value.
    pub spectrum: Vec<(f64, f64)>,
}

/// All networks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spectra {
    /// One a network.
    pub networks: Vec<NetworkNorms>,
    /// Name of the layer whose whole spectrum is given.
    pub layer: String,
    /// How many singular values that layer has.
    pub values: usize,
    /// The norms, drawn.
    pub svg: String,
}

/// Computes all spectra; the chosen layer is the first convolution of the middle block.
///
/// # Errors
/// What the drawing library refused.
pub fn spectra(networks: &[Network], progress: Progress<'_>) -> Result<Spectra, LabError> {
    let computed: Vec<(String, Spectrum)> = networks
        .iter()
        .map(|network| {
            let weights = network.model.effective_weights();
            let layers = weights.layers(network.model.layout());
            let label = network.label();
            let spectrum = Spectrum::of(&layers, |done, all| progress(&format!("spectra, {label}"), done, all));
            (label, spectrum)
        })
        .collect();
    let chosen = computed.first().map_or(0, |(_, spectrum)| spectrum.layers.len() / 3 / 2 * 3);
    let layer = computed.first().and_then(|(_, spectrum)| spectrum.layers.get(chosen));
    let drawn: Vec<(String, &Spectrum)> = computed.iter().map(|(label, s)| (label.clone(), s)).collect();
    Ok(Spectra {
        layer: layer.map_or_else(String::new, |layer| layer.name.clone()),
        values: layer.map_or(0, |layer| layer.circular.len()),
        svg: figure2::largest(&drawn)?,
        networks: computed
            .iter()
            .map(|(label, spectrum)| NetworkNorms {
                model: label.clone(),
                above_one: spectrum.above_one(),
                spectrum: spectrum.layers.get(chosen).map(|layer| thinned(&layer.circular)).unwrap_or_default(),
                layers: spectrum
                    .layers
                    .iter()
                    .map(|layer| LayerNorm {
                        name: layer.name.clone(),
                        lower: layer.norm.lower.value(),
                        upper: layer.norm.upper.value(),
                        circular: layer.circular.first().copied().unwrap_or(0.0),
                    })
                    .collect(),
            })
            .collect(),
    })
}

/// At most [`DRAWN`] of `values`, first and last among them, with their places from 0 to 1.
fn thinned(values: &[f64]) -> Vec<(f64, f64)> {
    let last = values.len().saturating_sub(1);
    let count = values.len().min(DRAWN);
    let point = |i: usize| {
        let at = if count > 1 { i * last / (count - 1) } else { 0 };
        (at as f64 / last.max(1) as f64, values[at])
    };
    (0..count).map(point).collect()
}

impl Spectra {
    /// The whole spectrum of the chosen layer, all networks.
    pub fn chart(&self) -> Chart {
        let top = self.networks.iter().flat_map(|n| n.spectrum.iter().map(|(_, v)| *v)).fold(1.0, f64::max);
        let series = self.networks.iter().enumerate().map(|(i, network)| Series {
            label: network.model.clone(),
            colour: Colour::Number(i),
            dashed: false,
            markers: false,
            points: network.spectrum.clone(),
        });
        Chart {
            title: format!("Singular values of {}", self.layer),
            x_label: "place among the layer's singular values, largest first".into(),
            y_label: "singular value".into(),
            x: (0.0, 1.0),
            y: (0.0, top * 1.05),
            log_y: false,
            size: (720, 340),
            series: series.collect(),
            rule: Some(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_both_ends() {
        let values: Vec<f64> = (0..1001).rev().map(f64::from).collect();
        let points = thinned(&values);
        assert_eq!(points.len(), DRAWN);
        assert_eq!((points[0], points[DRAWN - 1]), ((0.0, 1000.0), (1.0, 0.0)));
        assert!(points.windows(2).all(|p| p[0].0 < p[1].0 && p[0].1 > p[1].1));
        assert_eq!(thinned(&[2.0]), [(0.0, 2.0)]);
        assert!(thinned(&[]).is_empty());
    }
}
