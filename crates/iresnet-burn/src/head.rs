//! The classifier behind the latent: BatchNorm, κ, global average pooling, linear; its loss.

use burn::Tensor;
use burn::tensor::TensorData;
use burn::tensor::activation::log_softmax;
use iresnet::model::IResNet;

use crate::activation::activate;
use crate::normalization::{Statistics, batch_norm};
use crate::parameters::Leaves;

/// Logits `[n, classes]` of latents `[n, C, H, W]`.
///
/// `parameters`: scale, shift, linear weights `[classes, channels]`, linear biases.
pub(crate) fn logits(
    model: &IResNet,
    parameters: &Leaves<'_>,
    latent: Tensor<4>,
    statistics: &mut Statistics<'_>,
) -> Tensor<2> {
    let (layout, [n, channels, _, _]) = (model.layout(), latent.dims());
    let (from, classes) = (layout.statistics_len, layout.input.classes);
    let weights = 2 * channels + classes * channels;
    let affine = [parameters.part(0..channels), parameters.part(channels..2 * channels)];
    let normalized = batch_norm(latent, affine, from..from + channels, statistics);
    let active = activate(normalized, model.config().activation);
    let pooled = active.flatten::<3>(2, 3).mean_dim(2).reshape([n, channels]);
    let weight = parameters.part(2 * channels..weights).reshape([classes, channels]);
    let bias = parameters.part(weights..weights + classes).reshape([1, classes]);
    pooled.matmul(weight.transpose()) + bias
}

/// Mean cross-entropy of `logits` `[n, classes]` against class numbers.
pub(crate) fn cross_entropy(logits: Tensor<2>, labels: &[u32]) -> Tensor<1> {
    let [n, classes] = logits.dims();
    let mut chosen = vec![0.0f32; n * classes];
    for (row, &label) in chosen.chunks_exact_mut(classes).zip(labels) {
        row[label as usize] = -1.0 / n as f32;
    }
    let chosen = Tensor::from_data(TensorData::new(chosen, [n, classes]), &logits.device());
    (log_softmax(logits, 1) * chosen).sum()
}
