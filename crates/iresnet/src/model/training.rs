//! Loss and gradients of a batch.
//!
//! A training step is `update_norms`, [`IResNet::differentiate`], an optimiser's step, [`IResNet::track`]. Nothing here
//! changes the network.

use std::ops::Range;

use iresnet_flow::autodiff::{Inner, MemoryReport, Step, Tape, TrainedLayer};
use iresnet_flow::branch::{BatchNorms, BottleneckStep, DropoutBits};
use iresnet_flow::layers::{ActNorm, InjectivePadding, Squeeze};
use iresnet_flow::{Batch, Bijection, ImageShape, Injection, LANES, Purpose};
use ndarray::ArrayView4;
use rayon::prelude::*;

use super::dropout::Dropout;
use super::head::Head;
use super::layout::{Block, Layout, Next};
use super::network::{IResNet, count_correct};
use super::norms::{NormState, correlation};
use super::weights_in_use::{normalized_weights, spectral_factor};
use crate::config::Activation;

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
    /// What the BatchNorms saw.
    pub statistics: BatchStatistics,
}

/// Statistics of one batch: means and unbiased variances of the trunk's BatchNorms, then of the head's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchStatistics {
    /// Means.
    pub mean: Vec<f32>,
    /// Unbiased variances.
    pub var: Vec<f32>,
}

impl BatchStatistics {
    /// Takes over what the normalisations of one block saw.
    fn record(&mut self, block: &Block, tape: &iresnet_kernels::BatchNormTape) {
        for (norm, moments) in block.norms.iter().zip(tape.moments()) {
            if let (Some(norm), Some(moments)) = (norm, moments) {
                let unbias = moments.count as f32 / (moments.count as f32 - 1.0).max(1.0);
                self.mean[norm.statistics.clone()].copy_from_slice(&moments.mean);
                for (to, var) in self.var[norm.statistics.clone()].iter_mut().zip(&moments.var) {
                    *to = var * unbias;
                }
            }
        }
    }
}

/// A block as a training pass sees it.
struct TrainedBlock<'a> {
    model: &'a IResNet,
    block: &'a Block,
    index: usize,
    dropout: Option<&'a Dropout>,
}

impl TrainedLayer for TrainedBlock<'_> {
    fn input(&self) -> ImageShape {
        self.block.shape.image
    }

    fn output(&self) -> ImageShape {
        self.block.shape.image
    }

    fn num_parameters(&self) -> usize {
        self.block.affine.end - self.block.weights.start
    }

    fn prepare(&self, samples: usize, purpose: Purpose) -> Box<dyn Step + '_> {
        let IResNet { config, trunk, state, .. } = self.model;
        let (block, shape) = (self.block, &self.block.shape);
        let weights = normalized_weights(block, self.index, trunk, state, config.norm.coeff());
        let dropout = self.dropout.map(|dropout| DropoutBits {
            bits: dropout.bits(self.index, samples.div_ceil(LANES), shape.middle()),
            scale: dropout.scale(),
        });
        let norms = block.norms.iter().any(Option::is_some).then(|| BatchNorms(&trunk[block.affine.clone()]));
        Box::new(BottleneckStep::new(shape, &weights, samples, dropout, norms, purpose))
    }

    fn is_iterative(&self) -> bool {
        true
    }

    fn has_kinks(&self) -> bool {
        self.model.config.activation == Activation::Relu
    }
}

impl IResNet {
    /// Loss and gradients of one batch in training mode, on the CPU's kernels. Changes nothing: apply the gradients with
    /// an optimiser and the batch's statistics with [`IResNet::track`].
    ///
    /// # Shapes
    /// - images: `[n, channels, height, width]`
    /// - labels: `n` class numbers
    ///
    /// # Panics
    /// If a label is not below the number of classes, or the sizes do not fit.
    pub fn differentiate(
        &self,
        images: ArrayView4<'_, f32>,
        labels: &[u32],
        dropout: Option<&Dropout>,
    ) -> Differentiated {
        let layout = &*self.layout;
        let values = layout.checked(images, layout.image(), "images");
        assert_eq!(layout.samples(&values), labels.len(), "images and labels");
        let classes = layout.input.classes;
        assert!(labels.iter().all(|l| (*l as usize) < classes), "a label is not below the {classes} classes");
        let sequence: Vec<Next<'_>> = layout.sequence().collect();
        let layers: Vec<_> = sequence.iter().map(|next| self.trained(*next, dropout)).collect();
        let mut statistics =
            BatchStatistics { mean: vec![0.0; layout.statistics_len], var: vec![0.0; layout.statistics_len] };
        let padding = InjectivePadding::new(layout.image(), layout.padded.channels);
        let x = padding.forward(Batch::pack(&values, layout.image()));
        let (latent, tape) = Tape::forward(&layers, x, self.memory, &self.pool, |layer, inner| {
            if let (Inner::Normalized(tape), Next::Block(_, block)) = (inner, sequence[layer]) {
                statistics.record(block, tape);
            }
        });
        let head = Head::new(&self.head, layout, self.config.activation);
        let passed = head.train(&latent);
        let gradients = head.backward(&latent, &passed, labels);
        drop(latent);
        let mut trunk = vec![0.0; layout.trunk_len];
        let memory = tape.backward(gradients.latent, &mut trunk);
        if let Some(coeff) = self.config.norm.coeff() {
            through_normalization(layout, &self.trunk, &self.state, coeff, &mut trunk);
        }
        statistics.mean.extend(&passed.mean);
        statistics.var.extend(passed.unbiased_var());
        Differentiated {
            loss: gradients.loss,
            correct: count_correct(&passed.logits, labels),
            gradients: Gradients { trunk, head: gradients.parameters },
            logits: passed.logits,
            memory,
            statistics,
        }
    }

