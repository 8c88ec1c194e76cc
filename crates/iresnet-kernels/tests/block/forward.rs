//! Forward passes and fixed-point steps against the reference.

use iresnet_kernels::reference::NETWORK_BLOCKS;
use iresnet_kernels::*;
use proptest::prelude::*;

use crate::common::*;

/// float32 with float64 as the truth: rounding of sums of at most 13 * 25 products, three layers deep, and F(4x4)'s own.
const TOLERANCE: f64 = 3e-6;

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn forward_matches_the_reference((shape, samples) in any_shape(), seed in 0u64..1000, affine: bool, mask: bool) {
        let case = Case::new(shape, samples, seed, affine, mask);
        let g = case.branch();
        let expected: Vec<f64> = g.iter().zip(&case.images).map(|(g, x)| f64::from(*x) + 0.75 * g).collect();
        for level in Level::available() {
            let plan = case.plan(level);
            let mut out = case.packs(&vec![0.0; case.images.len()]);
            plan.forward(&case.packs(&case.images), &mut out, None, case.dropout());
            prop_assert!(relative(&case.images(&out), &expected) < TOLERANCE, "{level:?}");
        }
    }

    #[test]
    fn branch_and_fixed_point_match_the_reference((shape, samples) in any_shape(), seed in 0u64..1000, affine: bool) {
        let case = Case::new(shape, samples.min(LANES), seed, affine, false);
        let g = case.branch();
        let y = values(case.images.len(), seed + 2);
        for level in Level::available() {
            let plan = case.plan(level);
            let (x, y_packs) = (case.packs(&case.images), case.packs(&y));
            let (mut out, mut workspace) = (vec![0.0; x.len()], Workspace::default());
            plan.branch_pack(&x, &mut out, &mut workspace);
            prop_assert!(relative(&case.images(&out), &g) < TOLERANCE, "{level:?}");
            let expected: Vec<f64> = g.iter().zip(&y).map(|(g, y)| f64::from(*y) - 0.75 * g).collect();
            let mut moved = x.clone();
            let steps = plan.fixed_point_pack(&y_packs, &mut moved, None, None, &mut workspace);
            prop_assert!(relative(&case.images(&moved), &expected) < TOLERANCE, "{level:?}");
            let len = shape.image.len();
            for (lane, step) in steps.iter().enumerate().take(case.samples) {
                let at = lane * len..(lane + 1) * len;
                let truth: f64 =
                    expected[at.clone()].iter().zip(&case.images[at]).map(|(n, o)| (n - f64::from(*o)).powi(2)).sum();
                prop_assert!((f64::from(*step) - truth).abs() <= 1e-4 * truth + 1e-9, "{level:?}: {step} {truth}");
            }
        }
    }
}

#[test]
fn presets_are_accurate() {
    for (channels, bottleneck, size) in NETWORK_BLOCKS {
        let case = Case::new(block(channels, bottleneck, size), 2, 11, false, false);
        let expected = case.branch();
        let mut out = case.packs(&vec![0.0; case.images.len()]);
        let plan = case.plan(Level::current());
        plan.branch_pack(&case.packs(&case.images), &mut out, &mut Workspace::default());
        let error = relative(&case.images(&out), &expected);
        assert!(error < TOLERANCE, "{channels}/{bottleneck} at {size}: {error:e}");
    }
}

#[test]
fn a_sample_does_not_depend_on_its_neighbours() {
    let case = Case::new(block(16, 4, 14), 37, 12, false, false);
    let plan = case.plan(Level::current());
    let mut together = case.packs(&vec![0.0; case.images.len()]);
    plan.forward(&case.packs(&case.images), &mut together, None, None);
    let together = case.images(&together);
    let len = case.shape.image.len();
    for n in [0, 15, 16, 36] {
        let alone = Case { samples: 1, images: case.images[n * len..(n + 1) * len].to_vec(), ..case.clone() };
        let mut out = alone.packs(&vec![0.0; len]);
        plan.forward(&alone.packs(&alone.images), &mut out, None, None);
        assert_eq!(alone.images(&out), together[n * len..(n + 1) * len], "sample {n}, bit for bit");
    }
}
