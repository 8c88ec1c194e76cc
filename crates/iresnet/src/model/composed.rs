//! The trunk composed of the framework's own operations, but for the gradients in [`super::convolution`]: the path of every
//! back end without fused kernels, and the independent second opinion that the fused path is tested against.

use std::cell::RefCell;
use std::ops::Range;

use burn::Tensor;
use burn::tensor::{Device, Gradients, Transaction, activation};
use rayon::prelude::*;

use super::config::Activation;
use super::convolution::same_convolution;
use super::dropout::Dropout;
use super::effective::{BATCHNORM_EPS, spectral_factor};
use super::layout::{BatchNorm, Block, Conv};
use super::norms::{PowerState, conv_shape};
use super::tape::{BatchStatistics, TrainingPass};

/// 2x2 space to depth in PyTorch's channel order: `[n, C, H, W]` to `[n, 4C, H/2, W/2]`.
pub(crate) fn pixel_unshuffle(x: Tensor<4>) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    x.reshape([n, c, h / 2, 2, w / 2, 2]).permute([0, 1, 3, 5, 2, 4]).reshape([n, 4 * c, h / 2, w / 2])
}

/// κ of every value.
pub(crate) fn activate(x: Tensor<4>, kind: Activation) -> Tensor<4> {
    match kind {
        Activation::Relu => activation::relu(x),
        // exp only sees the negative part, so that large inputs stay finite.
        Activation::Elu => activation::relu(x.clone()) + (x.clamp_max(0.0).exp() - 1.0),
        Activation::Softplus => activation::relu(x.clone()) + (x.abs().neg().exp() + 1.0).log(),
        Activation::Lipswish => activation::sigmoid(x.clone()) * x / 1.1,
    }
}

/// The values of each tensor, in one transfer: a device that is waited for after each has nothing to do.
fn read(tensors: impl Iterator<Item = Tensor<1>>) -> impl Iterator<Item = Vec<f32>> {
    let data = tensors.fold(Transaction::default(), Transaction::register).execute();
    data.into_iter().map(|data| data.try_into_vec().expect("float32"))
}

type Leaf = (Range<usize>, Tensor<1>);

/// Parts of a parameter vector as tensors of their own, made as they are asked for: on the way back, a slice of one tensor
/// would have a gradient as large as the whole.
pub(crate) struct Leaves<'a> {
    values: &'a [f32],
    device: &'a Device,
    /// With the range of each; none where no gradient is wanted.
    made: Option<RefCell<Vec<Leaf>>>,
}

impl<'a> Leaves<'a> {
    /// Constants.
    pub(crate) fn constant(values: &'a [f32], device: &'a Device) -> Self {
        Leaves { values, device, made: None }
    }

    /// Leaves of the autodiff graph, one backward pass from which must follow: the graph keeps what a forward pass leaves
    /// in it until then.
    pub(crate) fn tracked(values: &'a [f32], device: &'a Device) -> Self {
        Leaves { values, device, made: Some(RefCell::default()) }
    }

    fn part(&self, range: &Range<usize>) -> Tensor<1> {
        let tensor = Tensor::from_floats(&self.values[range.clone()], self.device);
        let Some(made) = &self.made else { return tensor };
        let leaf = tensor.require_grad();
        made.borrow_mut().push((range.clone(), leaf.clone()));
        leaf
    }

    /// Gradient of the vector; zero where no part was asked for.
    pub(crate) fn gradient(&self, grads: &Gradients) -> Vec<f32> {
        let mut gradient = vec![0.0; self.values.len()];
        let Some(made) = &self.made else { return gradient };
        let made = made.borrow();
        let parts = made.iter().map(|(_, leaf)| leaf.grad(grads).expect("every parameter takes part"));
        for ((range, _), part) in made.iter().zip(read(parts)) {
            gradient[range.clone()].copy_from_slice(&part);
        }
        gradient
    }
}

/// Mean and biased variance of the batch in one BatchNorm.
struct Moments {
    mean: Tensor<1>,
    var: Tensor<1>,
    /// Where they belong among all statistics.
    range: Range<usize>,
    /// Values a channel.
    count: usize,
}

/// Statistics of a training batch, while they are still on the device.
#[derive(Default)]
pub(crate) struct Recorded(Vec<Moments>);

impl Recorded {
    /// `len` statistics; zero where there was no BatchNorm.
    pub(crate) fn read(&self, len: usize) -> BatchStatistics {
        let mut statistics = BatchStatistics { mean: vec![0.0; len], var: vec![0.0; len] };
        let (means, vars) = (self.0.iter().map(|m| m.mean.clone()), self.0.iter().map(|m| m.var.clone()));
        for ((moments, mean), var) in self.0.iter().zip(read(means)).zip(read(vars)) {
            let count = moments.count as f32;
            statistics.mean[moments.range.clone()].copy_from_slice(&mean);
            for (to, var) in statistics.var[moments.range.clone()].iter_mut().zip(var) {
                *to = var * count / (count - 1.0).max(1.0);
            }
        }
        statistics
    }
}

