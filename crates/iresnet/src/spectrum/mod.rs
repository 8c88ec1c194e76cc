//! Singular values of convolutions, in float64, from the weights in use.
//!
//! With circular padding on `n x m` images the singular values of a convolution are exactly those of its symbol
//! `F(w) = sum_d K_d exp(-i w.d)`, a `C_out x C_in` matrix a frequency, on the `n x m` grid (Sedghi et al. 2018). With
//! zero padding, which the networks use, those of the circular one at the same size are no bound; [`Method`] lists what
//! is. From below, the Lanczos method on the zero-padded operator itself gives the other end of an [`Interval`].

mod bound;
mod correlation;
mod gram;
mod lanes;
mod norm;
mod operator;
mod padded;
mod positive;
mod scratch;
mod taps;
mod torus;
mod tridiagonal;

use std::f64::consts::TAU;

use faer::Mat;
use faer::complex::Complex;
use rayon::prelude::*;
use serde::Serialize;

use taps::Taps;
use torus::{Grid, Symbols};

pub use bound::{Interval, LowerBound, UpperBound};
pub(crate) use gram::matrix_norm_bound;
pub use norm::{Method, best_bounds};
pub use operator::{Search, ZeroPadded};

/// Ratio of the smallest and the largest singular value below which squares are not used.
const CONDITION: f64 = 1e-3;

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
    ///
    /// Where the smallest is not below a thousandth of the largest they are roots of the eigenvalues of `F F^H`, which
    /// are found several times as fast; squaring costs three digits at worst then. Elsewhere `F` itself is decomposed.
    pub fn circular(&self, height: usize, width: usize) -> Vec<f64> {
        if !self.weight.iter().all(|w| w.is_finite()) {
            return Vec::new();
        }
        let frequencies = Grid::of([height, width]).frequencies();
        let squares = match self.squares_pay(frequencies.len()) {
            true => {
                let at: Vec<_> = frequencies.iter().map(|(f, _)| *f).collect();
                Symbols::of(&Taps::of(self, false)).eigenvalues(&at, [height, width])
            }
            false => vec![None; frequencies.len()],
        };
        frequencies
            .into_par_iter()
            .zip(squares)
            .flat_map_iter(|(((y, x), times), squares)| {
                let well = |v: &Vec<f64>| v.last() > v.first().map(|largest| largest * CONDITION * CONDITION).as_ref();
                let values =
                    squares.filter(well).map(|v| v.into_iter().map(f64::sqrt).collect()).unwrap_or_else(|| {
                        let symbol =
                            self.symbol(TAU * y as f64 / (2 * height) as f64, TAU * x as f64 / (2 * width) as f64);
                        symbol.singular_values().expect("finite matrices have singular values")
                    });
                values.into_iter().flat_map(move |v| std::iter::repeat_n(v, times))
            })
            .collect()
    }

    /// Whether the coefficients of `F F^H` cost less than they save at this many frequencies: they take `k^4 / 2`
    /// products of taps, and a decomposition of `F` some ten times its own product.
    fn squares_pay(&self, frequencies: usize) -> bool {
        let side = self.out_channels.min(self.in_channels);
        (2..=torus::SIDE_BY_SIDE).contains(&side) && self.kernel.pow(4) <= 8 * frequencies
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
