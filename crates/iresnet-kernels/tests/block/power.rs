//! Power iteration against the plain convolution.

use iresnet_kernels::reference::convolve;
use iresnet_kernels::*;
use proptest::prelude::*;

use crate::common::*;

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn power_iteration_finds_the_norm(cin in 1..5usize, cout in 1..5usize, k in 0..3usize, h in 1..6usize, w in 1..6usize) {
        let shape = ConvShape { in_channels: cin, out_channels: cout, kernel: 2 * k + 1, height: h, width: w };
        let weight = values(cin * cout * (2 * k + 1) * (2 * k + 1), 4);
        let (mut u, mut v) = (values(shape.left_len(), 5), values(shape.right_len(), 6));
        let mut jobs =
            [PowerJob { weight: &weight, shape, u: &mut u, v: &mut v, iterations: 30, sigma: 0.0 }];
        power_iterations(&mut jobs);
        let sigma = f64::from(jobs[0].sigma);
        // u . (W * v) in float64 by the plain definition is the same number.
        let (eh, ew) = if k == 0 { (1, 1) } else { (h, w) };
        let wv = convolve(&wide(&v), &wide(&weight), &vec![0.0; cout], cin, cout, 2 * k + 1, eh, ew);
        let rayleigh: f64 = wv.iter().zip(&u).map(|(a, b)| a * f64::from(*b)).sum();
        prop_assert!((sigma - rayleigh).abs() < 1e-5 * rayleigh, "{sigma} {rayleigh}");
        // And it is <W, P>.
        let mut p = vec![0.0; weight.len()];
        outer_correlation(&u, &v, &shape, &mut p);
        let inner: f64 = weight.iter().zip(&p).map(|(w, p)| f64::from(*w) * f64::from(*p)).sum();
        prop_assert!((inner - rayleigh).abs() < 1e-5 * rayleigh, "{inner} {rayleigh}");
    }
}
