//! The classifier behind the latent: BatchNorm, κ, global average pooling, linear, cross-entropy; outside the invertible
//! trunk. Values are float32, sums float64: over a pack in order, over packs along a fixed binary tree, so that results do
//! not depend on the number of threads.

use iresnet_flow::{Batch, ImageShape, LANES};
use iresnet_kernels::reference;
use rayon::prelude::*;

use super::layout::Layout;
use super::weights_in_use::{BATCHNORM_EPS, affine_of};
use crate::config::Activation;

/// The head's parameters cut out of their flat slice.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a> {
    scale: &'a [f32],
    shift: &'a [f32],
    /// `[classes, channels]`
    weight: &'a [f32],
    bias: &'a [f32],
    activation: Activation,
    latent: ImageShape,
}

/// What a training pass knows of a batch.
pub(crate) struct HeadTape {
    /// `[n, classes]`
    pub logits: Vec<f32>,
    /// Of the batch, a channel.
    pub mean: Vec<f32>,
    /// Biased, a channel.
    var: Vec<f32>,
    /// `[n, channels]`
    pooled: Vec<f32>,
    count: f64,
}

/// Loss and gradients.
pub(crate) struct HeadGradients {
    /// Mean cross-entropy.
    pub loss: f32,
    /// With respect to the latents.
    pub latent: Batch<f32>,
    /// With respect to the parameters, in their order.
    pub parameters: Vec<f32>,
}

impl HeadTape {
    /// Unbiased, a channel.
    pub(crate) fn unbiased_var(&self) -> Vec<f32> {
        let factor = self.count / (self.count - 1.0).max(1.0);
        self.var.iter().map(|v| (f64::from(*v) * factor) as f32).collect()
    }
}

impl<'a> Head<'a> {
    /// `parameters`: scale, shift, linear weights `[classes, channels]`, linear biases.
    pub(crate) fn new(parameters: &'a [f32], layout: &Layout, activation: Activation) -> Self {
        let (latent, classes) = (layout.latent, layout.input.classes);
        let (scale, rest) = parameters.split_at(latent.channels);
        let (shift, rest) = rest.split_at(latent.channels);
        let (weight, bias) = rest.split_at(classes * latent.channels);
        Head { scale, shift, weight, bias, activation, latent }
    }

    /// Logits `[n, classes]` with running statistics.
    pub(crate) fn evaluate(&self, latent: &Batch<f32>, mean: &[f32], var: &[f32]) -> Vec<f32> {
        self.linear(&self.pool(latent, mean, var))
    }

    /// Logits with the statistics of the batch.
    pub(crate) fn train(&self, latent: &Batch<f32>) -> HeadTape {
        let count = (latent.samples() * self.area()) as f64;
        let average = |of: &(dyn Fn(usize, f32) -> f64 + Sync)| -> Vec<f64> {
            let sums = tree_sum(self.packs(latent, |values, lanes| {
                let channel = |(c, channel): (usize, &[[f32; LANES]])| {
                    channel.iter().flat_map(|vector| &vector[..lanes]).map(|z| of(c, *z)).sum()
                };
                values.chunks_exact(self.area()).enumerate().map(channel).collect()
            }));
            sums.into_iter().map(|sum| sum / count).collect()
        };
        let mean = average(&|_, z| f64::from(z));
        let var = average(&|c, z| (f64::from(z) - mean[c]).powi(2));
        let narrow = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect::<Vec<f32>>();
        let (mean, var) = (narrow(mean), narrow(var));
        let pooled = self.pool(latent, &mean, &var);
        HeadTape { logits: self.linear(&pooled), mean, var, pooled, count }
    }

