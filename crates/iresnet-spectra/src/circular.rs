//! All singular values of a convolution with circular padding, exactly: those of its symbol
//! `F(w) = sum_d K_d exp(-i w.d)` at the frequencies of the image (Sedghi et al. 2018).

use std::f64::consts::TAU;

use faer::Mat;
use faer::complex::Complex;
use rayon::prelude::*;

use crate::grid::Grid;
use crate::layer::ConvLayer;
use crate::taps::Taps;
use crate::torus::{SIDE_BY_SIDE, Symbols};

/// Ratio of the smallest and the largest singular value below which squares are not used.
const CONDITION: f64 = 1e-3;

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
        (2..=SIDE_BY_SIDE).contains(&side) && self.kernel.pow(4) <= 8 * frequencies
    }

    /// All singular values with circular padding at the layer's own size, largest first.
    pub fn circular_spectrum(&self) -> Vec<f64> {
        let mut values = if self.kernel == 1 { self.circular(1, 1) } else { self.circular(self.height, self.width) };
        values.sort_by(|a, b| b.total_cmp(a));
        values
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, RngSeed};

    use super::*;

    proptest! {
        #![proptest_config(Config { cases: 300, rng_seed: RngSeed::Fixed(5), failure_persistence: None, ..Config::default() })]

        #[test]
        fn circular_values_are_those_of_the_circulant_operator(
            cin in 1..4usize, cout in 1..4usize, k in 0..3usize, height in 1..7usize, width in 1..7usize, dead in 0..3usize,
        ) {
            let kernel = 2 * k + 1;
            let mut weight: Vec<f32> = (0..cin * cout * kernel * kernel).map(|i| ((i * 37 + 11) % 23) as f32 / 11.0 - 1.0).collect();
            // A channel that training has almost or wholly switched off: singular values that squares would lose.
            weight[..cin * kernel * kernel].iter_mut().for_each(|w| *w *= [1.0, 1e-6, 0.0][dead]);
            let layer = ConvLayer { name: "k".into(), weight: &weight, out_channels: cout, in_channels: cin, kernel, height, width };
            let area = height * width;
            // The operator with indices taken modulo the size, kernels larger than the image wrapping around.
            let mut dense = vec![vec![0.0; cin * area]; cout * area];
            for o in 0..cout {
                for i in 0..cin {
                    for tap in 0..kernel * kernel {
                        for y in 0..height {
                            for x in 0..width {
                                let from_y = (y + height * kernel + tap / kernel - k) % height;
                                let from_x = (x + width * kernel + tap % kernel - k) % width;
                                dense[o * area + y * width + x][i * area + from_y * width + from_x] +=
                                    f64::from(weight[(o * cin + i) * kernel * kernel + tap]);
                            }
                        }
                    }
                }
            }
            let mut expected = Mat::<f64>::from_fn(cout * area, cin * area, |r, c| dense[r][c]).singular_values().unwrap();
            let mut values = layer.circular(height, width);
            for v in [&mut expected, &mut values] {
                v.sort_by(|a, b| b.total_cmp(a));
            }
            prop_assert_eq!(values.len(), expected.len());
            for (a, b) in values.iter().zip(&expected) {
                prop_assert!((a - b).abs() < 1e-10 * (1.0 + expected[0]), "{a} {b}");
            }
        }
    }
}
