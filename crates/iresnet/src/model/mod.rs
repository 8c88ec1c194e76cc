//! The network of the paper: injective padding, stages of residual blocks with downsampling between them, a head.
//!
//! ```
//! use iresnet::model::{Input, ModelConfig};
//! use iresnet::{Device, Tensor};
//!
//! let config = ModelConfig::preset("digits")?;
//! let model = config.init(Input { channels: 1, height: 8, width: 8, classes: 10 }, 0)?;
//! let output = model.forward(Tensor::zeros([2, 1, 8, 8], &Device::flex()));
//! assert_eq!(output.logits.dims(), [2, 10]);
//! # Ok::<(), iresnet::model::ConfigError>(())
//! ```
//!
//! Weights are plain data in flat arenas ([`layout`]); [`effective`] turns them into the weights in use, which
//! training, inverse and audit share. [`trunk`](self) runs on the fused kernels, [`composed`](self) on any back end.

mod composed;
mod config;
mod convolution;
mod double;
mod dropout;
pub mod effective;
mod head;
mod init;
mod inverse;
mod latents;
pub mod layout;
mod memory;
mod norms;
mod operation;
mod presets;
mod summary;
mod tape;
mod trunk;
mod weights;

use std::sync::Arc;

use burn::Tensor;
use burn::tensor::Device;

pub use config::{Activation, Bottleneck, ConfigError, Input, ModelConfig, Norm, Padding};
pub use dropout::{Dropout, DropoutKey};
pub use effective::EffectiveWeights;
pub use inverse::{BlockReport, ConvBranch, ImageReport, Inversion, InversionReport, NotConverged};
pub use latents::LatentsError;
pub use layout::Layout;
pub use memory::{Memory, MemoryReport, NotInvertible, available_bytes, peak_resident_bytes};
pub use norms::{NormState, PowerState};
pub use presets::PRESETS;
pub(crate) use presets::text as preset_text;
pub use summary::Summary;
pub use trunk::FixedTrunk;
pub use weights::WeightsError;

use composed::{Composed, Leaves, Mode, Recorded};
use head::{Head, cross_entropy};
use memory::Pool;
use operation::Slot;
use tape::{BatchStatistics, TrainingPass};

/// An invertible residual network: configuration, weights and the state that belongs to them.
#[derive(Clone, Debug)]
pub struct IResNet {
    pub(crate) config: ModelConfig,
    pub(crate) layout: Arc<Layout>,
    /// Shared with the training pass under way, which must not copy it; so is the state.
    pub(crate) trunk: Arc<Vec<f32>>,
    pub(crate) head: Vec<f32>,
    pub(crate) state: Arc<NormState>,
    memory: Memory,
    pool: Arc<Pool>,
}

/// What a forward pass gives.
#[derive(Clone, Debug)]
pub struct Output {
    /// `[n, classes]`
    pub logits: Tensor<2>,
    /// `[n, C, H, W]`: what the inverse starts from.
    pub latent: Tensor<4>,
}

/// Gradients of the loss with respect to all parameters, in the order of the parameters' own slices.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients {
    /// Of the trunk's.
    pub trunk: Vec<f32>,
    /// Of the head's.
    pub head: Vec<f32>,
}

/// Result of differentiating one batch.
#[derive(Clone, Debug)]
pub struct Differentiated {
    /// Mean cross-entropy.
    pub loss: f32,
    /// How many of the batch were classified rightly.
    pub correct: usize,
    /// `[n, classes]`, row by row.
    pub logits: Vec<f32>,
    /// Gradients of the loss.
    pub gradients: Gradients,
    /// What the backward pass had to make again.
    pub memory: MemoryReport,
    statistics: BatchStatistics,
}

impl ModelConfig {
    /// A new network with the weights that `seed` determines.
    ///
    /// # Errors
    /// An unusable configuration, or images that cannot be downsampled as often as there are stages.
    pub fn init(&self, input: Input, seed: u64) -> Result<IResNet, ConfigError> {
        let mut model = self.zeros(input, seed)?;
        let (trunk, head) = init::initialize(&model.layout, seed);
        (model.trunk, model.head) = (Arc::new(trunk), head);
        model.update_norms(5);
        Ok(model)
    }

