//! Gradients of weights and input against differences and against the definition in float64.

use iresnet_kernels::reference::{NETWORK_BLOCKS, convolve, derivative};
use iresnet_kernels::*;
use proptest::prelude::*;

use crate::common::*;

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn weight_gradients_match_differences((shape, samples) in any_shape(), seed in 0u64..1000, mask: bool) {
        let case = Case::new(shape, samples, seed, false, mask);
        let c = values(case.images.len(), seed + 5);
        let direction = values(case.weights.len(), seed + 6);
        let eps = 1e-6;
        let loss = |sign: f64| -> f64 {
            let w: Vec<f64> =
                case.weights.iter().zip(&direction).map(|(w, d)| f64::from(*w) + sign * eps * f64::from(*d)).collect();
            0.75 * case.branch_at(&w, &wide(&case.images)).iter().zip(&c).map(|(g, c)| g * f64::from(*c)).sum::<f64>()
        };
        let difference = (loss(1.0) - loss(-1.0)) / (2.0 * eps);
        // A difference sees both sides of a kink of ReLU; elsewhere float32's rounding is left, 1e-6, and its own 1e-7.
        let tolerance = if shape.activation == Activation::Relu { 1e-3 } else { 1e-5 };
        for level in Level::available() {
            let plan = case.plan(level);
            let mut gradient = case.packs(&c);
            let mut weights = vec![0.0; case.weights.len()];
            case.backward(&plan, &mut gradient, &mut weights);
            let along: f64 = weights.iter().zip(&direction).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
            let size: f64 = weights.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            prop_assert!((along - difference).abs() <= tolerance * size + 1e-6, "{level:?}: {along} {difference}");
        }
    }
}

/// dL/d(input of a convolution) and dL/dw, dL/db from dL/d(its output), in float64 by the definition.
fn convolution_gradients(
    a: &[f64],
    d: &[f64],
    w: &[f64],
    (cin, cout): (usize, usize),
    k: usize,
    image: ImageShape,
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (h, width, half) = (image.height as isize, image.width as isize, (k / 2) as isize);
    let (mut da, mut dw) = (vec![0.0; a.len()], vec![0.0; w.len()]);
    let area = image.height * image.width;
    for o in 0..cout {
        for i in 0..cin {
            for tap in 0..k * k {
                let (ky, kx) = ((tap / k) as isize - half, (tap % k) as isize - half);
                let at = (o * cin + i) * k * k + tap;
                for y in 0.max(-ky)..h.min(h - ky) {
                    for x in 0.max(-kx)..width.min(width - kx) {
                        let out = o * area + (y * width + x) as usize;
                        let input = i * area + ((y + ky) * width + x + kx) as usize;
                        dw[at] += d[out] * a[input];
                        da[input] += d[out] * w[at];
                    }
                }
            }
        }
    }
    (da, dw, d.chunks_exact(area).map(|channel| channel.iter().sum()).collect())
}

/// Gradients of `sum of c . (x + h g(x))` with respect to x and the weights, in float64.
fn reference_gradients(case: &Case, c: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let (shape, places) = (&case.shape, case.shape.places());
    let (weights, kind) = (wide(&case.weights), case.shape.activation);
    let (mut dx, mut dw) = (Vec::new(), vec![0.0; weights.len()]);
    for (image, c) in case.images.chunks_exact(shape.image.len()).zip(c.chunks_exact(shape.image.len())) {
        let mut z = vec![wide(image)];
        let activate = |z: &[f64]| z.iter().map(|z| reference::activate(kind, *z)).collect::<Vec<f64>>();
        for i in 0..2 {
            let (cin, cout) = shape.channels()[i];
            let (w, b) = (&weights[places[2 * i].clone()], &weights[places[2 * i + 1].clone()]);
            let (k, h, width) = (shape.kernels[i], shape.image.height, shape.image.width);
            z.push(convolve(&activate(&z[i]), w, b, cin, cout, k, h, width));
        }
        let mut d: Vec<f64> = c.iter().map(|c| f64::from(*c) * f64::from(shape.step)).collect();
        for i in (0..3).rev() {
            let w = &weights[places[2 * i].clone()];
            let (da, part, bias) =
                convolution_gradients(&activate(&z[i]), &d, w, shape.channels()[i], shape.kernels[i], shape.image);
            dw[places[2 * i].clone()].iter_mut().zip(&part).for_each(|(to, from)| *to += from);
            dw[places[2 * i + 1].clone()].iter_mut().zip(&bias).for_each(|(to, from)| *to += from);
            d = da.iter().zip(&z[i]).map(|(da, z)| da * derivative(kind, *z)).collect();
        }
        dx.extend(d.iter().zip(c).map(|(d, c)| d + f64::from(*c)));
    }
    (dx, dw)
}

