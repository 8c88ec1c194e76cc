//! A convolution as one matrix a tap, on its smaller side.
//!
//! `W W^T` and `W^T W` have the same largest eigenvalue, so bounds work on the one with fewer channels. The transpose of
//! a zero-padded (or circular) convolution with an odd kernel is the convolution with the mirrored kernel and the
//! channels exchanged, so both cases look alike: `side x depth` matrices `K_a`, and products `K_a K_b^T`.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};

use super::ConvLayer;

/// The taps of a convolution or of its transpose, whichever has fewer output channels.
pub(super) struct Taps {
    /// Rows of every matrix: the smaller number of channels.
    pub side: usize,
    /// Columns of every matrix: the larger number of channels.
    pub depth: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// One matrix a tap, row by row.
    matrices: Vec<Mat<f64>>,
    /// Frobenius norm of the whole kernel.
    pub frobenius: f64,
}

impl Taps {
    /// The taps of `layer`; with `swap_axes`, those of the layer on transposed images.
    pub fn of(layer: &ConvLayer<'_>, swap_axes: bool) -> Self {
        let (cout, cin, k) = (layer.out_channels, layer.in_channels, layer.kernel);
        let transposed = cin < cout;
        let (side, depth) = if transposed { (cin, cout) } else { (cout, cin) };
        let matrix = |tap: usize| {
            let tap = if swap_axes { tap % k * k + tap / k } else { tap };
            let value = |o: usize, i: usize, tap: usize| f64::from(layer.weight[(o * cin + i) * k * k + tap]);
            Mat::from_fn(side, depth, |r, c| match transposed {
                true => value(c, r, k * k - 1 - tap),
                false => value(r, c, tap),
            })
        };
        Taps { side, depth, kernel: k, matrices: (0..k * k).map(matrix).collect(), frobenius: layer.frobenius() }
    }

    /// `sum += K_a K_b^T`
    pub fn add_product(&self, a: usize, b: usize, sum: &mut Mat<f64>, par: Par) {
        matmul(sum, Accum::Add, &self.matrices[a], self.matrices[b].transpose(), 1.0, par);
    }

    /// How far the computed `W W^T`, or its symbol at any frequency, can be from the true one, in spectral norm.
    ///
    /// Every entry is a sum of at most `terms = depth k^2 + (2k - 1)^2` products, with cosines that are off by less than
    /// 32 eps, so the error is at most `(terms + 32) eps |W| |W|^T` entry by entry. `|W|` is the convolution with the
    /// kernel `|K|`, whose norm is at most `sum_a ||K_a||_F <= k ||K||_F`. Doubled to cover second-order terms.
    pub fn rounding(&self) -> f64 {
        let k = self.kernel;
        let terms = self.depth * k * k + (2 * k - 1) * (2 * k - 1) + 32;
        2.0 * terms as f64 * f64::EPSILON * ((k * k) as f64 * self.frobenius * self.frobenius)
    }
}