    /// A network to load weights into: they are zero, the vectors of its power iterations as [`Self::init`] draws them.
    pub(crate) fn zeros(&self, input: Input, seed: u64) -> Result<IResNet, ConfigError> {
        let layout = Layout::new(self, input)?;
        let state = Arc::new(NormState::new(&layout, self.norm.coeff().is_some(), seed));
        let (trunk, head) = (Arc::new(vec![0.0; layout.trunk_len]), vec![0.0; layout.head_len()]);
        let (memory, pool) = Default::default();
        Ok(IResNet { config: self.clone(), layout: Arc::new(layout), trunk, head, state, memory, pool })
    }
}

impl IResNet {
    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The geometry.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Whether all parameters and running statistics are finite.
    pub(crate) fn is_finite(&self) -> bool {
        let state = &self.state;
        let all = [&self.trunk[..], &self.head, &state.running_mean, &state.running_var];
        all.iter().all(|values| values.iter().all(|v| v.is_finite()))
    }

    /// The parameters of the trunk, placed as [`Layout`] says.
    pub fn trunk_parameters(&self) -> &[f32] {
        &self.trunk
    }

    /// The parameters of the head: BatchNorm scale and shift, linear weights `[classes, channels]`, linear biases.
    pub fn head_parameters(&self) -> &[f32] {
        &self.head
    }

    /// Power-iteration vectors and running statistics.
    pub fn state(&self) -> &NormState {
        &self.state
    }

    /// Mutable slices of all parameters, for optimisers: trunk, head.
    pub fn parameters_mut(&mut self) -> [&mut [f32]; 2] {
        [Arc::make_mut(&mut self.trunk).as_mut_slice(), &mut self.head]
    }

    /// Advances the power iterations of spectral normalisation; nothing happens without it.
    pub fn update_norms(&mut self, iterations: usize) {
        Arc::make_mut(&mut self.state).power_iterate(&self.layout, &self.trunk, iterations);
    }

    /// The same map with its spectral normalisation in the weights, to the bit, and without vectors of power iterations.
    ///
    /// Its weight file is a third smaller and holds a plain residual network, for software that knows no normalisation
    /// too. Training it further begins the power iterations anew.
    pub fn folded(&self) -> IResNet {
        let mut folded = self.clone();
        let trunk = Arc::make_mut(&mut folded.trunk);
        for (block, weights) in self.layout.blocks().zip(self.effective_weights().blocks) {
            trunk[block.weights.clone()].copy_from_slice(&weights.weights);
        }
        Arc::make_mut(&mut folded.state).forget_power();
        folded
    }

    /// Recomputes `sigma = u . (W * v)` from the present weights and vectors.
    pub(crate) fn refresh_sigma(&mut self) {
        let states = Arc::make_mut(&mut self.state).power.iter_mut();
        for (conv, power) in self.layout.convs().zip(states).filter(|(_, power)| !power.u.is_empty()) {
            let weight = &self.trunk[conv.weight.clone()];
            let mut correlation = vec![0.0; weight.len()];
            iresnet_kernels::outer_correlation(&power.u, &power.v, &norms::conv_shape(conv), &mut correlation);
            power.sigma =
                weight.iter().zip(&correlation).map(|(w, p)| f64::from(*w) * f64::from(*p)).sum::<f64>() as f32;
        }
    }

    /// The trunk's weights as they act on images in evaluation: what inverse and audit use.
    pub fn effective_weights(&self) -> EffectiveWeights {
        EffectiveWeights::new(&self.layout, &self.trunk, &self.state, self.config.norm.coeff())
    }

    /// The trunk with its kernels prepared, for many calls with the same weights.
    pub fn fixed_trunk(&self) -> FixedTrunk {
        FixedTrunk::new(self.layout.clone(), &self.effective_weights())
    }

