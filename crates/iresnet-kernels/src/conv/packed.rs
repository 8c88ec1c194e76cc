//! Convolution of one pack, stride 1 and zero 'same' padding, by the kernel that is faster for its shape.

use crate::buffer::Scratch;
use crate::conv::direct::DirectConv;
use crate::level::{Level, leveled};
use crate::output::Output;
use crate::plane::Plane;
use crate::shape::ConvShape;
use crate::simd::Simd;
use crate::source::Source;
use crate::winograd::WinogradConv;

/// Weights of one convolution, packed for the kernel that suits its shape.
#[derive(Clone, Debug)]
pub(crate) struct PackedConv {
    shape: ConvShape,
    weights: Weights,
    /// None for an adjoint.
    bias: Option<Vec<f32>>,
}

#[derive(Clone, Debug)]
enum Weights {
    Direct(DirectConv),
    Winograd(WinogradConv),
}

/// Channels, of the narrower side, from which on Winograd's transforms pay: measured on AVX-512, the direct kernel is
/// ahead at 12/3 and below.
const WINOGRAD_CHANNELS: usize = 4;

impl PackedConv {
    /// Packs `[out, in, k, k]` weights for the kernel that is faster.
    pub(crate) fn new(weights: &[f32], bias: Option<&[f32]>, shape: ConvShape, level: Level) -> Self {
        let ConvShape { in_channels, out_channels, kernel, .. } = shape;
        assert_eq!(weights.len(), out_channels * in_channels * kernel * kernel, "weights of a convolution");
        let pays = kernel == 3 && in_channels.min(out_channels) >= WINOGRAD_CHANNELS;
        let weights = match pays {
            true => Weights::Winograd(WinogradConv::new(weights, shape, level)),
            false => Weights::Direct(DirectConv::new(weights, shape)),
        };
        PackedConv { shape, weights, bias: bias.map(<[f32]>::to_vec) }
    }

    /// The adjoint of the convolution of this shape: channels exchanged, taps reversed, no bias.
    pub(crate) fn adjoint(weights: &[f32], shape: ConvShape, level: Level) -> Self {
        Self::new(&shape.adjoint_weights(weights), None, shape.adjoint(), level)
    }
}

#[inline(always)]
fn convolve_inner<S: Simd>(
    conv: &PackedConv,
    source: Source<'_>,
    bias: bool,
    scratch: &mut Scratch,
    output: Output<'_>,
) {
    let mut output = output;
    let bias = conv.bias.as_deref().filter(|_| bias);
    match &conv.weights {
        Weights::Winograd(winograd) => {
            let source = source.settled::<S>(conv.shape.in_channels, &mut scratch.plane);
            winograd.run::<S>(source, bias, &mut scratch.transforms, &mut output);
        }
        Weights::Direct(direct) => {
            let plane = Plane::of(&conv.shape);
            let input = scratch.plane.sized(plane.len());
            source.fill::<S>(plane, input);
            direct.run::<S>(plane, input, bias, &mut output);
        }
    }
}
leveled!(
    /// Convolves one pack, with or without the bias.
    ///
    /// Compiled on its own, once a level, rather than into every pass that uses it.
    pub(crate) fn convolve = convolve_inner(
        conv: &PackedConv, source: Source<'_>, bias: bool, scratch: &mut Scratch, output: Output<'_>
    )
);
