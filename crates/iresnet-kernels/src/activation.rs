//! The activations and their derivatives on lanes.

use crate::{LANES, V};

/// A 1-Lipschitz activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `max(z, 0)`
    Relu,
    /// `z` for `z > 0`, else `exp(z) - 1`
    Elu,
    /// `ln(1 + exp(z))`
    Softplus,
    /// `z sigmoid(z) / 1.1` (Chen et al. 2019)
    LipSwish,
}

/// `exp(z)` for `z <= 0`, relative error below 2e-7: `2^n` from the exponent bits times a polynomial on `[-ln2/2, ln2/2]`.
#[inline(always)]
fn exp_negative(z: f32) -> f32 {
    let z = z.max(-87.0);
    let n = (z * std::f32::consts::LOG2_E).round_ties_even();
    // ln 2 in two parts, so that n ln 2 is exact enough.
    let r = n.mul_add(-0.693_145_75, z);
    let r = n.mul_add(-1.428_606_8e-6, r);
    let p = r.mul_add(1.0 / 5040.0, 1.0 / 720.0);
    let p = r.mul_add(p, 1.0 / 120.0);
    let p = r.mul_add(p, 1.0 / 24.0);
    let p = r.mul_add(p, 1.0 / 6.0);
    let p = r.mul_add(p, 0.5);
    let p = r.mul_add(p, 1.0);
    let p = r.mul_add(p, 1.0);
    p * f32::from_bits(((n as i32 + 127) as u32) << 23)
}

/// `exp(z) - 1` for `z <= 0` without cancellation near zero.
#[inline(always)]
fn expm1_negative(z: f32) -> f32 {
    // Near zero the series itself, elsewhere the difference, which loses no digits that matter there.
    let s = z.mul_add(1.0 / 720.0, 1.0 / 120.0);
    let s = z.mul_add(s, 1.0 / 24.0);
    let s = z.mul_add(s, 1.0 / 6.0);
    let s = z.mul_add(s, 0.5);
    let series = (z * z).mul_add(s, z);
    if z > -0.25 { series } else { exp_negative(z) - 1.0 }
}

#[inline(always)]
fn sigmoid(z: f32) -> f32 {
    let e = exp_negative(-z.abs());
    let small = e / (1.0 + e);
    if z >= 0.0 { 1.0 - small } else { small }
}

/// `ln(1 + e)` for `e` in `[0, 1]`, by `2 artanh(e / (2 + e))`.
#[inline(always)]
fn ln_1p(e: f32) -> f32 {
    let s = e / (2.0 + e);
    let q = s * s;
    let p = q.mul_add(1.0 / 13.0, 1.0 / 11.0);
    let p = q.mul_add(p, 1.0 / 9.0);
    let p = q.mul_add(p, 1.0 / 7.0);
    let p = q.mul_add(p, 1.0 / 5.0);
    let p = q.mul_add(p, 1.0 / 3.0);
    let p = q.mul_add(p, 1.0);
    2.0 * s * p
}

impl Activation {
    /// `κ(z)` of each lane.
    #[inline(always)]
    pub(crate) fn apply(self, z: V) -> V {
        match self {
            Activation::Relu => z.map(|z| if z > 0.0 { z } else { z * 0.0 }),
            Activation::Elu => z.map(|z| if z > 0.0 { z } else { expm1_negative(z) }),
            Activation::Softplus => z.map(|z| z.max(0.0) + ln_1p(exp_negative(-z.abs())) + z * 0.0),
            Activation::LipSwish => z.map(|z| z * sigmoid(z) * (1.0 / 1.1)),
        }
    }

    /// `κ'(z)` of each lane; 0 at the kink of ReLU, as in PyTorch.
    #[inline(always)]
    pub(crate) fn derivative(self, z: V) -> V {
        match self {
            Activation::Relu => z.map(|z| if z > 0.0 { 1.0 } else { 0.0 }),
            Activation::Elu => z.map(|z| if z > 0.0 { 1.0 } else { exp_negative(z) }),
            Activation::Softplus => z.map(sigmoid),
            Activation::LipSwish => z.map(|z| {
                let s = sigmoid(z);
                (s + z * s * (1.0 - s)) * (1.0 / 1.1)
            }),
        }
    }
}

/// `a * b + c` of each lane.
#[inline(always)]
pub(crate) fn fma(a: f32, b: &V, c: &mut V) {
    for l in 0..LANES {
        c[l] = a.mul_add(b[l], c[l]);
    }
}

/// `a * b + c` of each lane.
#[inline(always)]
pub(crate) fn fma_vectors(a: &V, b: &V, c: &mut V) {
    for l in 0..LANES {
        c[l] = a[l].mul_add(b[l], c[l]);
    }
}