    /// Logits and latents in evaluation mode: running statistics, no dropout. Changes nothing.
    ///
    /// # Shapes
    /// - images: `[n, channels, height, width]`
    ///
    /// # Panics
    /// If the images are not those of the network's input.
    pub fn forward(&self, images: Tensor<4>) -> Output {
        let input = self.layout.input;
        let [n, channels, height, width] = images.dims();
        assert_eq!(
            [channels, height, width],
            [input.channels, input.height, input.width],
            "channels, height and width of the images and of the network's input"
        );
        let device = images.device();
        let latent = if is_fused(&device) {
            let values = images.into_data().try_into_vec::<f32>().expect("float32 images");
            self.latent_tensor(self.fixed_trunk().forward(&values), n, &device)
        } else {
            let pass = self.training_pass(None);
            let parameters = &Leaves::constant(&self.trunk, &device);
            Composed { pass: &pass, activation: self.config.activation, parameters }.forward(images, Mode::Evaluate)
        };
        Output { logits: self.classify(latent.clone()), latent }
    }

    /// Logits `[n, classes]` of latents `[n, C, H, W]`, in evaluation mode.
    pub fn classify(&self, latent: Tensor<4>) -> Tensor<2> {
        let head = Head::new(
            Tensor::from_floats(self.head.as_slice(), &latent.device()),
            &self.layout,
            self.config.activation,
        );
        let from = self.layout.statistics_len;
        head.evaluate(latent, &self.state.running_mean[from..], &self.state.running_var[from..])
    }

    /// `samples` latents as a tensor `[n, C, H, W]`.
    pub fn latent_tensor(&self, values: Vec<f32>, samples: usize, device: &Device) -> Tensor<4> {
        let shape = self.layout.latent;
        Tensor::<1>::from_floats(values.as_slice(), device).reshape([
            samples,
            shape.channels,
            shape.height,
            shape.width,
        ])
    }

    fn training_pass(&self, dropout: Option<Dropout>) -> TrainingPass {
        TrainingPass {
            layout: self.layout.clone(),
            state: self.state.clone(),
            coeff: self.config.norm.coeff(),
            dropout,
            memory: self.memory,
            kinked: self.config.activation == Activation::Relu,
            pool: self.pool.clone(),
        }
    }

    /// Chooses what training passes keep for their backward pass. Gradients are the same up to round-off
    /// ([`Memory::Reversible`]: to about 1e-4 of their length). A device without fused kernels keeps everything always.
    ///
    /// # Errors
    /// A choice that this network does not allow: see [`Memory::check`].
    pub fn set_memory(&mut self, memory: Memory) -> Result<(), NotInvertible> {
        memory.check(&self.config)?;
        self.memory = memory;
        Ok(())
    }

    /// Loss and gradients of one batch in training mode. Changes nothing: apply the gradients with an optimiser and
    /// the batch's statistics with [`IResNet::track`].
    ///
    /// # Shapes
    /// - images: `[n, channels, height, width]` as NCHW values
    /// - labels: `n` class numbers
    ///
    /// Runs on the fused kernels if `device` is the CPU ([`Device::flex`]), on the framework's operations elsewhere.
    ///
    /// # Panics
    /// If a label is not below the number of classes, or the sizes do not fit.
    pub fn differentiate(
        &self,
        images: Vec<f32>,
        labels: &[u32],
        dropout: Option<Dropout>,
        device: &Device,
    ) -> Differentiated {
        self.differentiate_by(is_fused(device), images, labels, dropout, device)
    }