/// Which statistics the BatchNorms use.
pub(crate) enum Mode<'a> {
    /// Those of the batch, which are recorded; dropout is on.
    Train(&'a mut Recorded),
    /// The running ones; dropout is off.
    Evaluate,
}

/// The composed trunk for one set of parameters.
pub(crate) struct Composed<'a> {
    pub pass: &'a TrainingPass,
    pub activation: Activation,
    pub parameters: &'a Leaves<'a>,
}

impl Composed<'_> {
    fn device(&self) -> &Device {
        self.parameters.device
    }

    /// Latent `[n, C, H, W]` of images `[n, channels, height, width]`.
    pub(crate) fn forward(&self, images: Tensor<4>, mut mode: Mode<'_>) -> Tensor<4> {
        let layout = &self.pass.layout;
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
                x = x.clone() + self.branch(block, index, x, &mut mode) * block.shape.step;
                index += 1;
            }
        }
        x
    }

    fn branch(&self, block: &Block, index: usize, x: Tensor<4>, mode: &mut Mode<'_>) -> Tensor<4> {
        let mut x = x;
        for i in 0..3 {
            if let Some(norm) = &block.norms[i] {
                x = self.batch_norm(norm, x, mode);
            }
            if i > 0 || block.shape.activate_input {
                x = activate(x, self.activation);
            }
            if i == 2
                && let (Mode::Train(_), Some(dropout)) = (&mode, &self.pass.dropout)
            {
                x = self.dropout(dropout, index, x);
            }
            let power = self.pass.coeff.map(|c| (c, &self.pass.state.power[3 * index + i]));
            x = self.conv(&block.convs[i], x, power);
        }
        x
    }

    /// `W~ * x + b`; the gradient flows through `sigma = <W, P>`, P the correlation of the constant u and v.
    fn conv(&self, conv: &Conv, x: Tensor<4>, power: Option<(f64, &PowerState)>) -> Tensor<4> {
        let shape = [conv.out_channels, conv.in_channels, conv.kernel, conv.kernel];
        let mut weight = self.parameters.part(&conv.weight).reshape(shape);
        let bias = self.parameters.part(&conv.bias);
        if let Some((coeff, power)) = power
            && spectral_factor(coeff, power.sigma) < 1.0
        {
            let mut correlation = vec![0.0; conv.weight.len()];
            iresnet_kernels::outer_correlation(&power.u, &power.v, &conv_shape(conv), &mut correlation);
            let correlation = Tensor::<1>::from_floats(correlation.as_slice(), self.device()).reshape(shape);
            let sigma = (weight.clone() * correlation).sum().reshape([1, 1, 1, 1]);
            weight = weight * (sigma.recip() * coeff);
        }
        same_convolution(x, weight, bias)
    }

    /// Values of a channel are repeated for every image before they meet its positions. The framework sums the gradient of
    /// what it repeated over the first axis first; over whole images, that took a GPU four fifths of a step.
    fn batch_norm(&self, norm: &BatchNorm, x: Tensor<4>, mode: &mut Mode<'_>) -> Tensor<4> {
        let [n, channels, height, width] = x.dims();
        let x = x.reshape([n, channels, height * width]);
        let of_images = |x: Tensor<1>| x.reshape([1, channels, 1]).expand([n, channels, 1]);
        let (centred, var) = match mode {
            Mode::Evaluate => {
                let state = &self.pass.state;
                let read = |v: &[f32]| of_images(Tensor::from_floats(&v[norm.statistics.clone()], self.device()));
                (x - read(&state.running_mean), read(&state.running_var))
            }
            Mode::Train(Recorded(recorded)) => {
                let over_batch = |x: Tensor<3>| x.mean_dim(2).mean_dim(0).reshape([channels]);
                let mean = over_batch(x.clone());
                let centred = x - of_images(mean.clone());
                let var = over_batch(centred.clone() * centred.clone());
                let (range, count) = (norm.statistics.clone(), n * height * width);
                recorded.push(Moments { mean: mean.inner(), var: var.clone().inner(), range, count });
                (centred, of_images(var))
            }
        };
        let scale = of_images(self.parameters.part(&norm.scale)) / (var + BATCHNORM_EPS).sqrt();
        let shift = of_images(self.parameters.part(&norm.shift));
        (centred * scale + shift).reshape([n, channels, height, width])
    }

    fn dropout(&self, dropout: &Dropout, index: usize, x: Tensor<4>) -> Tensor<4> {
        use iresnet_kernels::LANES;
        let [n, c, h, w] = x.dims();
        let positions = c * h * w;
        let bits = dropout.bits(index, n.div_ceil(LANES) * positions);
        let mask: Vec<f32> = (0..n * positions)
            .into_par_iter()
            .map(|i| {
                let (sample, position) = (i / positions, i % positions);
                let word = bits[sample / LANES * positions + position];
                if word >> (sample % LANES) & 1 == 1 { dropout.scale() } else { 0.0 }
            })
            .collect();
        let mask = Tensor::<1>::from_floats(mask.as_slice(), &x.device()).reshape([n, c, h, w]);
        x * mask
    }
}
