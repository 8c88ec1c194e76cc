//! State that belongs to the weights but is not trained: power-iteration vectors and running statistics.
//!
//! `forward` never changes it. A training step calls [`NormState::power_iterate`] once before the forward pass and
//! [`NormState::track`] once after it; the end of an epoch makes more power iterations and takes the head's statistics
//! anew.

use iresnet_kernels::{ConvShape, PowerJob};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::init::normal;
use super::layout::{Conv, Layout};

/// Unit vectors of one convolution's power iteration and the estimate they give.
///
/// The estimate `sigma = u . (W * v)` is a lower bound of the spectral norm (Gouk et al. 2018);
/// whether the inverse exists is decided by the certificate, never by it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PowerState {
    /// Left vector: `[out, h, w]`, or `[out]` for 1x1 kernels.
    pub u: Vec<f32>,
    /// Right vector: `[in, h, w]`, or `[in]` for 1x1 kernels.
    pub v: Vec<f32>,
    /// The last estimate.
    pub sigma: f32,
}

/// The kernels' view of a convolution.
fn conv_shape(conv: &Conv) -> ConvShape {
    ConvShape {
        in_channels: conv.in_channels,
        out_channels: conv.out_channels,
        kernel: conv.kernel,
        height: conv.height,
        width: conv.width,
    }
}

/// `P = du . (dW * v)`, the derivative of `sigma = u . (W * v)` with respect to the weights, `[out, in, k, k]`.
pub fn correlation(conv: &Conv, power: &PowerState) -> Vec<f32> {
    let mut correlation = vec![0.0; conv.weight.len()];
    iresnet_kernels::outer_correlation(&power.u, &power.v, &conv_shape(conv), &mut correlation);
    correlation
}

/// Untrained state of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct NormState {
    /// One entry a convolution for spectral normalisation, none otherwise. An entry without vectors belongs to weights
    /// that have their normalisation in them ([`super::IResNet::folded`]): its estimate of 0 leaves them as they are.
    pub power: Vec<PowerState>,
    /// Running means of the trunk's BatchNorms, then of the head's.
    pub running_mean: Vec<f32>,
    /// Running variances, in the same order.
    pub running_var: Vec<f32>,
    /// Batches that the running statistics have seen.
    pub num_batches_tracked: u64,
    /// Batches that have chosen the ActNorms' parameters: 0 or 1.
    pub actnorms_initialised: u64,
}

/// Iterations that bring random vectors close to singular ones.
const RESTORING: usize = 100;

/// Random unit vectors for all convolutions.
fn vectors(layout: &Layout, seed: u64) -> Vec<PowerState> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5eed_0000_0000_0001);
    let mut unit = |len: usize| {
        let mut vector: Vec<f32> = (0..len).map(|_| normal(&mut rng)).collect();
        let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.iter_mut().for_each(|x| *x /= norm);
        vector
    };
    let positions = |conv: &Conv| if conv.kernel == 1 { 1 } else { conv.height * conv.width };
    let state = |conv: &Conv| PowerState {
        u: unit(conv.out_channels * positions(conv)),
        v: unit(conv.in_channels * positions(conv)),
        sigma: 0.0,
    };
    layout.convs().map(state).collect()
}

/// Weight of a new batch in the running statistics, as in PyTorch.
const MOMENTUM: f32 = 0.1;

impl NormState {
    pub(crate) fn new(layout: &Layout, spectral: bool, seed: u64) -> Self {
        let statistics = layout.statistics_len + layout.latent.channels;
        NormState {
            power: if spectral { vectors(layout, seed) } else { Vec::new() },
            running_mean: vec![0.0; statistics],
            running_var: vec![1.0; statistics],
            num_batches_tracked: 0,
            actnorms_initialised: 0,
        }
    }

    /// Leaves the weights as they are from now on, until power iterations begin anew.
    pub(crate) fn forget_power(&mut self) {
        self.power.iter_mut().for_each(|state| *state = PowerState::default());
    }

    /// Gives every power iteration random vectors again if they had been forgotten; says whether that was so.
    pub(crate) fn restore_power(&mut self, layout: &Layout) -> bool {
        let forgotten = self.power.iter().any(|state| state.u.is_empty());
        if forgotten {
            self.power = vectors(layout, 0);
        }
        forgotten
    }

    /// Advances every power iteration: `v <- W^T u / |W^T u|`, `u <- W v / |W v|`, `sigma <- u . (W * v)`, on the
    /// convolution at the layer's true input size. Forgotten vectors begin anew, with a hundred iterations at least.
    pub fn power_iterate(&mut self, layout: &Layout, trunk: &[f32], iterations: usize) {
        let iterations = if self.restore_power(layout) { iterations.max(RESTORING) } else { iterations };
        let mut jobs: Vec<PowerJob<'_>> = layout
            .convs()
            .zip(&mut self.power)
            .map(|(conv, state)| PowerJob {
                weight: &trunk[conv.weight.clone()],
                shape: conv_shape(conv),
                u: &mut state.u,
                v: &mut state.v,
                iterations,
                sigma: 0.0,
            })
            .collect();
        iresnet_kernels::power_iterations(&mut jobs);
        let sigmas: Vec<f32> = jobs.iter().map(|job| job.sigma).collect();
        for (state, sigma) in self.power.iter_mut().zip(sigmas) {
            state.sigma = sigma;
        }
    }

    /// Folds the statistics of one training batch into the running ones: `r <- 0.9 r + 0.1 batch`.
    ///
    /// `mean` and `var` (unbiased) hold the trunk's norms, then the head's.
    pub fn track(&mut self, mean: &[f32], var: &[f32]) {
        for (running, batch) in [(&mut self.running_mean, mean), (&mut self.running_var, var)] {
            assert_eq!(running.len(), batch.len(), "running and batch statistics");
            for (r, b) in running.iter_mut().zip(batch) {
                *r = (1.0 - MOMENTUM) * *r + MOMENTUM * b;
            }
        }
        self.num_batches_tracked += 1;
    }
}
