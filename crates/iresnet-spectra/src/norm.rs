//! Which bound of a layer's norm to compute, and by which method it was found.

use std::sync::Mutex;

use faer::Mat;
use rayon::prelude::*;
use serde::Serialize;

use crate::bound::{Interval, LowerBound, UpperBound};
use crate::gram;
use crate::grid::Grid;
use crate::layer::ConvLayer;
use crate::operator::{Search, ZeroPadded};
use crate::padded::{self, PaddedGram};
use crate::progress::Progress;
use crate::taps::Taps;
use crate::torus::Symbols;

/// A rigorous way to bound the norm of a zero-padded convolution from above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The weights are one matrix: 1x1 kernels and linear layers, to about ten digits.
    Matrix,
    /// Cholesky factorisation of the banded `s I - W W^T` of the operator in use; within a few thousandths.
    ZeroPadded,
    /// Gram iteration on the explicit operator; within 1e-4, for small ones.
    Gram,
    /// The circular norm at `n + floor(k/2)` per axis, where nothing wraps around into the image: the outputs that are
    /// kept read at most `floor(k/2)` zeros beyond either edge, and the same zeros serve both edges. What wraps around may
    /// as well change its sign on the way; the smallest of the four such norms is taken. Above the true norm by about
    /// `(pi / n)^2 / 2` per axis at most, usually far less.
    Torus,
    /// Valid for images of every size: `max over an N-grid / cos^2(pi (k - 1) / (2 N))`, by Bernstein's inequality for
    /// trigonometric polynomials of degree `(k - 1) / 2` in each axis. 4 % above at the N that is used, `8 (k - 1)`.
    EverySize,
}

impl Method {
    /// Its name in a few words.
    pub fn label(self) -> &'static str {
        match self {
            Method::Matrix => "matrix",
            Method::ZeroPadded => "zero-padded operator",
            Method::Gram => "Gram iteration",
            Method::Torus => "torus",
            Method::EverySize => "all image sizes",
        }
    }
}

/// Largest operator whose explicit Gram matrix is formed.
const GRAM_SIDE: usize = 1024;

/// Operations that one layer's bound may take before a coarser method is chosen: about half a second.
const PADDED_BUDGET: f64 = 1e10;
const TORUS_BUDGET: f64 = 5e10;

/// Operations that the search from below may take.
const SEARCH_BUDGET: f64 = 2e10;

/// By how much a bound exceeds what was found from below, at best.
const SURPLUS: f64 = 2e-3;

/// [`ConvLayer::best_bound`] of many layers, some of them at the same time.
///
/// `progress` hears of layers, on whatever thread; it must not wait for rayon's. Layers that are large take memory at the
/// same time, one a thread and sometimes more.
pub fn best_bounds(layers: &[ConvLayer<'_>], progress: Progress<'_>) -> Vec<(UpperBound, Method)> {
    let done = Mutex::new(0);
    let bound = |layer: &ConvLayer<'_>| {
        let bound = layer.best_bound();
        if let Some(progress) = progress {
            // Held during the call, so that numbers rise.
            let mut done = done.lock().expect("progress does not panic");
            *done += 1;
            progress(*done, layers.len());
        }
        bound
    };
    // One by one, so that large layers are shared out evenly.
    layers.par_iter().with_max_len(1).map(bound).collect()
}

