//! BatchNorm, of the trunk and of the head.

use std::ops::Range;

use burn::Tensor;
use iresnet::model::weights_in_use::BATCHNORM_EPS;
use iresnet::model::{BatchStatistics, NormState};

use crate::transfer::read;

/// Mean and biased variance of the batch in one BatchNorm, on the device.
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
        let mut values = read(self.0.iter().flat_map(|moments| [moments.mean.clone(), moments.var.clone()]));
        for Moments { range, count, .. } in &self.0 {
            let mut next = || values.next().expect("two a BatchNorm");
            statistics.mean[range.clone()].copy_from_slice(&next());
            let unbias = *count as f32 / (*count as f32 - 1.0).max(1.0);
            let var = next().into_iter().map(|var| var * unbias);
            statistics.var[range.clone()].iter_mut().zip(var).for_each(|(to, var)| *to = var);
        }
        statistics
    }
}

/// Where BatchNorms have mean and variance from.
pub(crate) enum Statistics<'a> {
    /// From the batch; they are recorded.
    Batch(&'a mut Recorded),
    /// From former batches.
    Running(&'a NormState),
}

/// `(x - mean) / sqrt(var + eps) * scale + shift`, channel by channel; `range` is the place of its statistics among all.
///
/// Values of a channel are repeated for every image before they meet its positions. The framework sums the gradient of
/// what it repeated over the first axis first; over whole images, that took a GPU four fifths of a step.
pub(crate) fn batch_norm(
    x: Tensor<4>,
    [scale, shift]: [Tensor<1>; 2],
    range: Range<usize>,
    statistics: &mut Statistics<'_>,
) -> Tensor<4> {
    let [n, channels, height, width] = x.dims();
    let device = x.device();
    let x = x.reshape([n, channels, height * width]);
    let of_images = |x: Tensor<1>| x.reshape([1, channels, 1]).expand([n, channels, 1]);
    let (centred, var) = match statistics {
        Statistics::Running(state) => {
            let part = |values: &[f32]| of_images(Tensor::from_floats(&values[range.clone()], &device));
            (x - part(&state.running_mean), part(&state.running_var))
        }
        Statistics::Batch(Recorded(recorded)) => {
            let over_batch = |x: Tensor<3>| x.mean_dim(2).mean_dim(0).reshape([channels]);
            let mean = over_batch(x.clone());
            let centred = x - of_images(mean.clone());
            let var = over_batch(centred.clone() * centred.clone());
            let count = n * height * width;
            recorded.push(Moments { mean: mean.inner(), var: var.clone().inner(), range, count });
            (centred, of_images(var))
        }
    };
    let scale = of_images(scale) / (var + BATCHNORM_EPS).sqrt();
    (centred * scale + of_images(shift)).reshape([n, channels, height, width])
}
