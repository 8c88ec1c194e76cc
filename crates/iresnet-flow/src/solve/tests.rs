//! Theory as oracle: on random contractive blocks in float64 no error bar is ever violated, and every failure gets its
//! own outcome without touching its neighbours.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::branch::Dense;
use crate::layers::Residual;
use crate::{Batch, Bijection, Chain, ImageShape, Scalar, vector};

const LEN: usize = 6;

fn random(rng: &mut ChaCha8Rng, len: usize) -> Vec<f64> {
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn block<T: Scalar>(rng: &mut ChaCha8Rng, lipschitz: f64) -> Dense<T> {
    let (w1, w2) = (random(rng, 8 * LEN), random(rng, 8 * LEN));
    let (b1, b2) = (random(rng, 8), random(rng, LEN));
    Dense::contractive(LEN, &w1, &b1, &w2, &b2, lipschitz)
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

fn pack<T: Scalar>(values: &[T]) -> Batch<T> {
    Batch::pack(values, vector(LEN))
}

fn forward<T: Scalar>(branch: &Dense<T>, x: &[T]) -> Batch<T> {
    Residual::new(branch.clone()).forward(pack(x))
}

/// 2,000 blocks of three samples, after 1 to 10, 20 and 100 iterations: the truth is known because `y` was made from it.
fn bars_hold(solver: &dyn Solver<f64>) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for case in 0..2000 {
        let lipschitz = [0.3, 0.7, 0.95][case % 3];
        let branch = block::<f64>(&mut rng, lipschitz);
        let truth = random(&mut rng, 3 * LEN);
        let y = forward(&branch, &truth);
        for max_iterations in (1..=10).chain([20, 100]) {
            let stop = Stop { tolerance: Some(0.0), max_iterations };
            let solved = solve(&branch, &y, solver, stop).unwrap();
            let x = solved.x.unpack();
            for (n, report) in solved.reports.iter().enumerate() {
                let error = distance(&x[n * LEN..(n + 1) * LEN], &truth[n * LEN..(n + 1) * LEN]);
                let bar = report.error_bar.unwrap();
                assert!(error <= bar, "{case}: {error:e} > {bar:e} after {max_iterations}");
                // A priori: ||x_k - x*|| <= L^k / (1 - L) ||x_1 - x_0||, and ||x_1 - x_0|| = ||g(y)||.
                if solver.is_plain() {
                    let mut g = vec![0.0; y.packs().len()];
                    branch.value(y.packs(), &mut g);
                    let first = Batch::from_packs(g, vector(LEN), 3).lengths()[n];
                    let prior = lipschitz.powi(report.iterations as i32) / (1.0 - lipschitz) * first;
                    assert!(error <= prior + 1e-13, "{case}: {error:e} > {prior:e}");
                }
            }
        }
    }
}

#[test]
fn picard_keeps_its_error_bars() {
    bars_hold(&Picard);
}

#[test]
fn anderson_keeps_its_error_bars() {
    bars_hold(&Anderson::default());
}

#[test]
fn tolerances_are_met_and_anderson_is_not_slower() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let (mut picard, mut anderson) = (0, 0);
    for _ in 0..50 {
        let branch = block::<f64>(&mut rng, 0.9);
        let truth = random(&mut rng, 20 * LEN);
        let y = forward(&branch, &truth);
        let stop = Stop { tolerance: Some(1e-8), max_iterations: 1000 };
        let count = |reports: &[SampleReport]| {
            assert!(reports.iter().all(|r| r.outcome == Outcome::Converged));
            reports.iter().map(|r| r.evaluations).sum::<usize>()
        };
        let solved = solve(&branch, &y, &Picard, stop).unwrap();
        let x = solved.x.unpack();
        for n in 0..20 {
            let at = n * LEN..(n + 1) * LEN;
            let size = y.lengths()[n];
            assert!(distance(&x[at.clone()], &truth[at]) <= 1e-8 * size);
        }
        picard += count(&solved.reports);
        anderson += count(&solve(&branch, &y, &Anderson::default(), stop).unwrap().reports);
    }
    assert!(anderson < picard, "{anderson} {picard}");
}