    /// By the fused kernels or by the composed operations; the tests compare the two.
    fn differentiate_by(
        &self,
        fused: bool,
        images: Vec<f32>,
        labels: &[u32],
        dropout: Option<Dropout>,
        device: &Device,
    ) -> Differentiated {
        let (n, input) = (labels.len(), self.layout.input);
        assert_eq!(images.len(), n * input.len(), "values of {n} images");
        let device = device.clone().autodiff();
        let pass = self.training_pass(dropout);
        let head = Tensor::<1>::from_floats(self.head.as_slice(), &device).require_grad();
        let (mut slot, mut leaves) = (None, None);
        let (latent, mut statistics) = if fused {
            let slot = slot.insert(Slot::new(pass, self.trunk.clone(), images, n));
            let latent = operation::trunk(slot.clone(), &device);
            (latent, slot.take_statistics())
        } else {
            let parameters = &*leaves.insert(Leaves::tracked(&self.trunk, &device));
            let mut recorded = Recorded::default();
            let images = Tensor::<1>::from_floats(images.as_slice(), &device).reshape([
                n,
                input.channels,
                input.height,
                input.width,
            ]);
            let composed = Composed { pass: &pass, activation: self.config.activation, parameters };
            let latent = composed.forward(images, Mode::Train(&mut recorded));
            (latent, recorded.read(self.layout.statistics_len))
        };
        let (logits, mean, var) = Head::new(head.clone(), &self.layout, self.config.activation).train(latent);
        statistics.mean.extend(mean);
        statistics.var.extend(var);
        let loss = cross_entropy(logits.clone(), labels);
        let grads = loss.backward();
        let read = |leaf: &Tensor<1>| {
            let gradient = leaf.grad(&grads).expect("every parameter takes part");
            gradient.into_data().try_into_vec::<f32>().expect("float32 gradients")
        };
        let logits = logits.inner().into_data().try_into_vec::<f32>().expect("float32 logits");
        Differentiated {
            loss: loss.inner().into_data().try_into_vec::<f32>().expect("a float32 loss")[0],
            correct: count_correct(&logits, labels),
            gradients: Gradients {
                trunk: match (&slot, leaves) {
                    (Some(slot), _) => slot.take_gradient(),
                    (None, leaves) => leaves.expect("one of the two paths").gradient(&grads),
                },
                head: read(&head),
            },
            logits,
            memory: slot.map(|slot| slot.report()).unwrap_or_default(),
            statistics,
        }
    }

    /// Folds the statistics of a training batch into the running ones.
    pub fn track(&mut self, batch: &Differentiated) {
        Arc::make_mut(&mut self.state).track(&batch.statistics.mean, &batch.statistics.var);
    }

    /// Replaces the running statistics of the head's BatchNorm by the means and unbiased variances of the latents of
    /// all `batches` under the present weights, in evaluation mode (Wu and Johnson 2021, arXiv 2105.07576, section 3).
    ///
    /// A running average mixes the weights of the last ten steps; that misleads a head whose latents differ less from
    /// image to image than from step to step. Without images, or if a latent is not finite, nothing changes.
    ///
    /// # Shapes
    /// - every batch: `[n, channels, height, width]` as NCHW values, any `n`
    ///
    /// # Panics
    /// If a batch is not of whole images.
    pub fn recompute_head_statistics(&mut self, batches: impl Iterator<Item = Vec<f32>>) {
        let (channels, positions) = (self.layout.latent.channels, self.layout.latent.height * self.layout.latent.width);
        let trunk = self.fixed_trunk();
        let (mut sums, mut squares, mut count) = (vec![0.0; channels], vec![0.0; channels], 0.0);
        for images in batches {
            let latents = trunk.forward(&images);
            for (i, plane) in latents.chunks_exact(positions).enumerate() {
                for value in plane.iter().copied().map(f64::from) {
                    sums[i % channels] += value;
                    squares[i % channels] += value * value;
                }
            }
            count += (latents.len() / channels) as f64;
        }
        if count == 0.0 || squares.iter().any(|square| !square.is_finite()) {
            return;
        }
        let state = Arc::make_mut(&mut self.state);
        for (channel, (sum, square)) in sums.into_iter().zip(squares).enumerate() {
            let mean = sum / count;
            let var: f64 = (square - sum * mean) / (count - 1.0_f64).max(1.0);
            state.running_mean[self.layout.statistics_len + channel] = mean as f32;
            state.running_var[self.layout.statistics_len + channel] = var.max(0.0) as f32;
        }
    }
}

/// How many rows of `logits` have their largest value at the label (the first of equals counts).
pub fn count_correct(logits: &[f32], labels: &[u32]) -> usize {
    let classes = logits.len() / labels.len().max(1);
    logits.chunks_exact(classes.max(1)).zip(labels).filter(|(row, label)| argmax(row) == **label as usize).count()
}

/// Position of the largest value; NaN never wins.
pub fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (i, value) in row.iter().enumerate() {
        if *value > row[best] || row[best].is_nan() {
            best = i;
        }
    }
    best
}

