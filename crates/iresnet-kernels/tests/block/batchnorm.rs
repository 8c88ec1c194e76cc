//! Training BatchNorm against its definition in float64.

use iresnet_kernels::reference::convolve;
use iresnet_kernels::*;

use crate::common::*;

#[test]
fn batch_norm_gradients_match_differences() {
    for activate_input in [true, false] {
        let shape = BlockShape { activate_input, activation: Activation::Elu, ..block(5, 3, 6) };
        let case = Case::new(shape, 19, 14, false, true);
        let first = if activate_input { 0 } else { 1 };
        let len: usize = shape.channels()[first..].iter().map(|c| 2 * c.0).sum();
        let affine: Vec<f32> = values(len, 15).iter().map(|v| 1.0 + 0.3 * v).collect();
        let c = values(case.images.len(), 16);
        // The composition in float64 by the definition: statistics over the batch before every κ.
        let loss = |w: &[f64], affine: &[f64], images: &[f64]| -> f64 {
            let (area, n) = (36, case.samples);
            let mut z: Vec<Vec<f64>> = images.chunks_exact(shape.image.len()).map(<[f64]>::to_vec).collect();
            let mut at = 0;
            for i in 0..3 {
                let (cin, cout) = shape.channels()[i];
                if i >= first {
                    let (gamma, beta) = (&affine[at..at + cin], &affine[at + cin..at + 2 * cin]);
                    at += 2 * cin;
                    for ch in 0..cin {
                        let all = || z.iter().flat_map(|z| &z[ch * area..(ch + 1) * area]);
                        let mean = all().sum::<f64>() / (n * area) as f64;
                        let var = all().map(|v| (v - mean).powi(2)).sum::<f64>() / (n * area) as f64;
                        for z in &mut z {
                            for v in &mut z[ch * area..(ch + 1) * area] {
                                *v = reference::activate(
                                    shape.activation,
                                    (*v - mean) / (var + 1e-5).sqrt() * gamma[ch] + beta[ch],
                                );
                            }
                        }
                    }
                }
                let places = shape.places();
                for (s, z) in z.iter_mut().enumerate() {
                    if i == 2 {
                        let words = &case.mask.as_ref().unwrap()[s / LANES * 3 * area..][..3 * area];
                        for (v, w) in z.iter_mut().zip(words) {
                            *v *= if w >> (s % LANES) & 1 == 1 { f64::from(KEPT) } else { 0.0 };
                        }
                    }
                    *z = convolve(
                        z,
                        &w[places[2 * i].clone()],
                        &w[places[2 * i + 1].clone()],
                        cin,
                        cout,
                        shape.kernels[i],
                        6,
                        6,
                    );
                }
            }
            z.concat().iter().zip(images).zip(&c).map(|((g, x), c)| (x + g) * f64::from(*c)).sum()
        };
        let plan = case.plan(Level::current());
        let x = case.packs(&case.images);
        let mut y = vec![0.0; x.len()];
        let tape = plan.forward_batchnorm(&x, &mut y, case.samples, &affine, case.dropout());
        let value: f64 = case.images(&y).iter().zip(&c).map(|(y, c)| f64::from(*y) * f64::from(*c)).sum();
        let (w, a, p) = (wide(&case.weights), wide(&affine), wide(&case.images));
        assert!((value - loss(&w, &a, &p)).abs() < 1e-3, "{value} {}", loss(&w, &a, &p));
        let mut gradient = case.packs(&c);
        let (mut dw, mut da) = (vec![0.0; w.len()], vec![0.0; a.len()]);
        plan.backward_batchnorm(&x, &tape, &affine, &mut gradient, case.dropout(), &mut dw, &mut da);
        let dx = case.images(&gradient);
        let eps = 1e-6;
        let check = |name: &str, gradient: &[f32], at: &dyn Fn(&[f64]) -> f64| {
            let direction = wide(&values(gradient.len(), 17));
            let along: f64 = gradient.iter().zip(&direction).map(|(g, d)| f64::from(*g) * d).sum();
            let scaled = |s: f64| direction.iter().map(|d| s * d).collect::<Vec<f64>>();
            let difference = (at(&scaled(eps)) - at(&scaled(-eps))) / (2.0 * eps);
            let size = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            assert!((along - difference).abs() < 1e-4 * size + 1e-5, "{name}: {along} {difference}");
        };
        let plus = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<f64>>();
        check("weights", &dw, &|d| loss(&plus(&w, d), &a, &p));
        check("affine", &da, &|d| loss(&w, &plus(&a, d), &p));
        check("input", &dx, &|d| loss(&w, &a, &plus(&p, d)));
    }
}
