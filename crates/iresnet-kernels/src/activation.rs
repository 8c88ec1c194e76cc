//! The activations and their derivatives on lanes.

use crate::simd::Simd;

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
    let r = n * -0.693_145_75 + z;
    let r = n * -1.428_606_8e-6 + r;
    let p = r * (1.0 / 5040.0) + 1.0 / 720.0;
    let p = r * p + 1.0 / 120.0;
    let p = r * p + 1.0 / 24.0;
    let p = r * p + 1.0 / 6.0;
    let p = r * p + 0.5;
    let p = r * p + 1.0;
    let p = r * p + 1.0;
    p * f32::from_bits(((n as i32 + 127) as u32) << 23)
}

/// `exp(z) - 1` for `z <= 0` without cancellation near zero.
#[inline(always)]
fn expm1_negative(z: f32) -> f32 {
    // Near zero the series itself, elsewhere the difference, which loses no digits that matter there.
    let s = z * (1.0 / 720.0) + 1.0 / 120.0;
    let s = z * s + 1.0 / 24.0;
    let s = z * s + 1.0 / 6.0;
    let s = z * s + 0.5;
    let series = z * z * s + z;
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
    let p = q * (1.0 / 13.0) + 1.0 / 11.0;
    let p = q * p + 1.0 / 9.0;
    let p = q * p + 1.0 / 7.0;
    let p = q * p + 1.0 / 5.0;
    let p = q * p + 1.0 / 3.0;
    let p = q * p + 1.0;
    2.0 * s * p
}

/// `f` of each lane.
#[inline(always)]
fn each<S: Simd>(z: S, f: impl Fn(f32) -> f32) -> S {
    S::load(&z.array().map(f))
}

impl Activation {
    /// `κ(z)` of each lane; NaN stays NaN.
    #[inline(always)]
    pub(crate) fn apply<S: Simd>(self, z: S) -> S {
        match self {
            Activation::Relu => z.relu(),
            Activation::Elu => each(z, |z| if z > 0.0 || z.is_nan() { z } else { expm1_negative(z) }),
            Activation::Softplus => {
                each(z, |z| if z.is_nan() { z } else { z.max(0.0) + ln_1p(exp_negative(-z.abs())) })
            }
            Activation::LipSwish => each(z, |z| z * sigmoid(z) * (1.0 / 1.1)),
        }
    }

    /// `κ'(z)` of each lane; 0 at the kink of ReLU, as in PyTorch.
    #[inline(always)]
    pub(crate) fn derivative<S: Simd>(self, z: S) -> S {
        match self {
            Activation::Relu => z.is_positive(),
            Activation::Elu => each(z, |z| if z > 0.0 { 1.0 } else { exp_negative(z) }),
            Activation::Softplus => each(z, sigmoid),
            Activation::LipSwish => each(z, |z| {
                let s = sigmoid(z);
                (s + z * s * (1.0 - s)) * (1.0 / 1.1)
            }),
        }
    }
}
