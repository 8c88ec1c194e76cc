//! SGD with momentum as PyTorch defines it, fused into one pass over each arena.

use rayon::prelude::*;

use crate::model::{Gradients, IResNet};

use super::config::TrainConfig;

/// Momentum buffers, in the order of the parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Sgd {
    /// For the trunk and for the head.
    pub(crate) momentum: [Vec<f32>; 2],
}

/// Parameters a task of the update works on; fixed, so that results do not depend on the number of threads.
const CHUNK: usize = 1 << 14;

impl Sgd {
    /// Empty buffers for `model`.
    pub fn new(model: &IResNet) -> Self {
        Sgd { momentum: [vec![0.0; model.trunk.len()], vec![0.0; model.head.len()]] }
    }

    /// `m <- mu m + (g + lambda w)`, `w <- w - rate m`.
    pub fn step(&mut self, model: &mut IResNet, gradients: &Gradients, config: &TrainConfig, learning_rate: f64) {
        let (mu, lambda, rate) = (config.momentum as f32, config.weight_decay as f32, learning_rate as f32);
        let gradients = [&gradients.trunk, &gradients.head];
        for ((weights, gradient), momentum) in model.parameters_mut().into_iter().zip(gradients).zip(&mut self.momentum)
        {
            let chunks =
                weights.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK)).zip(momentum.par_chunks_mut(CHUNK));
            chunks.for_each(|((weights, gradient), momentum)| {
                for ((w, g), m) in weights.iter_mut().zip(gradient).zip(momentum) {
                    *m = mu * *m + (g + lambda * *w);
                    *w -= rate * *m;
                }
            });
        }
    }
}
