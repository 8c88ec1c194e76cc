//! A residual network on the line, small enough to train in a second: the paper's Figure 1.
//!
//! Maps of the line that are invertible and near the identity keep the order of their points. Trained on a task that
//! asks for another order, an unconstrained network lets trajectories cross or collapse; one whose layers have norm at
//! most `c < 1` cannot, whatever its training did.
//!
//! Everything is float64 with gradients by hand. A layer from or to the line is a vector, so its spectral norm is its
//! length, and the constraint is an exact projection after every update, not an estimate.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::branch::Dense;
use crate::layers::Residual;
use crate::{Batch, Bijection, Chain, vector};

/// What to train.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LineTraining {
    /// Residual blocks.
    pub blocks: usize,
    /// Hidden values of a block.
    pub hidden: usize,
    /// Largest norm of a layer; `None` leaves them free.
    pub coeff: Option<f64>,
    /// Full-batch steps of Adam (Kingma and Ba 2015, with its defaults).
    pub steps: usize,
    /// Its learning rate.
    pub learning_rate: f64,
    /// Seed of the initialisation.
    pub seed: u64,
}

impl Default for LineTraining {
    fn default() -> Self {
        LineTraining { blocks: 4, hidden: 16, coeff: Some(0.9), steps: 2000, learning_rate: 0.01, seed: 0 }
    }
}

/// Settings or data that cannot be trained on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LineError {
    /// A setting out of its range.
    #[error("{name} is {value}, but must be {rule}")]
    Setting {
        /// Its name.
        name: &'static str,
        /// What it was.
        value: f64,
        /// What would be right.
        rule: &'static str,
    },
    /// Inputs and targets that do not pair up, or none.
    #[error("{inputs} inputs and {targets} targets: each input needs one target, and there must be at least one")]
    Pairs {
        /// Number of inputs.
        inputs: usize,
        /// Number of targets.
        targets: usize,
    },
    /// The loss left the numbers.
    #[error("the loss is {loss} after step {step}: use a smaller learning rate, and finite inputs and targets")]
    Diverged {
        /// Number of the step, from 0.
        step: usize,
        /// The loss.
        loss: f64,
    },
}

/// A trained network and its mean squared error before every step.
#[derive(Clone, Debug)]
pub struct TrainedLine {
    /// The network.
    pub network: Chain<Residual<Dense<f64>>>,
    /// One loss a step.
    pub losses: Vec<f64>,
}

/// Places of a block's parameters: `w1`, `b1`, `w2` of `hidden` values each, then `b2`.
struct Block<'a> {
    w1: &'a [f64],
    b1: &'a [f64],
    w2: &'a [f64],
    b2: f64,
}

fn block(parameters: &[f64], hidden: usize) -> Block<'_> {
    let (w1, rest) = parameters.split_at(hidden);
    let (b1, rest) = rest.split_at(hidden);
    let (w2, b2) = rest.split_at(hidden);
    Block { w1, b1, w2, b2: b2[0] }
}

impl LineTraining {
    /// Trains a network to send `inputs` to `targets`, in the mean square.
    ///
    /// # Errors
    /// Settings out of range, data that do not pair up, a loss that is no longer finite.
    pub fn train(&self, inputs: &[f64], targets: &[f64]) -> Result<TrainedLine, LineError> {
        self.check(inputs, targets)?;
        let len = 3 * self.hidden + 1;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let width = (self.hidden as f64).sqrt().recip();
        let mut parameters: Vec<f64> = (0..self.blocks * len).map(|_| rng.random_range(-width..width)).collect();
        self.project(&mut parameters);
        let mut moments = vec![(0.0, 0.0); parameters.len()];
        let mut losses = Vec::with_capacity(self.steps);
        for step in 0..self.steps {
            let (loss, gradient) = loss_and_gradient(&parameters, self.hidden, inputs, targets);
            if !loss.is_finite() {
                return Err(LineError::Diverged { step, loss });
            }
            losses.push(loss);
            let unbias = |decay: f64| 1.0 - decay.powf(step as f64 + 1.0);
            for ((parameter, (mean, square)), slope) in parameters.iter_mut().zip(&mut moments).zip(gradient) {
                *mean = 0.9 * *mean + 0.1 * slope;
                *square = 0.999 * *square + 0.001 * slope * slope;
                *parameter -= self.learning_rate * (*mean / unbias(0.9)) / ((*square / unbias(0.999)).sqrt() + 1e-8);
            }
            self.project(&mut parameters);
        }
        let branches = parameters.chunks_exact(len).map(|parameters| {
            let Block { w1, b1, w2, b2 } = block(parameters, self.hidden);
            Residual::new(Dense::new(1, w1, b1, w2, &[b2], 1.0))
        });
        Ok(TrainedLine { network: Chain::new::<f64>(branches.collect()), losses })
    }

