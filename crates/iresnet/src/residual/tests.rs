//! Sequences in float64: the tolerance is kept at the network's input, and no error bar is violated.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::solve::{Anderson, Picard};

const LEN: usize = 6;
const SAMPLES: usize = 20;

fn sequence(rng: &mut ChaCha8Rng, blocks: usize, target: f64) -> Sequence<Dense<f64>> {
    let mut random = |len: usize| -> Vec<f64> { (0..len).map(|_| rng.random_range(-1.0..1.0)).collect() };
    let mut block = || Dense::contractive(LEN, &random(8 * LEN), &random(8), &random(8 * LEN), &random(LEN), target);
    Sequence { branches: (0..blocks).map(|_| block()).collect() }
}

fn length(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|v| v * v).sum::<f64>().sqrt()
}

fn tolerance_holds_at_the_input<S: Solver<f64>>(solver: &S) {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let stop = Stop { tolerance: Some(1e-7), max_iterations: 1000 };
    for case in 0..100 {
        let network = sequence(&mut rng, 5, [0.3, 0.7, 0.9][case % 3]);
        let truth: Vec<f64> = (0..SAMPLES * LEN).map(|_| rng.random_range(-1.0..1.0)).collect();
        let latent = network.forward(&pack(&truth, LEN));
        let inverse = network.inverse(&latent, SAMPLES, solver, stop).unwrap();
        assert!(inverse.blocks.iter().flatten().all(|report| report.outcome.is_success()));
        let x = unpack(&inverse.x, LEN, SAMPLES);
        for (n, bar) in inverse.error_bars.iter().enumerate() {
            let of = n * LEN..(n + 1) * LEN;
            let error = length(x[of.clone()].iter().zip(&truth[of.clone()]).map(|(a, b)| a - b));
            let bar = bar.unwrap();
            assert!(error <= bar, "{case}, sample {n}: {error:e} > {bar:e}");
            // |x| < 2.5, and a branch adds at most h |W2| sqrt(8) + h |b2| < 0.9 / |W1| sqrt(8) + 2.5 < 5, as |W1| > 1.6:
            // no block's |y| is above 30. Round-off, about 1e-14, is amplified by at most 1e5.
            assert!(bar <= 30.0 * stop.tolerance.unwrap() + 1e-8, "{case}, sample {n}: {bar:e}");
        }
    }
}

#[test]
fn picard_keeps_a_tolerance_at_the_input() {
    tolerance_holds_at_the_input(&Picard);
}

#[test]
fn anderson_keeps_a_tolerance_at_the_input() {
    tolerance_holds_at_the_input(&Anderson::default());
}

#[test]
fn expanding_sequences_have_no_bars() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut network = sequence(&mut rng, 2, 0.5);
    network.branches.push(Dense::new(LEN, &[1.0; LEN], &[0.0], &[1.0; LEN], &[0.0; LEN], 1.0));
    let audit = network.audit::<f64>();
    assert!(!audit.invertible && audit.inverse.is_none() && audit.forward.is_some());
    let stop = Stop { tolerance: Some(1e-6), max_iterations: 50 };
    let inverse = network.inverse(&vec![0.0; LEN * LANES], 3, &Picard, stop).unwrap();
    assert_eq!(inverse.error_bars, [None; 3]);
    assert_eq!((inverse.blocks.len(), inverse.blocks[0].len()), (3, 3));
}