    /// Gradients of the mean cross-entropy against class numbers.
    pub(crate) fn backward(&self, latent: &Batch<f32>, tape: &HeadTape, labels: &[u32]) -> HeadGradients {
        let (loss, logits) = cross_entropy(&tape.logits, labels);
        let (channels, classes) = (self.scale.len(), self.bias.len());
        let rows = logits.chunks_exact(classes).zip(tape.pooled.chunks_exact(channels));
        let (mut weight, mut bias) = (vec![0.0f64; classes * channels], vec![0.0f64; classes]);
        let mut pooled = Vec::with_capacity(tape.pooled.len());
        for (d, row) in rows {
            for (k, d) in d.iter().enumerate() {
                bias[k] += d;
                weight[k * channels..][..channels].iter_mut().zip(row).for_each(|(w, a)| *w += d * f64::from(*a));
            }
            let through = |c: usize| -> f64 {
                d.iter().enumerate().map(|(k, d)| d * f64::from(self.weight[k * channels + c])).sum()
            };
            pooled.extend((0..channels).map(|c| (through(c) / self.area() as f64) as f32));
        }
        let (latent, scale, shift) = self.through_normalization(latent, tape, &pooled);
        let parts = scale.into_iter().chain(shift).chain(weight).chain(bias);
        HeadGradients { loss, latent, parameters: parts.map(|g| g as f32).collect() }
    }

    /// Gradients with respect to latents, scales and shifts, from that of each pixel's share `[n, channels]` of the mean:
    /// `dt = κ'(t) d`, `db = sum dt`, `dg = sum dt z^`, `dz = g / std (dt - db / N - z^ dg / N)`.
    fn through_normalization(
        &self,
        latent: &Batch<f32>,
        tape: &HeadTape,
        pooled: &[f32],
    ) -> (Batch<f32>, Vec<f64>, Vec<f64>) {
        let (channels, area) = (self.scale.len(), self.area());
        let map = affine_of(self.scale, self.shift, &tape.mean, &tape.var);
        let rstd: Vec<f32> = tape.var.iter().map(|v| 1.0 / (v + BATCHNORM_EPS).sqrt()).collect();
        let mut out = Batch::zeros(latent.shape(), latent.samples());
        let len = latent.shape().pack_len();
        let packs = out.packs_mut().par_chunks_mut(len).zip(latent.packs().par_chunks(len)).enumerate();
        let sums = packs.map(|(p, (out, z))| {
            let lanes = (latent.samples() - p * LANES).min(LANES);
            let mut sums = vec![0.0f64; 2 * channels];
            let vectors = out.as_chunks_mut::<LANES>().0.iter_mut().zip(z.as_chunks::<LANES>().0);
            for (i, (out, z)) in vectors.enumerate() {
                let c = i / area;
                for l in 0..lanes {
                    let t = z[l] * map.scale[c] + map.shift[c];
                    let dt = pooled[(p * LANES + l) * channels + c] * derivative(self.activation, t);
                    out[l] = dt;
                    sums[c] += f64::from(dt) * f64::from((z[l] - tape.mean[c]) * rstd[c]);
                    sums[channels + c] += f64::from(dt);
                }
            }
            sums
        });
        let sums = tree_sum(sums.collect());
        let mean: Vec<f32> = sums.iter().map(|sum| (sum / tape.count) as f32).collect();
        let packs = out.packs_mut().par_chunks_mut(len).zip(latent.packs().par_chunks(len)).enumerate();
        packs.for_each(|(p, (out, z))| {
            let lanes = (latent.samples() - p * LANES).min(LANES);
            let vectors = out.as_chunks_mut::<LANES>().0.iter_mut().zip(z.as_chunks::<LANES>().0);
            for (i, (out, z)) in vectors.enumerate() {
                let c = i / area;
                for l in 0..lanes {
                    let centred = (z[l] - tape.mean[c]) * rstd[c];
                    out[l] = map.scale[c] * (out[l] - mean[channels + c] - centred * mean[c]);
                }
            }
        });
        let (scale, shift) = sums.split_at(channels);
        (out, scale.to_vec(), shift.to_vec())
    }

