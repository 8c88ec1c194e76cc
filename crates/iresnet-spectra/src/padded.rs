//! The norm of the zero-padded convolution itself from above: Cholesky of `s I - W W^T`, which is block-banded.
//!
//! Pixels in rows, each with its channels, give blocks of side `B = width channels`; two image rows interact when they
//! are at most `k - 1` apart. The factorisation slides a window of `k` block rows down the image and costs about
//! `height B^3` times a constant, against `(height B)^3` for a dense matrix.

use faer::linalg::matmul::triangular::{BlockStructure, matmul};
use faer::linalg::triangular_solve::solve_lower_triangular_in_place;
use faer::{Accum, Mat, MatMut, Par};

use crate::layer::ConvLayer;
use crate::positive::{factorises, norm_bound};
use crate::taps::Taps;

/// `W W^T` of a zero-padded convolution, ready to be formed block by block.
pub(crate) struct PaddedGram {
    side: usize,
    kernel: usize,
    height: usize,
    width: usize,
    /// `K_a K_b^T` for all taps, `a` before `b`.
    products: Vec<Mat<f64>>,
    rounding: f64,
}

/// Floating-point operations of one factorisation, about.
pub(crate) fn cost(layer: &ConvLayer<'_>) -> f64 {
    let (long, short) = (layer.height.max(layer.width), layer.height.min(layer.width));
    let block = (short * layer.out_channels.min(layer.in_channels)) as f64;
    let reach = (layer.kernel - 1).min(long - 1) as f64;
    long as f64 * block.powi(3) * (1.0 / 3.0 + reach + reach * reach)
}

impl PaddedGram {
    /// Forms the products of taps.
    pub fn of(layer: &ConvLayer<'_>) -> Self {
        // Blocks are smaller along the shorter side.
        let swap = layer.width > layer.height;
        let (height, width) = if swap { (layer.width, layer.height) } else { (layer.height, layer.width) };
        let taps = Taps::of(layer, swap);
        let count = taps.kernel * taps.kernel;
        let mut products = vec![Mat::zeros(taps.side, taps.side); count * count];
        for (i, product) in products.iter_mut().enumerate() {
            taps.product(i / count, i % count, product.as_mut(), Accum::Replace, Par::Seq);
        }
        PaddedGram { side: taps.side, kernel: taps.kernel, height, width, products, rounding: taps.rounding() }
    }

    /// `window -= ` the block of `W W^T` between the image rows `p` and `q`.
    fn subtract(&self, p: usize, q: usize, mut window: MatMut<'_, f64>) {
        let (k, half, m) = (self.kernel, self.kernel / 2, self.side);
        // Taps with which both rows read the same row of the image: p + ay - half == q + by - half.
        for ay in 0..k {
            let Some(by) = (p + ay).checked_sub(q).filter(|by| *by < k) else { continue };
            if !(half..self.height + half).contains(&(p + ay)) {
                continue;
            }
            for x in 0..self.width {
                for z in x.saturating_sub(k - 1)..self.width.min(x + k) {
                    for ax in 0..k {
                        let Some(bx) = (x + ax).checked_sub(z).filter(|bx| *bx < k) else { continue };
                        if (half..self.width + half).contains(&(x + ax)) {
                            let product = &self.products[(ay * k + ax) * k * k + by * k + bx];
                            let mut to = window.as_mut().submatrix_mut(x * m, z * m, m, m);
                            to -= product;
                        }
                    }
                }
            }
        }
    }

    /// Upper bound of the norm if `norm^2 I - W W^T` is shown to be positive.
    pub fn bound_if_below(&self, norm: f64) -> Option<f64> {
        let (block, shift) = (self.width * self.side, norm * norm);
        let rows = self.kernel.min(self.height);
        let mut window = Mat::<f64>::zeros(rows * block, rows * block);
        let fill = |window: &mut Mat<f64>, first: usize, row: usize| {
            // Row `row` of the image, at its place in a window that begins with `first`, against those before it.
            for q in first..=row.min(self.height - 1) {
                if row < self.height {
                    let mut to =
                        window.as_mut().submatrix_mut((row - first) * block, (q - first) * block, block, block);
                    if q == row {
                        (0..block).for_each(|i| to[(i, i)] += shift);
                    }
                    self.subtract(row, q, to);
                }
            }
        };
        (0..rows).for_each(|row| fill(&mut window, 0, row));
        let par = Par::rayon(0);
        for first in 0..self.height {
            let left = rows.min(self.height - first);
            let (mut corner, _, mut below, mut rest) = window.as_mut().split_at_mut(block, block);
            if !factorises(corner.as_mut(), par) {
                return None;
            }
            let used = (left - 1) * block;
            let mut below = below.as_mut().subrows_mut(0, used);
            let mut rest = rest.as_mut().submatrix_mut(0, 0, used, used);
            solve_lower_triangular_in_place(corner.as_ref(), below.as_mut().transpose_mut(), par);
            matmul(
                rest.as_mut(),
                BlockStructure::TriangularLower,
                Accum::Add,
                below.as_ref(),
                BlockStructure::Rectangular,
                below.as_ref().transpose(),
                BlockStructure::Rectangular,
                -1.0,
                par,
            );
            let mut next = Mat::zeros(rows * block, rows * block);
            for c in 0..used {
                next.as_mut().submatrix_mut(c, c, used - c, 1).copy_from(rest.as_ref().submatrix(c, c, used - c, 1));
            }
            fill(&mut next, first + 1, first + rows);
            window = next;
        }
        Some(norm_bound(shift, self.height * block, self.rounding))
    }

    /// A bound that exceeds `lower`, itself a bound from below, by little more than the relative `surplus` if that one
    /// is tight.
    pub fn bound(&self, lower: f64, surplus: f64) -> f64 {
        let floor = lower.max(self.rounding.sqrt());
        let mut surplus = surplus;
        loop {
            match self.bound_if_below(floor * (1.0 + surplus)) {
                Some(bound) => return bound,
                None => surplus *= 2.0,
            }
        }
    }
}
