//! The float64 block: its bounds, and its products with the Jacobian.

use iresnet_kernels::*;
use proptest::prelude::*;

use crate::common::*;

/// The step of differences. Rounding of sums, some 1e-15, is divided by it and seen up to 1e-8; the third derivative takes
/// part with its square, and ELU's second, which jumps at 0, only in the few values that close to it.
const EPS: f64 = 1e-6;

fn smooth() -> impl Strategy<Value = Activation> {
    prop::sample::select(vec![Activation::Elu, Activation::Softplus, Activation::LipSwish])
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn float64_keeps_its_bounds((shape, samples) in any_shape(), seed in 0u64..1000, affine: bool) {
        let case = Case::new(shape, samples, seed, affine, false);
        let block = case.precise();
        let x = wide(&case.packs(&case.images));
        let mut out = x.clone();
        block.branch(&x, &mut out);
        let (g, len, pack) = (case.branch(), shape.image.len(), shape.image.pack_len());
        let length = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
        for n in 0..samples {
            let at = n * len..(n + 1) * len;
            let size = length(&mut wide(&case.images[at.clone()]).into_iter());
            let found = |i: usize| out[n / LANES * pack + i * LANES + n % LANES];
            // The reference rounds as well, in another order.
            let bound = 2.0 * block.rounding(size);
            let apart = length(&mut g[at.clone()].iter().enumerate().map(|(i, g)| found(i) - 0.75 * g));
            prop_assert!(apart <= bound, "{apart:e} {bound:e}");
            let magnitude = block.magnitude(size);
            prop_assert!(length(&mut g[at].iter().map(|g| 0.75 * g)) <= magnitude * (1.0 + 1e-12));
            prop_assert!(bound <= 1e-12 * magnitude, "of use beside float32");
        }
    }

    #[test]
    fn jvp_matches_differences((shape, samples) in any_shape(), seed in 0u64..1000, affine: bool, kind in smooth()) {
        let case = Case::new(BlockShape { activation: kind, ..shape }, samples, seed, affine, false);
        let block = case.precise();
        let (x, v) = (wide(&case.packs(&case.images)), wide(&case.packs(&values(case.images.len(), seed + 3))));
        let at = |step: f64| -> Vec<f64> {
            let moved: Vec<f64> = x.iter().zip(&v).map(|(x, v)| x + step * v).collect();
            let mut out = moved.clone();
            block.branch(&moved, &mut out);
            out
        };
        let mut jv = x.clone();
        block.branch_jvp(&x, &v, &mut jv);
        let difference: Vec<f64> = at(EPS).iter().zip(&at(-EPS)).map(|(a, b)| (a - b) / (2.0 * EPS)).collect();
        let apart: f64 = jv.iter().zip(&difference).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        prop_assert!(apart <= 3e-8 * dot(&jv, &jv).sqrt(), "{apart:e}");
    }

    #[test]
    fn products_are_adjoint((shape, samples) in any_shape(), seed in 0u64..1000, affine: bool) {
        let case = Case::new(shape, samples, seed, affine, false);
        let block = case.precise();
        let pack = |images: &[f32]| wide(&case.packs(images));
        let (v, w) = (pack(&values(case.images.len(), seed + 3)), pack(&values(case.images.len(), seed + 4)));
        let (x, mut jv, mut jw) = (pack(&case.images), v.clone(), v.clone());
        block.branch_jvp(&x, &v, &mut jv);
        block.branch_vjp(&x, &w, &mut jw);
        let size = (dot(&jv, &jv) * dot(&w, &w)).sqrt();
        let apart = (dot(&w, &jv) - dot(&jw, &v)).abs();
        // Two orders of the same sums, some hundred roundings of 1e-16 each.
        prop_assert!(apart <= 1e-13 * size, "{apart:e} of {size:e}");
    }
}
