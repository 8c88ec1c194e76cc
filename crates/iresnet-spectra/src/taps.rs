//! A convolution as one matrix a tap, on its smaller side.
//!
//! `W W^T` and `W^T W` have the same largest eigenvalue, so bounds work on the one with fewer channels. The transpose of
//! a zero-padded (or circular) convolution with an odd kernel is the convolution with the mirrored kernel and the
//! channels exchanged, so both cases look alike: `side x depth` matrices `K_a`, and products `K_a K_b^T`.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, Par};

use crate::layer::ConvLayer;
use crate::scratch::Matrix;

/// The taps of a convolution or of its transpose, whichever has fewer output channels.
pub(crate) struct Taps {
    /// Rows of every matrix: the smaller number of channels.
    pub side: usize,
    /// Columns of every matrix: the larger number of channels.
    pub depth: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// One matrix a tap, in the order of the kernel's rows.
    pub matrices: Vec<Matrix>,
    /// Frobenius norm of the whole kernel.
    pub frobenius: f64,
}

impl Taps {
    /// The taps of `layer`; with `swap_axes`, those of the layer on transposed images.
    pub fn of(layer: &ConvLayer<'_>, swap_axes: bool) -> Self {
        let (cout, cin, k) = (layer.out_channels, layer.in_channels, layer.kernel);
        let transposed = cin < cout;
        let (side, depth) = if transposed { (cin, cout) } else { (cout, cin) };
        let mut matrices: Vec<Matrix> = (0..k * k).map(|_| Matrix::new(side, depth)).collect();
        for (place, (column, row)) in (0..depth).flat_map(|c| (0..side).map(move |r| (c, r))).enumerate() {
            let (out, into) = if transposed { (column, row) } else { (row, column) };
            let taps = &layer.weight[(out * cin + into) * k * k..][..k * k];
            for (tap, matrix) in matrices.iter_mut().enumerate() {
                let tap = if swap_axes { tap % k * k + tap / k } else { tap };
                matrix.values[place] = f64::from(taps[if transposed { k * k - 1 - tap } else { tap }]);
            }
        }
        Taps { side, depth, kernel: k, matrices, frobenius: layer.frobenius() }
    }

    /// `K_a K_b^T`, added to `sum` or in its place.
    pub fn product(&self, a: usize, b: usize, sum: MatMut<'_, f64>, accum: Accum, par: Par) {
        matmul(sum, accum, self.matrices[a].as_ref(), self.matrices[b].as_ref().transpose(), 1.0, par);
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
