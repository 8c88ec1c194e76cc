//! The trunk composed of burn's operations, but for the gradients in [`crate::convolution`].

use std::ops::Range;

use burn::Tensor;
use burn::tensor::TensorData;
use iresnet::flow::LANES;
use iresnet::model::layout::{BatchNorm, Block, Conv};
use iresnet::model::weights_in_use::spectral_factor;
use iresnet::model::{Dropout, IResNet, correlation};
use rayon::prelude::*;

use crate::activation::activate;
use crate::convolution::same_convolution;
use crate::normalization::{Statistics, batch_norm};
use crate::parameters::Leaves;

/// 2x2 space to depth in PyTorch's channel order: `[n, C, H, W]` to `[n, 4C, H/2, W/2]`.
fn pixel_unshuffle(x: Tensor<4>) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    x.reshape([n, c, h / 2, 2, w / 2, 2]).permute([0, 1, 3, 5, 2, 4]).reshape([n, 4 * c, h / 2, w / 2])
}

/// The trunk of a network for one pass.
pub(crate) struct Trunk<'a> {
    pub model: &'a IResNet,
    pub parameters: &'a Leaves<'a>,
    /// None in evaluation.
    pub dropout: Option<&'a Dropout>,
}

impl Trunk<'_> {
    /// Latents `[n, C, H, W]` of images `[n, channels, height, width]`.
    pub(crate) fn forward(&self, images: Tensor<4>, statistics: &mut Statistics<'_>) -> Tensor<4> {
        let layout = self.model.layout();
        let [n, _, h, w] = images.dims();
        let zeros = layout.padded.channels - layout.input.channels;
        let mut x = images;
        if zeros > 0 {
            let padding = Tensor::zeros([n, zeros, h, w], &x.device());
            x = Tensor::cat(vec![x, padding], 1);
        }
        let mut index = 0;
        for (s, stage) in layout.stages.iter().enumerate() {
            if s > 0 {
                x = pixel_unshuffle(x);
            }
            for block in &stage.blocks {
                if let Some(place) = &block.actnorm {
                    x = self.actnorm(place.clone(), x);
                }
                x = x.clone() + self.branch(block, index, x, statistics) * block.shape.step;
                index += 1;
            }
        }
        x
    }

    /// `exp(l_c) x + b_c` with the log-scales and shifts in `place`.
    fn actnorm(&self, place: Range<usize>, x: Tensor<4>) -> Tensor<4> {
        let channels = place.len() / 2;
        let of_channels = |from: usize| {
            let values = self.parameters.part(place.start + from..place.start + from + channels);
            values.reshape([1, channels, 1, 1])
        };
        x * of_channels(0).exp() + of_channels(channels)
    }

    fn branch(&self, block: &Block, index: usize, x: Tensor<4>, statistics: &mut Statistics<'_>) -> Tensor<4> {
        let mut x = x;
        for i in 0..3 {
            if let Some(BatchNorm { scale, shift, statistics: range, .. }) = &block.norms[i] {
                let affine = [scale, shift].map(|place| self.parameters.part(place.clone()));
                x = batch_norm(x, affine, range.clone(), statistics);
            }
            if i > 0 || block.shape.activate_input {
                x = activate(x, self.model.config().activation);
            }
            if i == 2
                && let Some(dropout) = self.dropout
            {
                x = drop_out(dropout, index, x);
            }
            x = self.conv(&block.convs[i], 3 * index + i, x);
        }
        x
    }

    /// `W~ * x + b`; the gradient flows through `sigma = <W, P>`, P the correlation of the constant u and v.
    fn conv(&self, conv: &Conv, index: usize, x: Tensor<4>) -> Tensor<4> {
        let shape = [conv.out_channels, conv.in_channels, conv.kernel, conv.kernel];
        let mut weight = self.parameters.part(conv.weight.clone()).reshape(shape);
        let bias = self.parameters.part(conv.bias.clone());
        if let Some(coeff) = self.model.config().norm.coeff() {
            let power = &self.model.state().power[index];
            if spectral_factor(coeff, power.sigma) < 1.0 {
                let correlation = TensorData::new(correlation(conv, power), shape);
                let correlation = Tensor::from_data(correlation, &x.device());
                let sigma = (weight.clone() * correlation).sum().reshape([1, 1, 1, 1]);
                weight = weight * (sigma.recip() * coeff);
            }
        }
        same_convolution(x, weight, bias)
    }
}

/// Values times the keep-bits of block number `index` and their scale.
fn drop_out(dropout: &Dropout, index: usize, x: Tensor<4>) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    let positions = c * h * w;
    let bits = dropout.bits(index, n.div_ceil(LANES), positions);
    let factor = |i: usize| {
        let (sample, position) = (i / positions, i % positions);
        let word = bits[sample / LANES * positions + position];
        if word >> (sample % LANES) & 1 == 1 { dropout.scale() } else { 0.0 }
    };
    let mask: Vec<f32> = (0..n * positions).into_par_iter().map(factor).collect();
    let mask = Tensor::from_data(TensorData::new(mask, [n, c, h, w]), &x.device());
    x * mask
}
