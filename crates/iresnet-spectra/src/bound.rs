//! Bounds whose types say which side they are on.
//!
//! Only rigorous methods of this crate make bounds. Outside it, an [`UpperBound`] comes from a method, or from sound
//! operations on numbers and other bounds: [`UpperBound::times`], [`UpperBound::plus_identity`],
//! [`UpperBound::diagonal`], [`UpperBound::of_factor`]. The last two are norms of maps that their arguments define. Anyone
//! may ask for such a norm: a certificate takes no bound from outside, it computes its own from a network's weights.
//!
//! An estimate from below is no upper bound, and there is no way to call it one:
//!
//! ```compile_fail,E0308
//! use iresnet_spectra::{LowerBound, UpperBound};
//! fn certify(bound: UpperBound) {}
//! fn estimate() -> LowerBound { unimplemented!() }
//! certify(estimate());
//! ```
//!
//! Nor can a number be declared to be a bound:
//!
//! ```compile_fail,E0423
//! let forged = iresnet_spectra::UpperBound(0.5);
//! ```
//!
//! ```compile_fail,E0423
//! let forged = iresnet_spectra::LowerBound(0.5);
//! ```
//!
//! ```compile_fail,E0624
//! let forged = iresnet_spectra::UpperBound::proved(0.5);
//! ```
//!
//! Bounds can be saved but not loaded: who has a bound from a file compares it with a new one.
//!
//! ```compile_fail,E0277
//! fn load<T: serde::de::DeserializeOwned>() {}
//! load::<iresnet_spectra::UpperBound>();
//! ```

use serde::{Serialize, Serializer};

use crate::layer::ConvLayer;

/// A number that the true value does not exceed.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct UpperBound(f64);

/// A number that the true value does not fall below.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct LowerBound(f64);

/// A norm between its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// From below.
    pub lower: LowerBound,
    /// From above.
    pub upper: UpperBound,
}

impl Interval {
    /// `(upper - lower) / upper`, or 0 where both are 0.
    pub fn relative_width(&self) -> f64 {
        if self.upper.0 > 0.0 { (self.upper.0 - self.lower.0) / self.upper.0 } else { 0.0 }
    }
}

impl UpperBound {
    /// What is always true.
    pub const INFINITE: UpperBound = UpperBound(f64::INFINITY);

    /// The bound as a number.
    pub fn value(self) -> f64 {
        self.0
    }

    /// What a rigorous method proves; NaN, which nothing proves, becomes infinity.
    pub(crate) fn proved(value: f64) -> Self {
        UpperBound(if value.is_nan() { f64::INFINITY } else { value })
    }

    /// Norm of `x -> factor x`: `|factor|`, infinite for NaN.
    pub fn of_factor(factor: f64) -> Self {
        UpperBound::proved(factor.abs())
    }

    /// Norm of a diagonal map: `max |factors|`, infinite with a NaN among them.
    pub fn diagonal(factors: &[f32]) -> Self {
        // `f64::max` would pass over NaN.
        let largest = |top: f64, f: &f32| if f.is_nan() { f64::INFINITY } else { top.max(f64::from(f.abs())) };
        UpperBound(factors.iter().fold(0.0, largest))
    }

    /// Norm of `A B` from those of `A` and `B`: their product, rounded up.
    pub fn times(self, other: UpperBound) -> Self {
        UpperBound::proved((self.0 * other.0).next_up())
    }

    /// Norm of `I + A` from that of `A`: `1 + ||A||`, rounded up.
    pub fn plus_identity(self) -> Self {
        UpperBound::proved((1.0 + self.0).next_up())
    }
}

impl LowerBound {
    /// The bound as a number.
    pub fn value(self) -> f64 {
        self.0
    }

    /// From a computed `||W v|| / ||v||` of the operator of `layer`, `v` of `len` values.
    ///
    /// Sums of `k^2 C` products make an error of at most `k^2 C eps` times `|W| |v|`, and the norm of `|W|` is at most
    /// `k ||K||_F`; the lengths themselves are off by less than `len eps`, relative.
    pub(crate) fn of_quotient(quotient: f64, len: usize, layer: &ConvLayer<'_>) -> Self {
        let terms = layer.kernel * layer.kernel * layer.in_channels.max(layer.out_channels) + 8;
        let longest = len.max(layer.height * layer.width * layer.in_channels.max(layer.out_channels));
        let image = terms as f64 * f64::EPSILON * layer.kernel as f64 * layer.frobenius();
        let lower = quotient * (1.0 - 2.0 * longest as f64 * f64::EPSILON) - image;
        LowerBound(if lower > 0.0 { lower } else { 0.0 })
    }
}

impl Serialize for UpperBound {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl Serialize for LowerBound {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_no_bound() {
        assert_eq!(UpperBound::proved(f64::NAN).value(), f64::INFINITY);
        assert_eq!(UpperBound::of_factor(f64::NAN), UpperBound::INFINITE);
        assert_eq!(UpperBound::diagonal(&[0.5, f32::NAN]), UpperBound::INFINITE);
        assert_eq!(UpperBound::of_factor(0.0).times(UpperBound::INFINITE), UpperBound::INFINITE);
        assert_eq!(UpperBound::INFINITE.plus_identity(), UpperBound::INFINITE);
    }

    #[test]
    fn norms_of_simple_maps() {
        assert_eq!(UpperBound::of_factor(-0.25).value(), 0.25);
        assert_eq!(UpperBound::diagonal(&[0.5, -2.0, 1.0]).value(), 2.0);
        assert_eq!(UpperBound::diagonal(&[]).value(), 0.0);
        // Above the exact results, by one rounding each: 0.1 is a little more than a tenth in float64.
        let tenth = UpperBound::of_factor(0.1);
        assert_eq!(tenth.times(tenth).value(), (0.1f64 * 0.1).next_up());
        assert_eq!(UpperBound::of_factor(f64::EPSILON / 4.0).plus_identity().value(), 1.0 + f64::EPSILON);
        // Products too small for float64 are not zero.
        let tiny = UpperBound::of_factor(1e-300);
        assert!(tiny.times(tiny).value() > 0.0);
    }
}
