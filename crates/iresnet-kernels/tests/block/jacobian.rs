//! Products with the Jacobian in float32 against those in float64.

use iresnet_kernels::*;
use proptest::prelude::*;

use crate::common::*;

/// float32 with float64 as the truth: 6e-8 a rounding, in sums of at most 13 * 25 products, three layers deep; 1e-6 is the
/// most that was seen. A product that is wrong by 1e-5 fails.
const SMOOTH: f64 = 5e-6;

/// float32 and float64 disagree on the side of ReLU's kink of a value as small as their rounding, and one such value is up
/// to a thousandth of a product.
const RELU: f64 = 1e-3;

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn products_match_float64((shape, samples) in any_shape(), seed in 0u64..1000, affine: bool) {
        let case = Case::new(shape, samples.min(LANES), seed, affine, false);
        let (v, c) = (values(case.images.len(), seed + 3), values(case.images.len(), seed + 4));
        let (x, v, c) = (case.packs(&case.images), case.packs(&v), case.packs(&c));
        let (mut jv, mut jc) = (wide(&x), wide(&x));
        case.precise().branch_jvp(&wide(&x), &wide(&v), &mut jv);
        case.precise().branch_vjp(&wide(&x), &wide(&c), &mut jc);
        // The float32 products are of g, the float64 ones of h g.
        jv.iter_mut().chain(&mut jc).for_each(|value| *value /= f64::from(shape.step));
        let tolerance = if shape.activation == Activation::Relu { RELU } else { SMOOTH };
        for level in Level::available() {
            let (plan, mut workspace) = (case.plan(level), Workspace::default());
            let (mut jv32, mut jc32) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            plan.jvp_pack(&x, &v, &mut jv32, &mut workspace);
            plan.vjp_input_pack(&x, &c, &mut jc32, &mut workspace);
            let (jvp, vjp) = (relative(&jv32, &jv), relative(&jc32, &jc));
            prop_assert!(jvp < tolerance && vjp < tolerance, "{level:?}: {jvp:e} {vjp:e}");
            let off: Vec<f32> = jv32.iter().map(|value| value * 1.000_01).collect();
            prop_assert!(relative(&off, &jv) > SMOOTH, "{level:?}: an error of 1e-5 passes");
        }
    }
}
