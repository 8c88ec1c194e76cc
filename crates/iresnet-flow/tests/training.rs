//! Gradients of training passes through every layer against differences, and every way to keep less against keeping all.

use std::sync::Arc;

use iresnet_flow::autodiff::{Memory, Pool, Step, Tape, TrainedLayer};
use iresnet_flow::branch::{Bottleneck, BottleneckStep};
use iresnet_flow::layers::{ActNorm, Residual, Squeeze};
use iresnet_flow::{Batch, Bijection, ImageShape, Purpose};
use iresnet_kernels::{Activation, BlockShape};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const IMAGE: ImageShape = ImageShape { channels: 2, height: 4, width: 4 };
const SMALL: ImageShape = ImageShape { channels: 8, height: 2, width: 2 };
const SAMPLES: usize = 19;

fn random(seed: u64, len: usize, size: f32) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-size..size)).collect()
}

/// A block whose weights are given.
struct Block {
    shape: BlockShape,
    weights: Vec<f32>,
}

impl Block {
    fn new(seed: u64, image: ImageShape) -> Self {
        let shape = BlockShape {
            image,
            bottleneck: 3,
            kernels: [3, 1, 3],
            activation: Activation::Softplus,
            activate_input: true,
            step: 0.7,
        };
        let weights = random(seed, shape.num_weights(), 0.15);
        Block { shape, weights }
    }
}

impl TrainedLayer for Block {
    fn input(&self) -> ImageShape {
        self.shape.image
    }

    fn output(&self) -> ImageShape {
        self.shape.image
    }

    fn num_parameters(&self) -> usize {
        self.weights.len()
    }

    fn prepare(&self, samples: usize, purpose: Purpose) -> Box<dyn Step + '_> {
        Box::new(BottleneckStep::new(&self.shape, &self.weights, samples, None, None, purpose))
    }

    fn is_iterative(&self) -> bool {
        true
    }
}

/// Two shapes, an ActNorm inside each and one at the end.
fn layers(parameters: &[f32]) -> Vec<Box<dyn TrainedLayer>> {
    let mut rest = parameters;
    let mut take = |len: usize| {
        let (own, others) = rest.split_at(len);
        rest = others;
        own.to_vec()
    };
    let mut layers: Vec<Box<dyn TrainedLayer>> = Vec::new();
    let block = |image: ImageShape, take: &mut dyn FnMut(usize) -> Vec<f32>| {
        let block = Block::new(0, image);
        let weights = take(block.weights.len());
        Box::new(Block { weights, ..block })
    };
    layers.push(Box::new(ActNorm::from_parameters(IMAGE, take(4), true)));
    layers.push(block(IMAGE, &mut take));
    layers.push(block(IMAGE, &mut take));
    layers.push(Box::new(ActNorm::from_parameters(IMAGE, take(4), true)));
    layers.push(block(IMAGE, &mut take));
    layers.push(Box::new(Squeeze::new(IMAGE)));
    layers.push(block(SMALL, &mut take));
    layers.push(block(SMALL, &mut take));
    layers.push(Box::new(ActNorm::from_parameters(SMALL, take(16), true)));
    assert!(rest.is_empty());
    layers
}

fn parameters() -> Vec<f32> {
    let (large, small) = (Block::new(0, IMAGE).weights.len(), Block::new(0, SMALL).weights.len());
    random(3, 4 + 2 * large + 4 + large + 2 * small + 16, 0.15)
}

fn input() -> Batch<f32> {
    Batch::pack(&random(4, SAMPLES * IMAGE.len(), 1.0), IMAGE)
}

fn cotangent() -> Batch<f32> {
    Batch::pack(&random(5, SAMPLES * IMAGE.len(), 1.0), SMALL)
}