/// Whether the trunk runs on the fused kernels of `device`.
pub(crate) fn is_fused(device: &Device) -> bool {
    device.clone().inner() == Device::flex()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the statistics that the head finds in one batch of all images, by the framework's operations.
    #[test]
    fn head_statistics_are_those_of_all_images() {
        let input = Input { channels: 2, height: 8, width: 4, classes: 3 };
        let base = ModelConfig { blocks: vec![2, 1], ..ModelConfig::preset("digits").unwrap() };
        for norm in [Norm::None, Norm::Batch, Norm::Spectral { coeff: 0.3 }] {
            let mut model = ModelConfig { norm, ..base.clone() }.init(input, 4).unwrap();
            model.update_norms(5);
            let images: Vec<f32> = (0..40 * 64).map(|i| ((i * 7919) % 1013) as f32 / 1013.0 - 0.5).collect();
            let all = Tensor::<1>::from_floats(images.as_slice(), &Device::flex()).reshape([40, 2, 8, 4]);
            let head =
                Head::new(Tensor::from_floats(model.head.as_slice(), &Device::flex()), &model.layout, base.activation);
            let (_, mean, var) = head.train(model.forward(all).latent);
            let from = model.layout.statistics_len;
            let before = model.state().clone();
            model.recompute_head_statistics(std::iter::empty());
            assert_eq!(*model.state(), before);
            model.recompute_head_statistics([vec![f32::INFINITY; 64]].into_iter());
            assert_eq!(*model.state(), before);
            let (some, rest) = images.split_at(17 * 64);
            model.recompute_head_statistics([some, rest].map(<[f32]>::to_vec).into_iter());
            assert_eq!(model.state().running_var[..from], before.running_var[..from], "the trunk's stay");
            assert_eq!(model.state().running_mean[..from], before.running_mean[..from], "the trunk's stay");
            for (new, expected) in
                [(&model.state().running_mean[from..], &mean), (&model.state().running_var[from..], &var)]
            {
                assert_eq!(new.len(), expected.len());
                for (a, b) in new.iter().zip(expected) {
                    // The framework sums in float32.
                    assert!((a - b).abs() <= 1e-6 + 1e-4 * b.abs(), "{norm:?}: {a} {b}");
                }
            }
        }
    }

    /// The composed trunk's gradients are the framework's and those of `convolution`, which share nothing with the fused
    /// path's.
    #[test]
    fn fused_and_composed_paths_agree() {
        let input = Input { channels: 2, height: 8, width: 4, classes: 3 };
        let base =
            ModelConfig { blocks: vec![2, 1], dropout: 0.2, step: 0.5, ..ModelConfig::preset("digits").unwrap() };
        for (norm, activation) in [
            (Norm::None, Activation::Elu),
            (Norm::Batch, Activation::Softplus),
            (Norm::Spectral { coeff: 0.6 }, Activation::Lipswish),
        ] {
            let model = ModelConfig { norm, activation, ..base.clone() }.init(input, 4).unwrap();
            let images: Vec<f32> = (0..19 * 64).map(|i| ((i * 7919) % 1013) as f32 / 1013.0 - 0.5).collect();
            let labels: Vec<u32> = (0..19).map(|i| i % 3).collect();
            let key = DropoutKey { seed: 1, step: 2, probability: 0.2 };
            let run = |fused: bool| {
                let dropout = Some(Dropout::Drawn(key));
                model.differentiate_by(fused, images.clone(), &labels, dropout, &Device::flex())
            };
            let (one, other) = (run(true), run(false));
            // Two float32 computations of the same thing.
            assert!((one.loss - other.loss).abs() < 1e-5, "{norm:?}: {} {}", one.loss, other.loss);
            for (a, b) in [
                (&one.gradients.trunk, &other.gradients.trunk),
                (&one.gradients.head, &other.gradients.head),
                (&one.statistics.mean, &other.statistics.mean),
                (&one.statistics.var, &other.statistics.var),
            ] {
                assert_eq!(a.len(), b.len());
                let difference: f32 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
                let size = b.iter().map(|b| b * b).sum::<f32>().sqrt();
                assert!(difference <= 1e-4 * size, "{norm:?}: {difference:e} of {size:e}");
            }
        }
    }
}
