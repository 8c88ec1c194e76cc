//! The spectra of a whole network, ready to be saved.

use serde::Serialize;

use crate::bound::Interval;
use crate::layer::ConvLayer;
use crate::norm::Method;
use crate::progress::Progress;

/// What is known of one layer.
#[derive(Clone, Debug, Serialize)]
pub struct LayerSpectrum {
    /// Its name in the network.
    pub name: String,
    /// Bounds of the norm of the operator in use, zero padding.
    pub norm: Interval,
    /// How its upper end was found.
    pub method: Method,
    /// All singular values with circular padding, largest first.
    pub circular: Vec<f64>,
}

/// The spectra of all convolutions of a network.
#[derive(Clone, Debug, Serialize)]
pub struct Spectrum {
    /// In the order of the forward pass.
    pub layers: Vec<LayerSpectrum>,
}

impl Spectrum {
    /// Computes everything; `progress` hears of layers.
    pub fn of(layers: &[ConvLayer<'_>], progress: Progress<'_>) -> Self {
        let done = layers.iter().enumerate().map(|(i, layer)| {
            let (norm, method) = layer.interval();
            let spectrum =
                LayerSpectrum { name: layer.name.clone(), norm, method, circular: layer.circular_spectrum() };
            if let Some(progress) = progress {
                progress(i + 1, layers.len());
            }
            spectrum
        });
        Spectrum { layers: done.collect() }
    }

    /// Number of layers whose norm is certainly above 1.
    pub fn above_one(&self) -> usize {
        self.layers.iter().filter(|layer| layer.norm.lower.value() > 1.0).count()
    }
}
