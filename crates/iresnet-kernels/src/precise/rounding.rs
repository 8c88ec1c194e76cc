//! Norms of a stage, one activation and the convolution behind it, for bounds on rounding.

use crate::activation::Activation;
use crate::block::Affine;
use crate::reference::activate;
use crate::shape::ConvShape;

/// Roundings that an activation's own evaluation counts for: some units in the last place of the mathematical library.
const ACTIVATION: f64 = 16.0;

/// One activation and the convolution behind it, by norms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stage {
    /// Largest scale of the affine map.
    gain: f64,
    /// Norm of what the affine map adds, over all pixels, and of κ(0).
    shift: f64,
    /// Norm of the convolution with absolute values of its weights, at most.
    norm: f64,
    /// Norm of its biases over all pixels.
    bias: f64,
    /// Operations in a row, at most, that a value passes.
    pub operations: f64,
}

impl Stage {
    /// Of a convolution behind `activation`, if there is one, and the affine map before that.
    pub(crate) fn new(
        weight: &[f32],
        bias: &[f32],
        conv: &ConvShape,
        activation: Option<Activation>,
        map: Option<Affine<'_>>,
    ) -> Self {
        let pixels = ((conv.height * conv.width) as f64).sqrt();
        let taps = conv.kernel * conv.kernel;
        let tap = |t: usize| length(weight[t..].iter().step_by(taps));
        let constant = activation.map_or(0.0, |activation| activate(activation, 0.0).abs());
        Stage {
            gain: map.map_or(1.0, |map| largest(map.scale)),
            shift: pixels
                * (map.map_or(0.0, |map| length(map.shift.iter())) + constant * (conv.in_channels as f64).sqrt()),
            norm: (0..taps).map(tap).sum(),
            bias: pixels * length(bias.iter()),
            operations: (conv.in_channels * taps) as f64 + 4.0 + ACTIVATION,
        }
    }

    /// Norm of what an evaluation at an input of length `size` adds up, terms that cancel included.
    pub(crate) fn magnitude(&self, size: f64) -> f64 {
        self.norm * (self.gain * size + self.shift) + self.bias
    }
}

/// The largest absolute value; NaN if there is one.
fn largest(values: &[f32]) -> f64 {
    let sizes = values.iter().map(|v| f64::from(v.abs()));
    sizes.fold(0.0, |largest: f64, size| if largest >= size || largest.is_nan() { largest } else { size })
}

fn length<'a>(values: impl Iterator<Item = &'a f32>) -> f64 {
    values.map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt()
}