/// The same map in float64.
fn value(parameters: &[f32]) -> f64 {
    let mut rest = parameters;
    let mut take = |len: usize| {
        let (own, others) = rest.split_at(len);
        rest = others;
        own.to_vec()
    };
    let mut x = input().cast::<f64>();
    let block = |x: Batch<f64>, take: &mut dyn FnMut(usize) -> Vec<f32>| {
        let shape = Block::new(0, x.shape()).shape;
        let layer = Residual::new(Bottleneck::new("block", &shape, take(shape.num_weights()), None));
        Bijection::<f64>::forward(&layer, x)
    };
    x = ActNorm::from_parameters(IMAGE, take(4), true).forward(x);
    x = block(x, &mut take);
    x = block(x, &mut take);
    x = ActNorm::from_parameters(IMAGE, take(4), true).forward(x);
    x = block(x, &mut take);
    x = Squeeze::new(IMAGE).forward(x);
    x = block(x, &mut take);
    x = block(x, &mut take);
    x = ActNorm::from_parameters(SMALL, take(16), true).forward(x);
    x.unpack().iter().zip(cotangent().unpack()).map(|(y, w)| y * f64::from(w)).sum()
}

fn gradient(parameters: &[f32], memory: Memory) -> (Vec<f32>, Vec<f32>, usize) {
    let layers = layers(parameters);
    let (output, tape) = Tape::forward(&layers, input(), memory, &Arc::new(Pool::default()), |_, _| {});
    let mut gradient = vec![0.0; parameters.len()];
    let report = tape.backward(cotangent(), &mut gradient);
    (output.unpack(), gradient, report.recovered)
}

#[test]
fn gradients_of_all_parameters_are_those_of_the_map() {
    let mut parameters = parameters();
    let (_, gradient, _) = gradient(&parameters, Memory::Standard);
    let size = (gradient.iter().map(|g| g * g).sum::<f32>() / gradient.len() as f32).sqrt();
    for i in (0..parameters.len()).step_by(7) {
        let at = parameters[i];
        let (up, down) = (at + 1e-3, at - 1e-3);
        let mut of = |w: f32| {
            parameters[i] = w;
            value(&parameters)
        };
        let slope = (of(up) - of(down)) / (f64::from(up) - f64::from(down));
        parameters[i] = at;
        // Differences at 1e-3 are off by a millionth of third derivatives; the gradient is summed in float32.
        let apart = (slope - f64::from(gradient[i])).abs();
        assert!(apart < 1e-4 * f64::from(size.max(gradient[i].abs())), "{i}: {slope} {}", gradient[i]);
    }
}

#[test]
fn keeping_less_gives_the_same_gradients() {
    let parameters = parameters();
    let (output, standard, _) = gradient(&parameters, Memory::Standard);
    for every in [1, 2, 3, 10] {
        let kept = gradient(&parameters, Memory::Checkpoint(every));
        assert!(kept.0 == output && kept.1 == standard, "every {every}, bit for bit");
    }
    let (same, reversible, recovered) = gradient(&parameters, Memory::Reversible);
    assert!(same == output);
    // The first block of each shape has its input kept.
    assert_eq!(recovered, 3);
    let apart = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
    let error = apart(&reversible, &standard) / apart(&standard, &vec![0.0; standard.len()]);
    // Inputs are recovered to 3e-7, inner values to some times that.
    assert!(error < 1e-5, "{error:e}");
}

/// A run makes thousands of passes: what each leaves behind in the pool must not add up.
#[test]
fn passes_give_back_as_many_buffers_as_they_take() {
    let parameters = parameters();
    let layers = layers(&parameters);
    for memory in [Memory::Standard, Memory::Checkpoint(2), Memory::Reversible] {
        let pool = Arc::new(Pool::default());
        let kept = [(); 6].map(|()| {
            let (output, tape) = Tape::forward(&layers, input(), memory, &pool, |_, _| {});
            drop(output);
            tape.backward(cotangent(), &mut vec![0.0; parameters.len()]);
            pool.kept()
        });
        assert!(kept[0] > 0 && kept[2..].iter().all(|k| *k == kept[1]), "{memory}: {kept:?}");
    }
}
