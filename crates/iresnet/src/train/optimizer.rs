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

    /// `m <- mu m + (g + lambda w)`, `w <- w - rate m`; g is shortened to `clip_norm` first if it is longer.
    pub fn step(&mut self, model: &mut IResNet, gradients: &Gradients, config: &TrainConfig, learning_rate: f64) {
        let (mu, lambda, rate) = (config.momentum as f32, config.weight_decay as f32, learning_rate as f32);
        let gradients = [&gradients.trunk, &gradients.head];
        // In one order, whatever the number of threads.
        let norm = || gradients.iter().flat_map(|part| part.iter()).map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        let shorter = if config.clip_norm > 0.0 { (config.clip_norm / norm()).min(1.0) as f32 } else { 1.0 };
        for ((weights, gradient), momentum) in model.parameters_mut().into_iter().zip(gradients).zip(&mut self.momentum)
        {
            let chunks =
                weights.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK)).zip(momentum.par_chunks_mut(CHUNK));
            chunks.for_each(|((weights, gradient), momentum)| {
                for ((w, g), m) in weights.iter_mut().zip(gradient).zip(momentum) {
                    *m = mu * *m + (shorter * g + lambda * *w);
                    *w -= rate * *m;
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Input;
    use crate::train::RunConfig;

    /// How far one step with momentum and decay off moves all parameters along the gradient, for a gradient of length 5.
    fn moved(clip_norm: f64) -> f64 {
        let config = RunConfig::preset("digits").unwrap();
        let input = Input { channels: 1, height: 8, width: 8, classes: 10 };
        let mut model = config.model.init(input, 0).unwrap();
        let mut gradients = Gradients { trunk: vec![0.0; model.trunk.len()], head: vec![0.0; model.head.len()] };
        (gradients.trunk[3], gradients.head[1]) = (3.0, 4.0);
        let before = [model.trunk[3], model.head[1]];
        let config = TrainConfig { clip_norm, weight_decay: 0.0, ..config.train };
        Sgd::new(&model).step(&mut model, &gradients, &config, 0.01);
        let along = [model.trunk[3], model.head[1]].map(f64::from);
        let step = [f64::from(before[0]) - along[0], f64::from(before[1]) - along[1]];
        // Rounded to float32 near 1.
        assert!((step[0] / step[1] - 0.75).abs() < 1e-4, "{step:?} is not along the gradient");
        (step[0].powi(2) + step[1].powi(2)).sqrt() / 0.01
    }

    #[test]
    fn long_gradients_are_shortened_and_short_ones_left() {
        for (clip_norm, expected) in [(0.0, 5.0), (1.0, 1.0), (5.5, 5.0)] {
            let length = moved(clip_norm);
            assert!((length - expected).abs() < 1e-3, "{clip_norm}: {length}");
        }
    }
}
