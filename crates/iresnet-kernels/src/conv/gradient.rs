//! Gradients of a convolution's weights and biases:
//! `dW[o, i, ky, kx] = sum over positions and lanes of out[o, y, x] in[i, y + ky, x + kx]`.
//!
//! Directly for narrow and for 1x1 kernels; the others by [`crate::winograd`], whose sums stay in the transformed domain
//! until all packs are through.

use crate::buffer::{Buffer, Scratch};
use crate::conv::direct_gradient::add_direct;
use crate::lane::V;
use crate::level::{Level, leveled};
use crate::shape::ConvShape;
use crate::simd::Simd;
use crate::source::Source;
use crate::winograd::{WinogradGradient, add_products, add_taps};

/// Channels, of the narrower side, from which on Winograd's transforms pay, measured on AVX-512.
const WINOGRAD_CHANNELS: usize = 8;

/// Adds up the weight gradient of one convolution over packs.
pub(crate) struct GradientSums<'a> {
    shape: ConvShape,
    level: Level,
    /// Weights, then biases.
    gradient: &'a mut [f32],
    winograd: Option<(WinogradGradient, &'a mut Buffer)>,
    empty: bool,
}

impl<'a> GradientSums<'a> {
    /// `gradient` holds the weights' and then the biases' gradient, to which will be added; `sums` is working space.
    pub(crate) fn new(shape: ConvShape, level: Level, gradient: &'a mut [f32], sums: &'a mut Buffer) -> Self {
        let transformed = shape.kernel == 3 && shape.in_channels.min(shape.out_channels) >= WINOGRAD_CHANNELS;
        let winograd = transformed.then(|| (WinogradGradient::new(shape), sums));
        GradientSums { shape, level, gradient, winograd, empty: true }
    }

    /// Adds one pack.
    pub(crate) fn add(&mut self, input: Source<'_>, cotangent: &[V], step: f32, scratch: &mut Scratch) {
        let ConvShape { in_channels, out_channels, kernel, .. } = self.shape;
        let (weights, bias) = self.gradient.split_at_mut(out_channels * in_channels * kernel * kernel);
        bias_gradient(self.level, cotangent, step, bias);
        match &mut self.winograd {
            Some((winograd, sums)) => {
                let sums = sums.sized(winograd.len());
                add_products(self.level, winograd, input, cotangent, step, scratch, sums, self.empty);
            }
            None => add_direct(self.level, &self.shape, input, cotangent, step, &mut scratch.plane, weights),
        }
        self.empty = false;
    }

    /// Brings what is still transformed into the gradient.
    pub(crate) fn finish(self) {
        if let Some((winograd, sums)) = self.winograd.filter(|_| !self.empty) {
            add_taps(self.level, &winograd, sums.sized(winograd.len()), self.gradient);
        }
    }
}

#[inline(always)]
fn bias_inner<S: Simd>(cotangent: &[V], step: f32, bias: &mut [f32]) {
    let area = cotangent.len() / bias.len();
    for (bias, channel) in bias.iter_mut().zip(cotangent.chunks_exact(area)) {
        let mut sum = S::splat(0.0);
        for value in channel {
            sum = sum.add(S::load(value));
        }
        *bias += step * sum.sum();
    }
}
leveled!(fn bias_gradient = bias_inner(cotangent: &[V], step: f32, bias: &mut [f32]));
