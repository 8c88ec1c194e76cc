//! Bounds whose types say which side they are on. A certificate takes [`UpperBound`]s only, and only rigorous methods
//! make them.
//!
//! ```compile_fail
//! use iresnet::spectrum::{LowerBound, UpperBound};
//! // An estimate from below is no upper bound, and there is no way to call it one.
//! fn certify(bound: UpperBound) {}
//! fn estimate() -> LowerBound { unimplemented!() }
//! certify(estimate());
//! ```
//!
//! Nor can a number be declared to be a bound:
//!
//! ```compile_fail
//! let forged = iresnet::spectrum::UpperBound(0.5);
//! ```
//!
//! nor one taken for another's norm, nor a certificate changed once it is made:
//!
//! ```compile_fail
//! let forged = iresnet::spectrum::UpperBound::diagonal(&[0.5]);
//! ```
//!
//! ```compile_fail
//! fn forge(certificate: &mut iresnet::certificate::Certificate) {
//!     certificate.certified = true;
//! }
//! ```
//!
//! Bounds can be saved but not loaded: who has a certificate from a file compares it with a new one.
//!
//! ```compile_fail
//! let forged: iresnet::spectrum::UpperBound = serde_json::from_str("0.5").unwrap();
//! ```

use serde::{Serialize, Serializer};

use super::ConvLayer;

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
    /// The bound as a number.
    pub fn value(self) -> f64 {
        self.0
    }

    /// What a rigorous method or theory proves; NaN, which nothing proves, becomes infinity.
    pub(crate) fn proved(value: f64) -> Self {
        UpperBound(if value.is_nan() { f64::INFINITY } else { value })
    }

    /// `max |factors|`: the norm of a diagonal map.
    pub(crate) fn diagonal(factors: &[f32]) -> Self {
        // `f64::max` would pass over NaN.
        let largest = |top: f64, f: &f32| if f.is_nan() { f64::INFINITY } else { top.max(f64::from(f.abs())) };
        UpperBound(factors.iter().fold(0.0, largest))
    }

    /// Product of two bounds, rounded outwards.
    pub fn times(self, other: UpperBound) -> Self {
        UpperBound::proved((self.0 * other.0).next_up())
    }
}

impl LowerBound {
    /// The bound as a number.
    pub fn value(self) -> f64 {
        self.0
    }

    /// From a computed `||W v|| / ||v||`, `v` of `len` values.
    ///
    /// Sums of `k^2 C` products make an error of at most `k^2 C eps` times `|W| |v|`, and the norm of `|W|` is at most
    /// `k ||K||_F`; the lengths themselves are off by less than `len eps`, relative.
    pub(super) fn of_quotient(quotient: f64, len: usize, layer: &ConvLayer<'_>) -> Self {
        let terms = layer.kernel * layer.kernel * layer.in_channels.max(layer.out_channels) + 8;
        let longest = len.max(layer.height * layer.width * layer.in_channels.max(layer.out_channels));
        let image = terms as f64 * f64::EPSILON * layer.kernel as f64 * layer.frobenius();
        let lower = quotient * (1.0 - 2.0 * longest as f64 * f64::EPSILON) - image;
        LowerBound(if lower > 0.0 { lower } else { 0.0 })
    }
}

impl ConvLayer<'_> {
    /// `(sum of squares of all weights)^(1/2)`
    pub(super) fn frobenius(&self) -> f64 {
        self.weight.iter().map(|w| f64::from(*w) * f64::from(*w)).sum::<f64>().sqrt()
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
