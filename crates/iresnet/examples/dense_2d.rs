//! Dense blocks for vector data: a random invertible map of the plane and its inverse, Picard beside Anderson.
//! `cargo run --release --example dense_2d`

use iresnet::residual::{Dense, Sequence, pack, unpack};
use iresnet::solve::{Anderson, Picard, Solver, Stop};
use rand::{RngExt, SeedableRng};

fn main() {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
    let mut random = |len: usize| -> Vec<f64> { (0..len).map(|_| rng.random_range(-1.0..1.0)).collect() };
    let branches: Vec<Dense<f64>> =
        (0..4).map(|_| Dense::contractive(2, &random(32), &random(16), &random(32), &random(2), 0.9)).collect();
    let network = Sequence { branches };
    let points = random(2 * 50);
    let latent = network.forward(&pack(&points, 2));
    show("Picard", &network, &points, &latent, &Picard);
    show("Anderson", &network, &points, &latent, &Anderson::default());
}

fn show<S: Solver<f64>>(name: &str, network: &Sequence<Dense<f64>>, points: &[f64], latent: &[f64], solver: &S) {
    let stop = Stop { tolerance: Some(1e-10), max_iterations: 500 };
    let inverse = network.inverse(latent, 50, solver, stop).expect("the bounds are true");
    let error = points.iter().zip(unpack(&inverse.x, 2, 50)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let evaluations: usize = inverse.blocks.iter().flatten().map(|r| r.evaluations).sum();
    let bar = inverse.error_bars.iter().flatten().copied().fold(0.0, f64::max);
    println!("{name}: largest error {error:.1e}, below its bar {bar:.1e}, {evaluations} evaluations");
}
