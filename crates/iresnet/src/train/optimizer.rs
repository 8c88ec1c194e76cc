//! SGD with momentum as PyTorch defines it, fused into one pass over each arena; for kernels, on demand, Muon.

use std::ops::Range;

use rayon::prelude::*;

use crate::model::{Gradients, IResNet};

use super::muon::direction;
use crate::config::TrainConfig;

/// Momentum buffers, in the order of the parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Sgd {
    /// For the trunk and for the head.
    pub(crate) momentum: [Vec<f32>; 2],
}

/// Parameters a task of the update works on; fixed, so that results do not depend on the number of threads.
const CHUNK: usize = 1 << 14;

/// Place and number of outputs.
type Kernel = (Range<usize>, usize);

impl Sgd {
    /// Empty buffers for `model`.
    pub fn new(model: &IResNet) -> Self {
        Sgd { momentum: [vec![0.0; model.trunk.len()], vec![0.0; model.head.len()]] }
    }

    /// `m <- mu m + (g + lambda w)`, `w <- w - rate m`; g is shortened to `clip_norm` first if it is longer.
    ///
    /// With a `muon_rate` kernels of the trunk go another way, as in PyTorch's `Muon`: `m <- mu m + g` and
    /// `w <- w - rate' (D(g + mu m) + lambda w)`, where `D` makes the singular values of a kernel as a matrix `[out, in k k]`
    /// equal, and `rate'` is the `muon_rate` by the same schedule.
    pub fn step(&mut self, model: &mut IResNet, gradients: &Gradients, config: &TrainConfig, learning_rate: f64) {
        let (mu, lambda, rate) = (config.momentum as f32, config.weight_decay as f32, learning_rate as f32);
        let convs = model.layout().blocks().flat_map(|block| &block.convs);
        let convs = convs.filter(|_| config.muon_rate > 0.0);
        let kernels: Vec<Kernel> = convs.map(|conv| (conv.weight.clone(), conv.out_channels)).collect();
        let gradients = [&gradients.trunk, &gradients.head];
        // In one order, whatever the number of threads.
        let norm = || gradients.iter().flat_map(|part| part.iter()).map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        let shorter = if config.clip_norm > 0.0 { (config.clip_norm / norm()).min(1.0) as f32 } else { 1.0 };
        let weights = model.parameters_mut();
        let others = [between(&kernels, weights[0].len()), between(&[], weights[1].len())];
        for (part, ranges) in others.into_iter().enumerate() {
            for range in ranges {
                let chunks = weights[part][range.clone()]
                    .par_chunks_mut(CHUNK)
                    .zip(gradients[part][range.clone()].par_chunks(CHUNK))
                    .zip(self.momentum[part][range].par_chunks_mut(CHUNK));
                chunks.for_each(|((weights, gradient), momentum)| {
                    for ((w, g), m) in weights.iter_mut().zip(gradient).zip(momentum) {
                        *m = mu * *m + (shorter * g + lambda * *w);
                        *w -= rate * *m;
                    }
                });
            }
        }
        let muon_rate = (config.muon_rate * (learning_rate / config.learning_rate)) as f32;
        let momentum = &mut self.momentum[0];
        for (range, _) in &kernels {
            for (m, g) in momentum[range.clone()].iter_mut().zip(&gradients[0][range.clone()]) {
                *m = mu * *m + shorter * g;
            }
        }
        let along = |(range, outputs): &Kernel| {
            let pairs = gradients[0][range.clone()].iter().zip(&momentum[range.clone()]);
            direction(&pairs.map(|(g, m)| shorter * g + mu * m).collect::<Vec<f32>>(), *outputs)
        };
        let directions: Vec<Vec<f32>> = kernels.par_iter().map(along).collect();
        for ((range, _), direction) in kernels.iter().zip(directions) {
            for (w, d) in weights[0][range.clone()].iter_mut().zip(direction) {
                *w -= muon_rate * (d + lambda * *w);
            }
        }
    }
}

/// What lies between the `kernels` of an arena.
fn between(kernels: &[Kernel], len: usize) -> Vec<Range<usize>> {
    let ends = [0].into_iter().chain(kernels.iter().map(|(range, _)| range.end));
    let starts = kernels.iter().map(|(range, _)| range.start).chain([len]);
    ends.zip(starts).map(|(end, start)| end..start).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RunConfig;
    use crate::model::Input;

    /// How far one step without momentum, decay and Muon moves all parameters along the gradient, for a gradient of length 5.
    fn moved(clip_norm: f64) -> f64 {
        let config = RunConfig::preset("digits").unwrap();
        let input = Input { channels: 1, height: 8, width: 8, classes: 10 };
        let mut model = config.model.init(input, 0).unwrap();
        let mut gradients = Gradients { trunk: vec![0.0; model.trunk.len()], head: vec![0.0; model.head.len()] };
        (gradients.trunk[3], gradients.head[1]) = (3.0, 4.0);
        let before = [model.trunk[3], model.head[1]];
        let config = TrainConfig { clip_norm, weight_decay: 0.0, muon_rate: 0.0, ..config.train };
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

    /// Two steps: kernels along the direction of `g + mu m`, everything else as without Muon.
    #[test]
    fn muon_moves_kernels_along_its_direction_and_leaves_the_rest_to_sgd() {
        let mut config = RunConfig::preset("digits").unwrap();
        (config.train.clip_norm, config.train.weight_decay) = (0.0, 0.1);
        let (mu, lambda) = (config.train.momentum as f32, config.train.weight_decay as f32);
        let model = config.model.init(Input { channels: 1, height: 8, width: 8, classes: 10 }, 0).unwrap();
        let wave = |len: usize, speed: f32| (0..len).map(|i| (0.1 + speed * i as f32).sin()).collect();
        let gradients = [1.0, 2.0]
            .map(|speed| Gradients { trunk: wave(model.trunk.len(), speed), head: wave(model.head.len(), speed) });
        let after = |muon_rate: f64| {
            let (mut model, recipe) = (model.clone(), TrainConfig { muon_rate, ..config.train.clone() });
            let mut sgd = Sgd::new(&model);
            // As after a milestone.
            for gradients in &gradients {
                sgd.step(&mut model, gradients, &recipe, 0.2 * recipe.learning_rate);
            }
            model
        };
        let (sgd, muon) = (after(0.0), after(0.05));
        assert_eq!(sgd.head, muon.head);
        let mut others = vec![true; model.trunk.len()];
        for conv in model.layout().blocks().flat_map(|block| &block.convs) {
            others[conv.weight.clone()].fill(false);
            let [first, second] = gradients.each_ref().map(|g| &g.trunk[conv.weight.clone()]);
            let momentum: Vec<f32> = first.iter().zip(second).map(|(a, b)| mu * a + b).collect();
            let ahead: Vec<f32> = second.iter().zip(&momentum).map(|(b, m)| b + mu * m).collect();
            let directions = [direction(first, conv.out_channels), direction(&ahead, conv.out_channels)];
            for (i, place) in conv.weight.clone().enumerate() {
                let step = |w: f32, d: &[f32]| w - 0.01 * (d[i] + lambda * w);
                let expected = directions.iter().fold(model.trunk[place], |w, d| step(w, d));
                // Newton and Schulz's steps amplify the rounding of the sums.
                assert!((muon.trunk[place] - expected).abs() < 1e-5, "{} {i}: {expected}", conv.name);
            }
        }
        assert!(others.contains(&true));
        for i in (0..others.len()).filter(|&i| others[i]) {
            assert_eq!(sgd.trunk[i], muon.trunk[i]);
        }
    }
}