impl ConvLayer<'_> {
    /// A rigorous upper bound of the norm of the operator in use, and how it was found: the tightest method whose cost
    /// is small.
    ///
    /// Weights that are not finite have no norm: the bound is infinite.
    pub fn best_bound(&self) -> (UpperBound, Method) {
        let method = match self.kernel {
            1 => Method::Matrix,
            _ if padded::cost(self) <= PADDED_BUDGET => Method::ZeroPadded,
            _ if self.torus_cost() <= TORUS_BUDGET => Method::Torus,
            _ => Method::EverySize,
        };
        let bound = self.bound_by(method).unwrap_or(UpperBound::INFINITE);
        (bound, method)
    }

    /// The bound that `method` gives; `None` if the method does not apply to this layer: [`Method::Matrix`] with larger
    /// kernels, [`Method::Gram`] with large operators.
    pub fn bound_by(&self, method: Method) -> Option<UpperBound> {
        if !self.weight.iter().all(|w| w.is_finite()) {
            return Some(UpperBound::INFINITE);
        }
        if self.weight.iter().all(|w| *w == 0.0) {
            return Some(UpperBound::proved(0.0));
        }
        let bound = match method {
            Method::Matrix if self.kernel > 1 => return None,
            Method::Gram if self.smaller_side() > GRAM_SIDE => return None,
            Method::Matrix => {
                Symbols::of(&Taps::of(self, false)).bound(&[Grid::of([1, 1])], 1e-10, self.lower().value())
            }
            Method::ZeroPadded => PaddedGram::of(self).bound(self.lower().value(), SURPLUS),
            Method::Gram => self.gram_bound(),
            Method::Torus => {
                Symbols::for_bounds(&Taps::of(self, false)).bound(&Grid::twists(self.torus()), SURPLUS, 0.0)
            }
            Method::EverySize => {
                let grid = (8 * (self.kernel - 1)).max(1);
                let slope = std::f64::consts::PI * (self.kernel - 1) as f64 / (2 * grid) as f64;
                let cosine = slope.cos() * (1.0 - 4.0 * f64::EPSILON);
                (Symbols::for_bounds(&Taps::of(self, false)).bound(&[Grid::of([grid, grid])], SURPLUS, 0.0)
                    / (cosine * cosine))
                    .next_up()
            }
        };
        Some(UpperBound::proved(bound))
    }

    /// The zero-padded operator's norm between rigorous bounds.
    pub fn norm(&self) -> Interval {
        self.interval().0
    }

    /// [`ConvLayer::norm`] and how its upper end was found.
    pub fn interval(&self) -> (Interval, Method) {
        let (upper, method) = self.best_bound();
        (Interval { lower: self.lower(), upper }, method)
    }

    /// The zero-padded operator's norm from below.
    fn lower(&self) -> LowerBound {
        // A 1x1 kernel does the same at every pixel.
        let pixel = ConvLayer { height: 1, width: 1, ..self.clone() };
        let layer = if self.kernel == 1 { &pixel } else { self };
        ZeroPadded::new(layer).norm_from_below(layer.search())
    }

    /// Smaller side of the operator as a matrix.
    fn smaller_side(&self) -> usize {
        self.out_channels.min(self.in_channels) * self.height * self.width
    }

    fn torus(&self) -> [usize; 2] {
        [self.height + self.kernel / 2, self.width + self.kernel / 2]
    }

    /// A complex factorisation at half of the frequencies.
    fn torus_cost(&self) -> f64 {
        let side = self.out_channels.min(self.in_channels) as f64;
        Grid::of(self.torus()).frequencies().len() as f64 * side.powi(3) * 4.0 / 3.0
    }

    fn search(&self) -> Search {
        if self.height * self.width == 1 || self.kernel == 1 {
            return Search { steps: 200, tolerance: 1e-13 };
        }
        let step = 4.0 * (self.weight.len() * self.height * self.width) as f64;
        Search { steps: ((SEARCH_BUDGET / step) as usize).clamp(16, 64), tolerance: 1e-4 }
    }

    /// Gram iteration on the explicit operator.
    fn gram_bound(&self) -> f64 {
        let operator = ZeroPadded::new(self);
        let area = self.height * self.width;
        let side = self.smaller_side();
        // Column i of W W^T or W^T W.
        let column = |i: usize| {
            let mut unit = vec![0.0; side];
            unit[i] = 1.0;
            match self.out_channels <= self.in_channels {
                true => operator.apply(&operator.apply_transposed(&unit)),
                false => operator.apply_transposed(&operator.apply(&unit)),
            }
        };
        let images: Vec<Vec<f64>> = (0..side).map(column).collect();
        let matrix = Mat::from_fn(side, side, |r, c| images[c][r]);
        let terms = self.kernel * self.kernel * self.in_channels.max(self.out_channels);
        // Each weight acts on at most every pixel.
        gram::norm_bound(matrix, terms, self.frobenius() * (area as f64).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, RngSeed};

    use super::*;

    fn largest(values: &[f64]) -> f64 {
        values.iter().copied().fold(0.0, f64::max)
    }

    /// Norm of the explicit zero-padded operator.
    fn dense_norm(layer: &ConvLayer<'_>) -> f64 {
        let operator = ZeroPadded::new(layer);
        let columns = layer.in_channels * layer.height * layer.width;
        let rows = layer.out_channels * layer.height * layer.width;
        let images: Vec<Vec<f64>> = (0..columns)
            .map(|c| operator.apply(&(0..columns).map(|i| f64::from(u8::from(i == c))).collect::<Vec<_>>()))
            .collect();
        largest(&Mat::<f64>::from_fn(rows, columns, |r, c| images[c][r]).singular_values().unwrap())
    }

    #[test]
    fn the_circular_norm_is_no_bound_and_ours_is() {
        // One row of K = [1, 0, -1] at n = 6: 1.802 with zero padding, 1.732 circular.
        let mut weight = [0.0; 9];
        (weight[3], weight[5]) = (1.0, -1.0);
        let layer = ConvLayer {
            name: "k".into(),
            weight: &weight,
            out_channels: 1,
            in_channels: 1,
            kernel: 3,
            height: 1,
            width: 6,
        };
        let truth = dense_norm(&layer);
        assert!((truth - 1.802).abs() < 5e-4, "{truth}");
        assert!((largest(&layer.circular(1, 6)) - 1.732).abs() < 5e-4);
        let norm = layer.norm();
        assert!(norm.lower.value() <= truth * (1.0 + 1e-14) && truth <= norm.upper.value(), "{norm:?}");
    }

    proptest! {
        #![proptest_config(Config { cases: 300, rng_seed: RngSeed::Fixed(5), failure_persistence: None, ..Config::default() })]

        #[test]
        fn norms_lie_in_their_intervals(
            cin in 1..4usize, cout in 1..4usize, k in 0..4usize, height in 1..7usize, width in 1..7usize, seed in 0u64..1 << 40,
        ) {
            let kernel = 2 * k + 1;
            let weight: Vec<f32> = (0..cin * cout * kernel * kernel)
                .map(|i| ((seed.wrapping_mul(2862933555777941757).wrapping_add(i as u64 * 3037000493)) >> 33) as f32 / 1e9 - 1.0)
                .collect();
            let layer = ConvLayer { name: "k".into(), weight: &weight, out_channels: cout, in_channels: cin, kernel, height, width };
            let truth = dense_norm(&layer);
            let norm = layer.norm();
            // The dense norm itself is rounded.
            prop_assert!(norm.lower.value() <= truth * (1.0 + 1e-13), "{norm:?} {truth}");
            prop_assert!(truth <= norm.upper.value() * (1.0 + 1e-13), "{norm:?} {truth}");
            // Lanczos converges on operators as small as these, so the surplus is the one that is asked for, or twice it.
            prop_assert!(norm.relative_width() < 0.01, "{norm:?} {truth}");
            for method in [Method::Matrix, Method::ZeroPadded, Method::Gram, Method::Torus, Method::EverySize] {
                if let Some(bound) = layer.bound_by(method) {
                    prop_assert!(truth <= bound.value() * (1.0 + 1e-13), "{method:?} {bound:?} {truth}");
                }
            }
            prop_assert_eq!(layer.bound_by(Method::Matrix).is_some(), kernel == 1);
            if let Some(gram) = layer.bound_by(Method::Gram) {
                prop_assert!(gram.value() <= truth * (1.0 + 2e-4), "{gram:?} {truth}");
            }
            // The grid of frequencies costs at most 4 % and the surplus.
            let torus = layer.bound_by(Method::Torus).unwrap().value();
            let dense_grid = largest(&layer.circular(64, 64));
            let every = layer.bound_by(Method::EverySize).unwrap().value();
            prop_assert!(dense_grid <= every * (1.0 + 1e-13) && every <= dense_grid * 1.06, "{every} {dense_grid}");
            // Each twist of the torus is a bound by itself; the best is no worse than the plain one, which `circular` sees.
            let sides = [height + k, width + k];
            let symbols = Symbols::of(&Taps::of(&layer, false));
            for grid in Grid::twists(sides) {
                let bound = symbols.bound(&[grid], 1e-3, 0.0);
                prop_assert!(truth <= bound * (1.0 + 1e-13), "{grid:?} {bound} {truth}");
            }
            let circular = largest(&layer.circular(sides[0], sides[1]));
            prop_assert!(torus <= circular * 1.02, "{torus} {circular}");
        }
    }

    #[test]
    fn weights_without_a_norm() {
        fn layer(weight: &[f32]) -> ConvLayer<'_> {
            ConvLayer { name: "k".into(), weight, out_channels: 1, in_channels: 1, kernel: 3, height: 4, width: 4 }
        }
        let zero = [0.0; 9];
        assert_eq!(layer(&zero).norm().upper.value(), 0.0);
        for value in [f32::NAN, f32::INFINITY] {
            let mut weight = [0.1; 9];
            weight[4] = value;
            assert_eq!(layer(&weight).best_bound().0.value(), f64::INFINITY);
            assert!(layer(&weight).circular_spectrum().is_empty());
        }
        // The smallest and the largest that float32 holds.
        for value in [f32::from_bits(1), f32::MAX] {
            let weight = [value; 9];
            let norm = layer(&weight).norm();
            assert!(norm.upper.value().is_finite() && norm.relative_width() < 0.01, "{norm:?}");
        }
    }
}