    /// Means `[n, channels]` over the pixels of `κ(BatchNorm(z))`.
    fn pool(&self, latent: &Batch<f32>, mean: &[f32], var: &[f32]) -> Vec<f32> {
        let map = affine_of(self.scale, self.shift, mean, var);
        let pooled = self.packs(latent, |values, lanes| {
            let mut pooled = vec![0.0f32; lanes * self.scale.len()];
            for (c, channel) in values.chunks_exact(self.area()).enumerate() {
                let mut sums = [0.0f64; LANES];
                for vector in channel {
                    for l in 0..LANES {
                        sums[l] += f64::from(value(self.activation, vector[l] * map.scale[c] + map.shift[c]));
                    }
                }
                for (l, sum) in sums[..lanes].iter().enumerate() {
                    pooled[l * self.scale.len() + c] = (sum / self.area() as f64) as f32;
                }
            }
            pooled
        });
        pooled.concat()
    }

    fn linear(&self, pooled: &[f32]) -> Vec<f32> {
        let channels = self.scale.len();
        let logit = |row: &[f32], k: usize| {
            let products = row.iter().zip(&self.weight[k * channels..]).map(|(a, w)| f64::from(*a) * f64::from(*w));
            (products.sum::<f64>() + f64::from(self.bias[k])) as f32
        };
        pooled.chunks_exact(channels).flat_map(|row| (0..self.bias.len()).map(move |k| logit(row, k))).collect()
    }

    fn area(&self) -> usize {
        self.latent.height * self.latent.width
    }

    /// What `work` makes of the values of each pack and of the number of samples in it.
    fn packs<R: Send>(&self, latent: &Batch<f32>, work: impl Fn(&[[f32; LANES]], usize) -> R + Sync) -> Vec<R> {
        let packs = latent.packs().par_chunks(latent.shape().pack_len()).enumerate();
        packs.map(|(p, pack)| work(pack.as_chunks().0, (latent.samples() - p * LANES).min(LANES))).collect()
    }
}

/// Sums of vectors along a binary tree of neighbours: of two, of four and so on.
fn tree_sum(mut parts: Vec<Vec<f64>>) -> Vec<f64> {
    while parts.len() > 1 {
        let pairs = parts.chunks(2).map(|pair| match pair {
            [a, b] => a.iter().zip(b).map(|(a, b)| a + b).collect(),
            rest => rest[0].clone(),
        });
        parts = pairs.collect();
    }
    parts.pop().expect("at least one part")
}

/// Mean cross-entropy of `logits` `[n, classes]` against class numbers, and its gradient.
fn cross_entropy(logits: &[f32], labels: &[u32]) -> (f32, Vec<f64>) {
    let (classes, n) = (logits.len() / labels.len(), labels.len() as f64);
    let (mut loss, mut gradient) = (0.0, Vec::with_capacity(logits.len()));
    for (row, &label) in logits.chunks_exact(classes).zip(labels) {
        let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let exponentials: Vec<f64> = row.iter().map(|z| (f64::from(*z) - largest).exp()).collect();
        let sum: f64 = exponentials.iter().sum();
        loss += sum.ln() + largest - f64::from(row[label as usize]);
        let chosen = |k: usize| if k == label as usize { 1.0 } else { 0.0 };
        gradient.extend(exponentials.iter().enumerate().map(|(k, e)| (e / sum - chosen(k)) / n));
    }
    ((loss / n) as f32, gradient)
}

fn value(activation: Activation, t: f32) -> f32 {
    match activation {
        // NaN stays NaN, so that the loss says so.
        Activation::Relu => {
            if t < 0.0 {
                0.0
            } else {
                t
            }
        }
        other => reference::activate(other.kernel(), f64::from(t)) as f32,
    }
}

fn derivative(activation: Activation, t: f32) -> f32 {
    match activation {
        Activation::Relu => f32::from(u8::from(t > 0.0)),
        other => reference::derivative(other.kernel(), f64::from(t)) as f32,
    }
}