    fn check(&self, inputs: &[f64], targets: &[f64]) -> Result<(), LineError> {
        let refuse = |name, value, rule| Err(LineError::Setting { name, value, rule });
        if self.hidden == 0 {
            return refuse("hidden", 0.0, "at least 1");
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return refuse("learning_rate", self.learning_rate, "positive and finite");
        }
        if let Some(coeff) = self.coeff
            && !(coeff > 0.0 && coeff < 1.0)
        {
            return refuse("coeff", coeff, "between 0 and 1, or absent");
        }
        if inputs.len() != targets.len() || inputs.is_empty() {
            return Err(LineError::Pairs { inputs: inputs.len(), targets: targets.len() });
        }
        Ok(())
    }

    /// Scales both layers of every block down to the largest norm they may have.
    fn project(&self, parameters: &mut [f64]) {
        let Some(coeff) = self.coeff else { return };
        for block in parameters.chunks_exact_mut(3 * self.hidden + 1) {
            for layer in [0..self.hidden, 2 * self.hidden..3 * self.hidden] {
                let length = block[layer.clone()].iter().map(|w| w * w).sum::<f64>().sqrt();
                if length > coeff {
                    block[layer].iter_mut().for_each(|w| *w *= coeff / length);
                }
            }
        }
    }
}

/// Mean squared error, and its gradient by the chain rule, one point after the other.
fn loss_and_gradient(parameters: &[f64], hidden: usize, inputs: &[f64], targets: &[f64]) -> (f64, Vec<f64>) {
    let len = 3 * hidden + 1;
    let mut gradient = vec![0.0; parameters.len()];
    let mut loss = 0.0;
    let mut places = Vec::new();
    for (input, target) in inputs.iter().zip(targets) {
        places.clear();
        let mut x = *input;
        for parameters in parameters.chunks_exact(len) {
            places.push(x);
            let Block { w1, b1, w2, b2 } = block(parameters, hidden);
            x += b2 + (0..hidden).map(|j| w2[j] * (w1[j] * places[places.len() - 1] + b1[j]).tanh()).sum::<f64>();
        }
        loss += (x - target).powi(2) / inputs.len() as f64;
        let mut slope = 2.0 * (x - target) / inputs.len() as f64;
        let blocks = parameters.chunks_exact(len).zip(gradient.chunks_exact_mut(len)).zip(&places);
        for ((parameters, gradient), x) in blocks.rev() {
            let Block { w1, b1, w2, .. } = block(parameters, hidden);
            let mut through = 0.0;
            for j in 0..hidden {
                let z = (w1[j] * x + b1[j]).tanh();
                let before = slope * w2[j] * (1.0 - z * z);
                gradient[j] += before * x;
                gradient[hidden + j] += before;
                gradient[2 * hidden + j] += slope * z;
                through += before * w1[j];
            }
            gradient[3 * hidden] += slope;
            slope += through;
        }
    }
    (loss, gradient)
}

