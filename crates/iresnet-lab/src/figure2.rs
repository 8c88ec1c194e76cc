//! Figure 2: the norm of every convolution, and all singular values of one, several networks side by side.

use iresnet::spectra::{LayerSpectrum, Spectrum};
use serde::{Deserialize, Serialize};

use crate::Progress;
use crate::chart::{Chart, Colour, Series, Stroke};
use crate::networks::Network;

/// Most points of a drawn spectrum.
const DRAWN: usize = 200;
/// Marks on a drawn spectrum, about.
const MARKED: usize = 12;

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
    /// Blocks with three layers whose norms have a product below [`FAINT`].
    pub faint_blocks: usize,
    /// Name of the layer whose whole spectrum is given.
    pub layer: String,
    /// How many singular values that layer has.
    pub values: usize,
    /// Singular values of the chosen layer with circular padding, largest first, thinned out evenly to at most 200:
    /// place among all (from 0 to 1) and value.
    pub spectrum: Vec<(f64, f64)>,
}

/// All networks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure2 {
    /// One a network.
    pub networks: Vec<NetworkNorms>,
}

/// Below this a product of a block's norms says that it changes distances by less than a thousandth.
pub const FAINT: f64 = 1e-3;

/// Computes the spectra of one network; the chosen layer is the first convolution of the middle block.
pub fn norms(network: &Network, progress: Progress<'_>) -> NetworkNorms {
    let weights = network.model.weights_in_use();
    let layers = weights.layers(network.model.layout());
    let spectrum = Spectrum::of(&layers, progress);
    NetworkNorms::of(&network.label(), &spectrum, network.model.layout().num_blocks() / 2 * 3)
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

impl NetworkNorms {
    /// What the figure shows of the network `label`; of layer number `chosen` from 0, if it has one, all singular values
    /// are kept.
    pub fn of(label: &str, spectrum: &Spectrum, chosen: usize) -> Self {
        let norm = |layer: &LayerSpectrum| LayerNorm {
            name: layer.name.clone(),
            lower: layer.norm.lower.value(),
            upper: layer.norm.upper.value(),
            circular: layer.circular.first().copied().unwrap_or(0.0),
        };
        let layers: Vec<LayerNorm> = spectrum.layers.iter().map(norm).collect();
        let gains = layers.chunks(3).map(|block| block.iter().map(|layer| layer.upper).product::<f64>());
        let layer = spectrum.layers.get(chosen);
        NetworkNorms {
            model: label.into(),
            above_one: spectrum.above_one(),
            faint_blocks: gains.filter(|gain| *gain < FAINT).count(),
            layer: layer.map_or_else(String::new, |layer| layer.name.clone()),
            values: layer.map_or(0, |layer| layer.circular.len()),
            spectrum: layer.map(|layer| thinned(&layer.circular)).unwrap_or_default(),
            layers,
        }
    }
}

impl Figure2 {
    /// The network that tells which layer's whole spectrum is given, and how many values it has.
    pub fn chosen(&self) -> Option<&NetworkNorms> {
        self.networks.iter().find(|network| network.values > 0)
    }

    /// The bound from above of every layer's norm, in the order of the forward pass; a line marks 1.
    ///
    /// The axis is logarithmic where the norms span more than a factor of 20.
    pub fn norms_chart(&self) -> Chart {
        let series = self.networks.iter().enumerate().map(|(i, network)| Series {
            label: network.model.clone(),
            colour: Colour::Number(i),
            stroke: Stroke::Absent,
            marks_every: 1,
            points: (1..).map(f64::from).zip(network.layers.iter().map(|layer| layer.upper)).collect(),
        });
        let series: Vec<Series> = series.collect();
        let norms = || series.iter().flat_map(|s| s.points.iter().map(|(_, norm)| *norm)).filter(|norm| *norm > 0.0);
        let (low, high) = (norms().fold(1.0, f64::min), norms().fold(1.0, f64::max));
        let log_y = high / low > 20.0;
        let layers = self.networks.iter().map(|network| network.layers.len()).max().unwrap_or(0);
        Chart {
            title: "Largest singular value of every convolution".into(),
            x_label: "convolution, in the order of the forward pass".into(),
            y_label: "largest singular value".into(),
            x: (0.0, layers as f64 + 1.0),
            y: if log_y { (low / 1.3, high * 1.3) } else { (0.0, high * 1.05) },
            log_y,
            size: (720, 400),
            series,
            rule: Some(1.0),
        }
    }

    /// The whole spectrum of the chosen layer, of all networks that have it.
    pub fn spectrum_chart(&self) -> Chart {
        let layer = self.chosen().map_or("", |network| &network.layer);
        let top = self.networks.iter().flat_map(|n| n.spectrum.iter().map(|(_, v)| *v)).fold(1.0, f64::max);
        let with = self.networks.iter().enumerate().filter(|(_, network)| !network.spectrum.is_empty());
        let series = with.map(|(i, network)| Series {
            label: network.model.clone(),
            colour: Colour::Number(i),
            stroke: Stroke::Full,
            marks_every: network.spectrum.len().div_ceil(MARKED),
            points: network.spectrum.clone(),
        });
        Chart {
            title: format!("Singular values of {layer}"),
            x_label: format!("place among the singular values of {layer}, largest first"),
            y_label: "singular value, circular padding".into(),
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
    use iresnet::model::{Input, ModelConfig};

    fn spectrum(blocks: &[usize]) -> Spectrum {
        let config = ModelConfig { blocks: blocks.to_vec(), ..ModelConfig::preset("digits").unwrap() };
        let model = config.init(Input { channels: 1, height: 4, width: 4, classes: 3 }, 1).unwrap();
        Spectrum::of(&model.weights_in_use().layers(model.layout()), None)
    }

    #[test]
    fn every_network_has_its_marks_and_its_label() {
        let (a, b) = (spectrum(&[1, 1]), spectrum(&[1]));
        let networks = vec![NetworkNorms::of("vanilla", &a, 4), NetworkNorms::of("c < 1", &b, 4)];
        let figure = Figure2 { networks };
        assert_eq!([figure.networks[0].layers.len(), figure.networks[1].layers.len()], [6, 3]);
        let svg = figure.norms_chart().svg();
        // A path of marks for each network, and one in the legend.
        assert_eq!((svg.matches("class=\"marks\"").count(), svg.matches("<polyline").count()), (4, 0), "{svg}");
        assert!(svg.contains("c &lt; 1") && svg.contains("convolution, in the order"), "{svg}");
        // Only the first network has a fifth layer.
        let svg = figure.spectrum_chart().svg();
        assert!(svg.contains("stages.1.blocks.0.conv2") && !svg.contains("c &lt; 1"), "{svg}");
        assert_eq!(svg.matches("<polyline").count(), 1);
    }

    #[test]
    fn norms_far_apart_have_a_logarithmic_axis() {
        let mut figure = Figure2 { networks: vec![NetworkNorms::of("a", &spectrum(&[1]), 0)] };
        assert!(!figure.norms_chart().log_y);
        figure.networks[0].layers[0].upper = 30.0;
        figure.networks[0].layers[1].upper = 0.0;
        let chart = figure.norms_chart();
        assert!(chart.log_y && chart.y.0 > 0.0 && chart.y.1 > 30.0, "{:?}", chart.y);
        assert!(!chart.svg().contains("NaN") && !chart.svg().contains("inf"));
    }

    #[test]
    fn faint_blocks_are_counted() {
        let model = ModelConfig { blocks: vec![1, 1], ..ModelConfig::preset("digits").unwrap() };
        let mut model = model.init(Input { channels: 1, height: 4, width: 4, classes: 3 }, 1).unwrap();
        let faint = |model: &iresnet::model::IResNet| {
            let weights = model.weights_in_use();
            NetworkNorms::of("a", &Spectrum::of(&weights.layers(model.layout()), None), 0).faint_blocks
        };
        assert_eq!(faint(&model), 0);
        let conv = model.layout().convs().next().unwrap().weight.clone();
        model.parameters_mut()[0][conv].iter_mut().for_each(|w| *w *= 1e-4);
        assert_eq!(faint(&model), 1);
    }

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
