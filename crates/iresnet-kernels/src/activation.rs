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

/// `exp(z)` for `z <= 0`, relative error below 2e-7: `2^n` times a polynomial on `[-ln2/2, ln2/2]`.
#[inline(always)]
fn exp_negative<S: Simd>(z: S) -> S {
    let z = z.max(S::splat(-87.0));
    let n = z.mul(S::splat(std::f32::consts::LOG2_E)).round();
    // ln 2 in two parts, so that n ln 2 is exact enough.
    let r = n.mul_add(S::splat(-0.693_145_75), z);
    let r = n.mul_add(S::splat(-1.428_606_8e-6), r);
    let one = S::splat(1.0);
    let p = r.mul_add(S::splat(1.0 / 5040.0), S::splat(1.0 / 720.0));
    let p = r.mul_add(p, S::splat(1.0 / 120.0));
    let p = r.mul_add(p, S::splat(1.0 / 24.0));
    let p = r.mul_add(p, S::splat(1.0 / 6.0));
    let p = r.mul_add(p, S::splat(0.5));
    r.mul_add(r.mul_add(p, one), one).times_power_of_two(n)
}

/// `exp(z) - 1` for `z <= 0` without cancellation near zero.
#[inline(always)]
fn expm1_negative<S: Simd>(z: S) -> S {
    // Near zero the series itself, elsewhere the difference, which loses no digits that matter there.
    let s = z.mul_add(S::splat(1.0 / 720.0), S::splat(1.0 / 120.0));
    let s = z.mul_add(s, S::splat(1.0 / 24.0));
    let s = z.mul_add(s, S::splat(1.0 / 6.0));
    let s = z.mul_add(s, S::splat(0.5));
    let series = z.mul(z).mul_add(s, z);
    S::if_positive(z.add(S::splat(0.25)), series, exp_negative(z).sub(S::splat(1.0)))
}

/// `-|z|`; NaN stays NaN.
#[inline(always)]
fn minus_abs<S: Simd>(z: S) -> S {
    S::if_positive(z, S::splat(0.0).sub(z), z)
}

#[inline(always)]
fn sigmoid<S: Simd>(z: S) -> S {
    let e = exp_negative(minus_abs(z));
    let one = S::splat(1.0);
    let small = e.div(one.add(e));
    S::if_positive(z, one.sub(small), small)
}

/// `ln(1 + e)` for `e` in `[0, 1]`, by `2 artanh(e / (2 + e))`.
#[inline(always)]
fn ln_1p<S: Simd>(e: S) -> S {
    let s = e.div(S::splat(2.0).add(e));
    let q = s.mul(s);
    let p = q.mul_add(S::splat(1.0 / 13.0), S::splat(1.0 / 11.0));
    let p = q.mul_add(p, S::splat(1.0 / 9.0));
    let p = q.mul_add(p, S::splat(1.0 / 7.0));
    let p = q.mul_add(p, S::splat(1.0 / 5.0));
    let p = q.mul_add(p, S::splat(1.0 / 3.0));
    let p = q.mul_add(p, S::splat(1.0));
    s.add(s).mul(p)
}

impl Activation {
    /// `κ(z)` of each lane; NaN stays NaN.
    #[inline(always)]
    pub(crate) fn apply<S: Simd>(self, z: S) -> S {
        match self {
            Activation::Relu => z.relu(),
            Activation::Elu => S::if_positive(z, z, expm1_negative(z)),
            Activation::Softplus => z.relu().add(ln_1p(exp_negative(minus_abs(z)))),
            Activation::LipSwish => z.mul(sigmoid(z)).mul(S::splat(1.0 / 1.1)),
        }
    }

    /// `κ'(z)` of each lane; 0 at the kink of ReLU, as in PyTorch.
    #[inline(always)]
    pub(crate) fn derivative<S: Simd>(self, z: S) -> S {
        match self {
            Activation::Relu => z.is_positive(),
            Activation::Elu => S::if_positive(z, S::splat(1.0), exp_negative(z)),
            Activation::Softplus => sigmoid(z),
            Activation::LipSwish => {
                let s = sigmoid(z);
                let slope = z.mul(s).mul_add(S::splat(1.0).sub(s), s);
                slope.mul(S::splat(1.0 / 1.1))
            }
        }
    }
}