    /// Lets the ActNorms choose their scales and shifts by `images`, the first of a training, so that what leaves each has
    /// mean 0 and variance 1 in every channel. A network without them, or whose are chosen, stays as it is.
    ///
    /// # Shapes
    /// - images: `[n, channels, height, width]`
    ///
    /// # Panics
    /// If the sizes do not fit, or there is no image.
    pub fn initialise_actnorms(&mut self, images: ArrayView4<'_, f32>) {
        if !self.config.actnorm || self.state.actnorms_initialised > 0 {
            return;
        }
        let layout = self.layout.clone();
        let values = layout.checked(images, layout.image(), "images");
        assert!(!values.is_empty(), "at least one image to choose scales by");
        let padding = InjectivePadding::new(layout.image(), layout.padded.channels);
        let mut x = padding.forward(Batch::pack(&values, layout.image()));
        let network = self.prepare();
        let (trunk, _, state) = self.all_mut();
        state.actnorms_initialised = 1;
        for (next, layer) in layout.sequence().zip(network.chain().layers()) {
            x = match next {
                Next::ActNorm(image, place) => {
                    let mut actnorm = ActNorm::new(image);
                    actnorm.initialise(&x);
                    trunk[place.clone()].copy_from_slice(actnorm.parameters());
                    actnorm.forward(x)
                }
                Next::Squeeze(_) | Next::Block(..) => layer.forward(x),
            };
        }
    }

    /// The ActNorm whose parameters have this place.
    pub(super) fn actnorm(&self, image: ImageShape, place: &Range<usize>) -> ActNorm {
        ActNorm::from_parameters(image, self.trunk[place.clone()].to_vec(), self.state.actnorms_initialised > 0)
    }

    /// A part of the network as a training pass sees it.
    fn trained<'a>(&'a self, next: Next<'a>, dropout: Option<&'a Dropout>) -> Box<dyn TrainedLayer + 'a> {
        match next {
            Next::Squeeze(image) => Box::new(Squeeze::new(image)),
            Next::ActNorm(image, place) => Box::new(self.actnorm(image, place)),
            Next::Block(index, block) => Box::new(TrainedBlock { model: self, block, index, dropout }),
        }
    }

    /// Folds the statistics of a training batch into the running ones.
    pub fn track(&mut self, batch: &Differentiated) {
        self.state_mut().track(&batch.statistics.mean, &batch.statistics.var);
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
        let network = self.prepare();
        let (mut sums, mut squares, mut count) = (vec![0.0; channels], vec![0.0; channels], 0.0);
        for images in batches {
            let latents = network.latents(self.layout.view(&images));
            let values = latents.as_slice().expect("a new array");
            for (i, plane) in values.chunks_exact(positions).enumerate() {
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
        let from = self.layout.statistics_len;
        let state = self.state_mut();
        for (channel, (sum, square)) in sums.into_iter().zip(squares).enumerate() {
            let mean = sum / count;
            let var: f64 = (square - sum * mean) / (count - 1.0_f64).max(1.0);
            state.running_mean[from + channel] = mean as f32;
            state.running_var[from + channel] = var.max(0.0) as f32;
        }
    }
}

/// Turns gradients of the normalised weights `W~ = s W`, `s = c / sigma`, into those of `W`.
///
/// `sigma = u . (W * v)` is linear in `W` with derivative `P = du . (dW * v)`, the correlation of u and v, hence
/// `dL/dW = s (dL/dW~ - <dL/dW~, W> / sigma P)`. Convolutions that were not scaled keep their gradient.
fn through_normalization(layout: &Layout, trunk: &[f32], state: &NormState, coeff: f64, gradient: &mut [f32]) {
    let convs: Vec<_> = layout.convs().zip(&state.power).collect();
    let mut rest = gradient;
    let mut offset = 0;
    let mut jobs = Vec::new();
    for (conv, power) in convs {
        let (skipped, tail) = rest.split_at_mut(conv.weight.end - offset);
        let start = skipped.len() - conv.weight.len();
        jobs.push((conv, power, &mut skipped[start..]));
        offset = conv.weight.end;
        rest = tail;
    }
    jobs.into_par_iter().for_each(|(conv, power, gradient)| {
        let factor = spectral_factor(coeff, power.sigma);
        if factor >= 1.0 {
            return;
        }
        let correlation = correlation(conv, power);
        let inner: f64 =
            gradient.iter().zip(&trunk[conv.weight.clone()]).map(|(g, w)| f64::from(*g) * f64::from(*w)).sum();
        let along = (inner / f64::from(power.sigma)) as f32;
        for (g, p) in gradient.iter_mut().zip(&correlation) {
            *g = factor * (*g - along * p);
        }
    });
}
