//! The classifier behind the latent: BatchNorm, κ, global average pooling, linear. Outside the invertible trunk.

use burn::Tensor;
use burn::tensor::activation::log_softmax;

use super::composed::activate;
use super::config::Activation;
use super::effective::BATCHNORM_EPS;
use super::layout::Layout;

/// The head's parameters cut out of their flat tensor.
pub(crate) struct Head {
    scale: Tensor<4>,
    shift: Tensor<4>,
    weight: Tensor<2>,
    bias: Tensor<2>,
    activation: Activation,
}

impl Head {
    /// `parameters`: scale, shift, linear weights `[classes, channels]`, linear biases.
    pub(crate) fn new(parameters: Tensor<1>, layout: &Layout, activation: Activation) -> Self {
        let (channels, classes) = (layout.latent.channels, layout.input.classes);
        let weights = 2 * channels + classes * channels;
        let cut = |from: usize, to: usize| parameters.clone().narrow(0, from, to - from);
        Head {
            scale: cut(0, channels).reshape([1, channels, 1, 1]),
            shift: cut(channels, 2 * channels).reshape([1, channels, 1, 1]),
            weight: cut(2 * channels, weights).reshape([classes, channels]),
            bias: cut(weights, weights + classes).reshape([1, classes]),
            activation,
        }
    }

    /// Logits `[n, classes]` of `latent` `[n, C, H, W]`, normalised by the given mean and variance `[1, C, 1, 1]`.
    fn normalized(self, latent: Tensor<4>, mean: Tensor<4>, var: Tensor<4>) -> Tensor<2> {
        let [n, channels, _, _] = latent.dims();
        // One multiplication and one addition a value: z (gamma / std) + (beta - mean gamma / std).
        let scale = self.scale / (var + BATCHNORM_EPS).sqrt();
        let shift = self.shift - mean * scale.clone();
        let active = activate(latent * scale + shift, self.activation);
        let pooled = active.reshape([n as i32, channels as i32, -1]).mean_dim(2).reshape([n, channels]);
        pooled.matmul(self.weight.transpose()) + self.bias
    }

    /// Logits with the statistics of the batch, and those statistics: mean and unbiased variance, `[C]` each.
    pub(crate) fn train(self, latent: Tensor<4>) -> (Tensor<2>, Vec<f32>, Vec<f32>) {
        let [n, channels, height, width] = latent.dims();
        let over_batch = |x: Tensor<4>| {
            x.reshape([n, channels, height * width]).mean_dim(2).mean_dim(0).reshape([1, channels, 1, 1])
        };
        let mean = over_batch(latent.clone());
        let centred = latent.clone() - mean.clone();
        let var = over_batch(centred.clone() * centred);
        let count = (n * height * width) as f32;
        let read = |x: Tensor<4>| x.into_data().try_into_vec::<f32>().expect("float32 statistics");
        let batch_mean = read(mean.clone().inner());
        let batch_var = read(var.clone().inner()).iter().map(|v| v * count / (count - 1.0).max(1.0)).collect();
        (self.normalized(latent, mean, var), batch_mean, batch_var)
    }

    /// Logits with running statistics.
    pub(crate) fn evaluate(self, latent: Tensor<4>, mean: &[f32], var: &[f32]) -> Tensor<2> {
        let device = latent.device();
        let shape = [1, mean.len(), 1, 1];
        let mean = Tensor::<1>::from_floats(mean, &device).reshape(shape);
        let var = Tensor::<1>::from_floats(var, &device).reshape(shape);
        self.normalized(latent, mean, var)
    }
}

/// Mean cross-entropy of `logits` `[n, classes]` against class numbers.
pub(crate) fn cross_entropy(logits: Tensor<2>, labels: &[u32]) -> Tensor<1> {
    let [n, classes] = logits.dims();
    let mut chosen = vec![0.0f32; n * classes];
    for (row, &label) in chosen.chunks_exact_mut(classes).zip(labels) {
        row[label as usize] = -1.0 / n as f32;
    }
    let device = logits.device();
    let chosen = Tensor::<1>::from_floats(chosen.as_slice(), &device).reshape([n, classes]);
    (log_softmax(logits, 1) * chosen).sum()
}
