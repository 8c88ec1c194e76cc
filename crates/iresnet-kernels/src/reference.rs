//! The plain definition in float64, one loop an index: what every kernel is tested against.

use crate::activation::Activation;
use crate::block::BlockShape;

/// The blocks of the paper's and the ICML networks: channels, bottleneck, side of the image.
pub const NETWORK_BLOCKS: [(usize, usize, usize); 9] = [
    (12, 3, 32),
    (48, 12, 16),
    (192, 48, 8),
    (4, 1, 28),
    (16, 4, 14),
    (64, 16, 7),
    (16, 32, 32),
    (64, 64, 16),
    (256, 128, 8),
];

/// `κ(z)`
pub fn activate(kind: Activation, z: f64) -> f64 {
    match kind {
        // NaN stays NaN.
        Activation::Relu => {
            if z <= 0.0 {
                0.0
            } else {
                z
            }
        }
        Activation::Elu => {
            if z > 0.0 {
                z
            } else {
                z.exp_m1()
            }
        }
        Activation::Softplus => z.max(0.0) + (-z.abs()).exp().ln_1p(),
        Activation::LipSwish => z / (1.0 + (-z).exp()) / 1.1,
    }
}

/// `κ'(z)`; 0 at the kink of ReLU, as in PyTorch.
pub fn derivative(kind: Activation, z: f64) -> f64 {
    match kind {
        Activation::Relu => f64::from(u8::from(z > 0.0)),
        Activation::Elu => {
            if z > 0.0 {
                1.0
            } else {
                z.exp()
            }
        }
        Activation::Softplus => sigmoid(z),
        Activation::LipSwish => sigmoid(z) * (1.0 + z * sigmoid(-z)) / 1.1,
    }
}

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// Convolution of one image `[in, h, w]` with `[out, in, k, k]` weights, stride 1, zero 'same' padding.
pub fn convolve(
    x: &[f64],
    w: &[f64],
    b: &[f64],
    cin: usize,
    cout: usize,
    k: usize,
    h: usize,
    width: usize,
) -> Vec<f64> {
    let half = (k / 2) as isize;
    let mut out = vec![0.0; cout * h * width];
    for o in 0..cout {
        for y in 0..h {
            for p in 0..width {
                let mut sum = b[o];
                for i in 0..cin {
                    for ky in 0..k {
                        for kx in 0..k {
                            let (yy, xx) = (y as isize + ky as isize - half, p as isize + kx as isize - half);
                            if yy >= 0 && xx >= 0 && yy < h as isize && xx < width as isize {
                                sum += w[((o * cin + i) * k + ky) * k + kx]
                                    * x[(i * h + yy as usize) * width + xx as usize];
                            }
                        }
                    }
                }
                out[(o * h + y) * width + p] = sum;
            }
        }
    }
    out
}

/// `g(x)` of one image. `affine` holds scale and shift of each of the three maps; `mask` multiplies the input of the
/// last convolution, `[bottleneck, h, w]`.
pub fn branch(
    shape: &BlockShape,
    weights: &[f64],
    affine: Option<&[(Vec<f64>, Vec<f64>); 3]>,
    mask: Option<&[f64]>,
    x: &[f64],
) -> Vec<f64> {
    let (h, w) = (shape.image.height, shape.image.width);
    let places = shape.places();
    let mut z = x.to_vec();
    for i in 0..3 {
        let (cin, cout) = shape.channels()[i];
        let prepared = i > 0 || shape.activate_input;
        if let (Some(maps), true) = (affine, prepared) {
            for (at, z) in z.iter_mut().enumerate() {
                *z = *z * maps[i].0[at / (h * w)] + maps[i].1[at / (h * w)];
            }
        }
        if prepared {
            z.iter_mut().for_each(|z| *z = activate(shape.activation, *z));
        }
        if let (2, Some(mask)) = (i, mask) {
            z.iter_mut().zip(mask).for_each(|(z, m)| *z *= m);
        }
        let (weight, bias) = (&weights[places[2 * i].clone()], &weights[places[2 * i + 1].clone()]);
        z = convolve(&z, weight, bias, cin, cout, shape.kernels[i], h, w);
    }
    z
}
