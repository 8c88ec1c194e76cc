//! The network: configuration, weights and the state that belongs to them.

use std::sync::{Arc, OnceLock};

use iresnet_flow::autodiff::{Memory, Pool};
use ndarray::{Array2, Array4, ArrayView4};

use super::init::initialize;
use super::layout::Layout;
use super::memory::NotInvertible;
use super::norms::{NormState, correlation};
use super::prepared::Prepared;
use super::weights_in_use::WeightsInUse;
use crate::config::{ConfigError, ModelConfig};
use crate::data::Input;

/// An invertible residual network: configuration, weights and the state that belongs to them.
#[derive(Clone)]
pub struct IResNet {
    pub(crate) config: ModelConfig,
    pub(crate) layout: Arc<Layout>,
    /// Shared with the training pass under way, which must not copy it; so is the state.
    pub(crate) trunk: Arc<Vec<f32>>,
    pub(crate) head: Vec<f32>,
    pub(crate) state: Arc<NormState>,
    pub(super) memory: Memory,
    pub(super) pool: Arc<Pool>,
    /// Kernels of the present weights, once they were asked for.
    prepared: OnceLock<Prepared>,
}

/// What a forward pass gives.
#[derive(Clone, Debug)]
pub struct Output {
    /// `[n, classes]`
    pub logits: Array2<f32>,
    /// `[n, C, H, W]`: what the inverse starts from.
    pub latent: Array4<f32>,
}

impl ModelConfig {
    /// A new network with the weights that `seed` determines.
    ///
    /// # Errors
    /// An unusable configuration, or images that cannot be downsampled as often as there are stages.
    pub fn init(&self, input: Input, seed: u64) -> Result<IResNet, ConfigError> {
        let mut model = self.zeros(input, seed)?;
        let (trunk, head) = initialize(&model.layout, seed);
        (model.trunk, model.head) = (Arc::new(trunk), head);
        model.update_norms(5);
        Ok(model)
    }

    /// A network to load weights into: they are zero, the vectors of its power iterations as [`Self::init`] draws them.
    pub(crate) fn zeros(&self, input: Input, seed: u64) -> Result<IResNet, ConfigError> {
        let layout = Layout::new(self, input)?;
        let state = Arc::new(NormState::new(&layout, self.norm.coeff().is_some(), seed));
        let (trunk, head) = (Arc::new(vec![0.0; layout.trunk_len]), vec![0.0; layout.head_len()]);
        let (memory, pool, prepared) = Default::default();
        Ok(IResNet { config: self.clone(), layout: Arc::new(layout), trunk, head, state, memory, pool, prepared })
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
        self.changed();
        [Arc::make_mut(&mut self.trunk).as_mut_slice(), &mut self.head]
    }

    /// Advances the power iterations of spectral normalisation; nothing happens without it.
    pub fn update_norms(&mut self, iterations: usize) {
        self.changed();
        Arc::make_mut(&mut self.state).power_iterate(&self.layout, &self.trunk, iterations);
    }

    /// Running statistics and power iterations, to be changed.
    pub(crate) fn state_mut(&mut self) -> &mut NormState {
        self.changed();
        Arc::make_mut(&mut self.state)
    }

    /// Everything that is trained or tracked, to be changed: trunk, head, state.
    pub(super) fn all_mut(&mut self) -> (&mut Vec<f32>, &mut Vec<f32>, &mut NormState) {
        self.changed();
        (Arc::make_mut(&mut self.trunk), &mut self.head, Arc::make_mut(&mut self.state))
    }

    /// Prepared kernels are of weights that are no more.
    fn changed(&mut self) {
        self.prepared = OnceLock::new();
    }

    /// The same map with its spectral normalisation in the weights, to the bit, and without vectors of power iterations.
    ///
    /// Its weight file is a third smaller and holds a plain residual network, for software that knows no normalisation
    /// too. Training it further begins the power iterations anew.
    pub fn folded(&self) -> IResNet {
        let mut folded = self.clone();
        let (trunk, _, state) = folded.all_mut();
        state.forget_power();
        for (block, weights) in self.layout.blocks().zip(self.weights_in_use().blocks) {
            trunk[block.weights.clone()].copy_from_slice(&weights.weights);
        }
        folded
    }

    /// Recomputes `sigma = u . (W * v)` from the present weights and vectors.
    pub(crate) fn refresh_sigma(&mut self) {
        self.changed();
        let states = Arc::make_mut(&mut self.state).power.iter_mut();
        for (conv, power) in self.layout.convs().zip(states).filter(|(_, power)| !power.u.is_empty()) {
            let weight = &self.trunk[conv.weight.clone()];
            let correlation = correlation(conv, power);
            power.sigma =
                weight.iter().zip(&correlation).map(|(w, p)| f64::from(*w) * f64::from(*p)).sum::<f64>() as f32;
        }
    }

    /// The trunk's weights as they act on images in evaluation: what inverse and audit use.
    pub fn weights_in_use(&self) -> WeightsInUse {
        WeightsInUse::new(&self.layout, &self.trunk, &self.state, self.config.norm.coeff())
    }

    /// The network with its kernels prepared: once for the present weights, however often it is asked for.
    pub fn prepare(&self) -> Prepared {
        self.prepared.get_or_init(|| Prepared::new(self)).clone()
    }

    /// Logits and latents in evaluation mode: running statistics, no dropout.
    ///
    /// # Shapes
    /// - images: `[n, channels, height, width]`
    ///
    /// # Panics
    /// If the images are not those of the network's input.
    pub fn forward(&self, images: ArrayView4<'_, f32>) -> Output {
        self.prepare().forward(images)
    }

    /// Chooses what training passes keep for their backward pass. Gradients are the same up to round-off
    /// ([`Memory::Reversible`]: to about 1e-5 of their length). A device without fused kernels keeps everything always.
    ///
    /// # Errors
    /// A choice that this network does not allow: see [`ModelConfig::allows`].
    pub fn set_memory(&mut self, memory: Memory) -> Result<(), NotInvertible> {
        self.config.allows(memory)?;
        self.memory = memory;
        Ok(())
    }
}

impl std::fmt::Debug for IResNet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IResNet of {} blocks, {} parameters", self.layout.num_blocks(), self.layout.num_parameters())
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