#[test]
fn presets_have_accurate_gradients() {
    // Smooth activations: float32 and float64 disagree on which side of ReLU's kink a value as small as their rounding
    // lies, and one such value is a thousandth of a gradient.
    for (channels, bottleneck, size) in NETWORK_BLOCKS {
        for activation in [Activation::Elu, Activation::Softplus, Activation::LipSwish] {
            let shape = BlockShape { activation, ..block(channels, bottleneck, size) };
            let case = Case::new(shape, 2, 21, false, false);
            let c = values(case.images.len(), 22);
            let (dx, dw) = reference_gradients(&case, &c);
            let plan = case.plan(Level::current());
            let (mut gradient, mut weights) = (case.packs(&c), vec![0.0; case.weights.len()]);
            case.backward(&plan, &mut gradient, &mut weights);
            let (input, all) = (relative(&case.images(&gradient), &dx), relative(&weights, &dw));
            // float32's rounding, 6e-8, in sums of up to 2304 products, three layers each way.
            assert!(input < 3e-6 && all < 3e-6, "{channels}/{bottleneck} at {size}: {input:e} {all:e}");
        }
    }
}

#[test]
fn gradients_are_the_first_term_of_taylors_series() {
    let shape = BlockShape { activation: Activation::Softplus, step: 0.75, ..block(16, 8, 6) };
    let case = Case::new(shape, 3, 23, false, true);
    let c = values(case.images.len(), 24);
    let plan = case.plan(Level::current());
    let (mut gradient, mut weights) = (case.packs(&c), vec![0.0; case.weights.len()]);
    case.backward(&plan, &mut gradient, &mut weights);
    let direction = wide(&values(case.weights.len(), 25));
    let along: f64 = weights.iter().zip(&direction).map(|(g, d)| f64::from(*g) * d).sum();
    let loss = |eps: f64| -> f64 {
        let w: Vec<f64> = case.weights.iter().zip(&direction).map(|(w, d)| f64::from(*w) + eps * d).collect();
        0.75 * case.branch_at(&w, &wide(&case.images)).iter().zip(&c).map(|(g, c)| g * f64::from(*c)).sum::<f64>()
    };
    // What is left falls with the square of the step, as long as it is above float32's rounding.
    let rest = |eps: f64| (loss(eps) - loss(0.0) - eps * along).abs();
    for eps in [4e-2, 2e-2, 1e-2] {
        let order = (rest(eps) / rest(eps / 2.0)).log2();
        assert!((order - 2.0).abs() < 0.2, "at {eps}: {order}");
    }
}

#[test]
fn gradients_do_not_depend_on_the_number_of_threads() {
    // Direct and transformed weight gradients.
    for (channels, bottleneck, size) in [(16, 4, 14), (24, 12, 7)] {
        let case = Case::new(block(channels, bottleneck, size), 100, 13, false, true);
        let plan = case.plan(Level::current());
        let affine: Vec<f32> = values(2 * (channels + 2 * bottleneck), 15).iter().map(|v| 1.0 + 0.3 * v).collect();
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (mut gradient, mut weights) = (case.packs(&case.images), vec![0.0; case.weights.len()]);
                case.backward(&plan, &mut gradient, &mut weights);
                let x = case.packs(&case.images);
                let (mut y, mut through, mut dw, mut da) = (x.clone(), x.clone(), weights.clone(), affine.clone());
                let tape = plan.forward_batchnorm(&x, &mut y, case.samples, &affine, case.dropout());
                plan.backward_batchnorm(&x, &tape, &affine, &mut through, case.dropout(), &mut dw, &mut da);
                (gradient, weights, y, through, dw, da)
            })
        };
        assert_eq!(run(1), run(3));
    }
}