/// Expanding by construction, or lying about its bound.
struct Linear {
    factor: f64,
    claimed: Option<f64>,
}

impl Branch<f64> for Linear {
    fn shape(&self) -> ImageShape {
        vector(LEN)
    }

    fn value(&self, x: &[f64], out: &mut [f64]) {
        out.iter_mut().zip(x).for_each(|(out, x)| *out = self.factor * x);
    }

    fn lipschitz(&self) -> Option<f64> {
        self.claimed
    }
}

#[test]
fn failures_are_typed_and_false_claims_are_refuted() {
    let y = pack(&[1.0; LEN]);
    let stop = Stop { tolerance: Some(1e-6), max_iterations: 50 };
    let outcome = |factor: f64| solve(&Linear { factor, claimed: None }, &y, &Picard, stop).unwrap().reports[0].outcome;
    assert_eq!(outcome(1.5), Outcome::NotContractive);
    assert_eq!(outcome(1.0), Outcome::OutOfIterations);
    assert_eq!(outcome(f64::NAN), Outcome::NonFinite);
    assert_eq!(outcome(0.0), Outcome::Converged);
    let none = Stop { max_iterations: 0, ..stop };
    let solved = solve(&Linear { factor: 0.5, claimed: Some(0.5) }, &y, &Picard, none).unwrap();
    assert_eq!((&solved.x, solved.reports[0].iterations), (&y, 0));
    assert_eq!((solved.reports[0].outcome, solved.reports[0].error_bar), (Outcome::OutOfIterations, None));
    let lie = Linear { factor: 0.9, claimed: Some(0.5) };
    let error = solve(&lie, &y, &Picard, stop).unwrap_err();
    assert_eq!((error.sample, error.iteration, error.lipschitz), (0, 2, 0.5));
    assert!(error.to_string().contains("the certificate does not belong to these weights"));
}

#[test]
fn bad_samples_leave_the_others_as_they_are_alone() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let branch = block::<f32>(&mut rng, 0.8);
    let n = 100;
    let mut y: Vec<f32> = random(&mut rng, n * LEN).iter().map(|v| *v as f32).collect();
    y[7 * LEN] = f32::NAN;
    y[21 * LEN + 3] = f32::INFINITY;
    y[40 * LEN..41 * LEN].fill(0.0);
    let stop = Stop { tolerance: Some(1e-5), max_iterations: 200 };
    let together = solve(&branch, &pack(&y), &Picard, stop).unwrap();
    let x = together.x.unpack();
    for (i, report) in together.reports.iter().enumerate() {
        let alone = solve(&branch, &pack(&y[i * LEN..(i + 1) * LEN]), &Picard, stop).unwrap();
        let same = alone.x.unpack().iter().zip(&x[i * LEN..]).all(|(a, b)| a.to_bits() == b.to_bits());
        if i == 7 || i == 21 {
            assert_eq!(report.outcome, Outcome::NonFinite, "sample {i}");
        } else {
            assert!(report.outcome.is_success(), "sample {i}: {report:?}");
            assert!(same && alone.reports[0] == *report, "sample {i}, bit for bit");
        }
    }
}

