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
        let torus = UpperBound::zero_padded(&layer).value();
        prop_assert!(truth <= torus * (1.0 + 1e-12), "{torus} {truth}");
        // The dense norm itself is rounded.
        prop_assert!(norm.lower.value() <= truth * (1.0 + 1e-12) + 1e-300, "{norm:?} {truth}");
        prop_assert!(truth <= norm.upper.value() * (1.0 + 1e-12), "{norm:?} {truth}");
    }

    #[test]
    fn circular_values_are_those_of_the_circulant_operator(
        cin in 1..3usize, cout in 1..3usize, k in 0..3usize, height in 1..5usize, width in 1..5usize,
    ) {
        let kernel = 2 * k + 1;
        let weight: Vec<f32> = (0..cin * cout * kernel * kernel).map(|i| ((i * 37 + 11) % 23) as f32 / 11.0 - 1.0).collect();
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
