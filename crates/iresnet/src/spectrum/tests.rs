//! Bounds against the dense singular values of the whole operator.

use faer::Mat;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

use super::*;

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

#[test]
fn nan_is_no_bound() {
    assert_eq!(UpperBound::proved(f64::NAN).value(), f64::INFINITY);
    assert_eq!(UpperBound::diagonal(&[0.5, f32::NAN]).value(), f64::INFINITY);
    assert_eq!(UpperBound::proved(0.0).times(UpperBound::proved(f64::INFINITY)).value(), f64::INFINITY);
}