/// Where points of the line are before the first block and behind each: one row a depth, one column a point.
pub fn trajectories(network: &Chain<Residual<Dense<f64>>>, points: &[f64]) -> Vec<Vec<f64>> {
    let mut rows = vec![points.to_vec()];
    for layer in network.layers() {
        let here = Batch::pack(&rows[rows.len() - 1], vector(1));
        rows.push(layer.forward(here).unpack());
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solve::{Picard, SolveBy, Stop};

    fn reversal() -> (Vec<f64>, Vec<f64>) {
        let points: Vec<f64> = (0..21).map(|i| f64::from(i) / 10.0 - 1.0).collect();
        let targets = points.iter().map(|x| -x).collect();
        (points, targets)
    }

    fn crossings(rows: &[Vec<f64>]) -> usize {
        rows.iter().flat_map(|row| row.windows(2)).filter(|pair| pair[1] <= pair[0]).count()
    }

    /// Central differences at 1e-5 are exact to about 1e-10 here; 1e-7 leaves room for their cancellation.
    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let (points, targets) = reversal();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut parameters: Vec<f64> = (0..3 * 16).map(|_| rng.random_range(-1.0..1.0)).collect();
        let (_, gradient) = loss_and_gradient(&parameters, 5, &points, &targets);
        for i in 0..parameters.len() {
            let at = parameters[i];
            let mut loss = |offset: f64| {
                parameters[i] = at + offset;
                loss_and_gradient(&parameters, 5, &points, &targets).0
            };
            let slope = (loss(1e-5) - loss(-1e-5)) / 2e-5;
            parameters[i] = at;
            assert!((slope - gradient[i]).abs() < 1e-7 * (1.0 + slope.abs()), "{i}: {slope} {}", gradient[i]);
        }
    }

    #[test]
    fn only_the_free_network_crosses() {
        let (points, targets) = reversal();
        for seed in 0..4 {
            let training = LineTraining { seed, ..Default::default() };
            let free = LineTraining { coeff: None, ..training }.train(&points, &targets).unwrap();
            assert!(free.losses[free.losses.len() - 1] < 1e-2, "the free network learns the reversal, seed {seed}");
            assert!(crossings(&trajectories(&free.network, &points)) > 0);
            assert!(free.network.bounds().inverse.is_none());

            let bound = training.train(&points, &targets).unwrap();
            let rows = trajectories(&bound.network, &points);
            assert_eq!(crossings(&rows), 0, "order is kept at every depth, seed {seed}");
            assert!(bound.network.bounds().inverse.is_some());
            let stop = Stop { tolerance: Some(1e-12), max_iterations: 1000 };
            let latent = Batch::pack(&rows[rows.len() - 1], vector(1));
            let inverse = bound.network.inverse(latent, SolveBy::new(&Picard, stop)).unwrap();
            assert!(inverse.solves.iter().flatten().all(|report| report.outcome.is_success()));
            // The tolerance is 3e-12 here, |y| < 3; round-off of the latents, 1e-15, is amplified by (1/0.19)^4 = 770.
            assert!(points.iter().zip(inverse.x.unpack()).all(|(a, b)| (a - b).abs() < 1e-11));
        }
    }

    #[test]
    fn bad_settings_and_data_are_refused() {
        let train =
            |training: LineTraining, n: usize| training.train(&[0.5; 2], &vec![0.5; n]).unwrap_err().to_string();
        let base = LineTraining::default();
        assert!(train(base, 1).contains("2 inputs and 1 targets"));
        assert!(train(LineTraining { coeff: Some(1.0), ..base }, 2).contains("between 0 and 1"));
        assert!(train(LineTraining { hidden: 0, ..base }, 2).contains("hidden is 0"));
        assert!(train(LineTraining { learning_rate: 0.0, ..base }, 2).contains("learning_rate is 0"));
        assert!(base.train(&[f64::NAN], &[0.0]).unwrap_err().to_string().contains("finite"));
    }
}