/// `g(0)` is zero only because large terms cancel: the arithmetic rounds at the size of those terms, not at that of
/// `x`. The float64 solve of the very same weights is the truth.
#[test]
fn cancelling_offsets_neither_refute_certificates_nor_break_bars() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let (len, hidden) = (16, 32);
    for case in 0..200 {
        let mut narrow = |n: usize, scale: f64| -> Vec<f64> {
            random(&mut rng, n).iter().map(|v| f64::from((v * scale) as f32)).collect()
        };
        let (w1, w2, b1) = (narrow(len * hidden, 0.1), narrow(len * hidden, 0.1), narrow(hidden, 3.0));
        let cancel = |row: &[f64]| -row.iter().zip(&b1).map(|(w, b)| w * b.tanh()).sum::<f64>();
        let b2: Vec<f64> = w2.chunks_exact(hidden).map(|row| f64::from(cancel(row) as f32)).collect();
        let branch = Dense::<f32>::new(len, &w1, &b1, &w2, &b2, 1.0);
        let exact = Dense::<f64>::new(len, &w1, &b1, &w2, &b2, 1.0);
        let stop = Stop { tolerance: Some(0.0), max_iterations: 300 };
        let truth = solve(&exact, &Batch::zeros(vector(len), 1), &Picard, stop).unwrap();
        let solved = solve(&branch, &Batch::zeros(vector(len), 1), &Picard, stop).unwrap();
        let error = distance(&solved.x.cast().unpack(), &truth.x.unpack());
        let bar = solved.reports[0].error_bar.unwrap() + truth.reports[0].error_bar.unwrap();
        assert!(error <= bar, "{case}: {error:e} > {bar:e}");
    }
}

#[test]
fn negative_steps_and_no_memory_are_fine() {
    let (one, zero) = ([1.0], [0.0]);
    let branch = Dense::<f64>::new(1, &one, &zero, &one, &zero, -0.5);
    assert!(Branch::<f64>::lipschitz(&branch).unwrap() >= 0.5);
    let truth = [0.4];
    let y = Residual::new(branch.clone()).forward(Batch::pack(&truth, vector(1)));
    let stop = Stop { tolerance: Some(1e-10), max_iterations: 100 };
    let picard = solve(&branch, &y, &Picard, stop).unwrap();
    let anderson = solve(&branch, &y, &Anderson { memory: 0 }, stop).unwrap();
    for solved in [&picard, &anderson] {
        assert_eq!(solved.reports[0].outcome, Outcome::Converged);
        assert!((solved.x.unpack()[0] - truth[0]).abs() <= 1e-10);
    }
    assert_eq!(anderson.reports[0].iterations, picard.reports[0].iterations);
}

fn chain(rng: &mut ChaCha8Rng, blocks: usize, target: f64) -> Chain<Residual<Dense<f64>>> {
    Chain::new((0..blocks).map(|_| Residual::new(block(rng, target))).collect())
}

fn tolerance_holds_at_the_input(solver: &dyn Solver<f64>) {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let stop = Stop { tolerance: Some(1e-7), max_iterations: 1000 };
    for case in 0..100 {
        let network = chain(&mut rng, 5, [0.3, 0.7, 0.9][case % 3]);
        let truth: Vec<f64> = (0..20 * LEN).map(|_| rng.random_range(-1.0..1.0)).collect();
        let latent = network.forward(pack(&truth));
        let inverse = network.inverse(latent, SolveBy::new(solver, stop)).unwrap();
        assert!(inverse.solves.iter().flatten().all(|report| report.outcome.is_success()));
        let x = inverse.x.unpack();
        for (n, bar) in inverse.error_bars.iter().enumerate() {
            let of = n * LEN..(n + 1) * LEN;
            let error = distance(&x[of.clone()], &truth[of]);
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
fn expanding_chains_have_no_bars() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let wide = Dense::new(LEN, &[1.0; LEN], &[0.0], &[1.0; LEN], &[0.0; LEN], 1.0);
    let network = Chain::new::<f64>(vec![
        Residual::new(block(&mut rng, 0.5)),
        Residual::new(block(&mut rng, 0.5)),
        Residual::new(wide),
    ]);
    assert!(network.bounds().inverse.is_none() && network.bounds().forward.is_some());
    let stop = Stop { tolerance: Some(1e-6), max_iterations: 50 };
    let inverse = network.inverse(Batch::zeros(vector(LEN), 3), SolveBy::new(&Picard, stop)).unwrap();
    assert_eq!(inverse.error_bars, [None; 3]);
    assert_eq!((inverse.solves.len(), inverse.solves[0].len()), (3, 3));
}
