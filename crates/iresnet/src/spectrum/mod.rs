//! Singular values of convolutions, in float64, from the weights in use.
//!
//! With circular padding on `n x m` images the singular values of a convolution are exactly those of its symbol
//! `F(w) = sum_d K_d exp(-i w.d)`, a `C_out x C_in` matrix a frequency, on the `n x m` grid (Sedghi et al. 2018). With
//! zero padding, which the networks use, those of the circular one at the same size are no bound; [`Method`] lists what
//! is. From below, the Lanczos method on the zero-padded operator itself gives the other end of an [`Interval`].

mod bound;
mod gram;
mod norm;
mod operator;
mod padded;
mod positive;
mod taps;
mod torus;

use std::f64::consts::TAU;

use faer::Mat;
use faer::complex::Complex;
use rayon::prelude::*;
use serde::Serialize;

pub use bound::{Interval, LowerBound, UpperBound};
pub(crate) use gram::matrix_norm_bound;
pub use norm::Method;
pub use operator::{Search, ZeroPadded};

/// One convolution, stride 1, with the weights in use.
#[derive(Clone, Debug)]
pub struct ConvLayer<'a> {
    /// Its name in the network.
    pub name: String,
    /// `[out, in, k, k]`
    pub weight: &'a [f32],
    /// Output channels.
    pub out_channels: usize,
    /// Input channels.
    pub in_channels: usize,
    /// Side of its kernel, odd.
    pub kernel: usize,
    /// Height of the images it sees.
    pub height: usize,
    /// Width of the images it sees.
    pub width: usize,
}

impl ConvLayer<'_> {
    /// `F(w)` at the frequency `(wy, wx)`, taps counted from the middle.
    fn symbol(&self, wy: f64, wx: f64) -> Mat<Complex<f64>> {
        let (k, half) = (self.kernel, (self.kernel / 2) as f64);
        let phases: Vec<Complex<f64>> = (0..k * k)
            .map(|tap| {
                let angle = -(wy * ((tap / k) as f64 - half) + wx * ((tap % k) as f64 - half));
                Complex::new(angle.cos(), angle.sin())
            })
            .collect();
        Mat::from_fn(self.out_channels, self.in_channels, |o, i| {
            let taps = &self.weight[(o * self.in_channels + i) * k * k..][..k * k];
            let mut sum = Complex::new(0.0, 0.0);
            for (w, phase) in taps.iter().zip(&phases) {
                let w = f64::from(*w);
                sum = Complex::new(sum.re + w * phase.re, sum.im + w * phase.im);
            }
            sum
        })
    }

    /// Singular values of the symbol on the circular `height x width` grid, every frequency once, in no order.
    ///
    /// Kernels larger than the grid wrap around, as the symbol does by itself. Weights that are not finite have no
    /// singular values: none are returned.
    pub fn circular(&self, height: usize, width: usize) -> Vec<f64> {
        if !self.weight.iter().all(|w| w.is_finite()) {
            return Vec::new();
        }
        let half = torus::half_grid([height, width]);
        half.into_par_iter()
            .flat_map_iter(|(y, x, times)| {
                let symbol = self.symbol(TAU * y as f64 / height as f64, TAU * x as f64 / width as f64);
                let values = symbol.singular_values().expect("finite matrices have singular values");
                values.into_iter().flat_map(move |v| std::iter::repeat_n(v, times))
            })
            .collect()
    }

    /// All singular values with circular padding at the layer's own size, largest first.
    pub fn circular_spectrum(&self) -> Vec<f64> {
        let mut values = if self.kernel == 1 { self.circular(1, 1) } else { self.circular(self.height, self.width) };
        values.sort_by(|a, b| b.total_cmp(a));
        values
    }
}

#[cfg(test)]
fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

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
    /// Computes everything; `progress` gets layers done and layers in all.
    pub fn of(layers: &[ConvLayer<'_>], mut progress: impl FnMut(usize, usize)) -> Self {
        let done = layers.iter().enumerate().map(|(i, layer)| {
            let (norm, method) = layer.interval();
            let spectrum =
                LayerSpectrum { name: layer.name.clone(), norm, method, circular: layer.circular_spectrum() };
            progress(i + 1, layers.len());
            spectrum
        });
        Spectrum { layers: done.collect() }
    }

    /// Number of layers whose norm is certainly above 1.
    pub fn above_one(&self) -> usize {
        self.layers.iter().filter(|layer| layer.norm.lower.value() > 1.0).count()
    }
}

#[cfg(test)]
mod tests;
