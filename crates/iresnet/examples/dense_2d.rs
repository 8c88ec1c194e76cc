//! Dense layers for vector data: a random invertible map of the plane and its inverse, Picard beside Anderson.
//! `cargo run --release -p iresnet --example dense_2d`

use iresnet::flow::branch::Dense;
use iresnet::flow::layers::Residual;
use iresnet::flow::{Batch, Bijection, Chain, vector};
use iresnet::solve::{Anderson, Picard, SolveBy, Solver, Stop};
use rand::{RngExt, SeedableRng};

type Map = Chain<Residual<Dense<f64>>>;

fn main() {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
    let mut random = |len: usize| -> Vec<f64> { (0..len).map(|_| rng.random_range(-1.0..1.0)).collect() };
    let mut layer = || Residual::new(Dense::contractive(2, &random(32), &random(16), &random(32), &random(2), 0.9));
    let map: Map = Chain::new((0..4).map(|_| layer()).collect());
    let points = Batch::pack(&random(2 * 50), vector(2));
    show("Picard", &map, &points, &Picard);
    show("Anderson", &map, &points, &Anderson::default());
}

fn show(name: &str, map: &Map, points: &Batch<f64>, solver: &dyn Solver<f64>) {
    let stop = Stop { tolerance: Some(1e-10), max_iterations: 500 };
    let inverse = map.inverse(map.forward(points.clone()), SolveBy::new(solver, stop)).expect("the bounds are true");
    let pairs = points.unpack().into_iter().zip(inverse.x.unpack());
    let error = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let evaluations: usize = inverse.solves.iter().flatten().map(|report| report.evaluations).sum();
    let bar = inverse.error_bars.iter().flatten().copied().fold(0.0, f64::max);
    println!("{name}: largest error {error:.1e}, below its bar {bar:.1e}, {evaluations} evaluations");
}
