//! One table over all bijections and injections: what each promises, checked in float64.
//!
//! A new layer is one line in [`bijections`].

use iresnet_flow::branch::{Bottleneck, ChannelAffine, Dense};
use iresnet_flow::layers::{ActNorm, InjectivePadding, Residual, Squeeze};
use iresnet_flow::proof::{Layer, examine};
use iresnet_flow::solve::{Anderson, Picard, SolveBy, Stop};
use iresnet_flow::{Batch, Bijection, Chain, ImageShape, Injection, Inverse, LANES, log_det, vector};
use iresnet_kernels::{Activation, BlockShape};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

type Boxed = Box<dyn Bijection<f64>>;

const IMAGE: ImageShape = ImageShape { channels: 2, height: 4, width: 2 };

fn random(seed: u64, len: usize, size: f64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-size..size)).collect()
}

fn narrow(values: Vec<f64>) -> Vec<f32> {
    values.into_iter().map(|v| v as f32).collect()
}

/// Smooth, or differences would meet kinks; contractive by small weights.
fn bottleneck(seed: u64, image: ImageShape, activation: Activation, affine: bool) -> Residual<Bottleneck> {
    let shape = BlockShape {
        image,
        bottleneck: 3,
        kernels: [3, 1, 3],
        activation,
        activate_input: seed.is_multiple_of(2),
        step: 0.7,
    };
    let weights = narrow(random(seed, shape.num_weights(), 0.2));
    let map = |channels: usize| ChannelAffine {
        scale: narrow(random(seed + 1, channels, 1.0)),
        shift: narrow(random(seed + 2, channels, 0.5)),
    };
    let maps = affine.then(|| [image.channels, 3, 3].map(map));
    Residual::new(Bottleneck::new(format!("block {seed}"), &shape, weights, maps))
}

fn dense(seed: u64) -> Residual<Dense<f64>> {
    let part = |i: u64, len: usize| random(10 * seed + i, len, 1.0);
    Residual::new(Dense::contractive(5, &part(1, 40), &part(2, 8), &part(3, 40), &part(4, 5), 0.8))
}

fn actnorm(image: ImageShape) -> ActNorm {
    ActNorm::from_parameters(image, narrow(random(5, 2 * image.channels, 0.7)), true)
}

/// The layers of a small network, with their constants proved.
fn network() -> Chain<Box<dyn Layer>> {
    let small = ImageShape { channels: 8, height: 2, width: 1 };
    let layers: Vec<Box<dyn Layer>> = vec![
        Box::new(actnorm(IMAGE)),
        Box::new(bottleneck(1, IMAGE, Activation::LipSwish, false)),
        Box::new(Squeeze::new(IMAGE)),
        Box::new(bottleneck(2, small, Activation::Elu, true)),
        Box::new(actnorm(small)),
    ];
    let (certificate, chain) = examine(&Chain::new::<f64>(layers), IMAGE, 0.0, None);
    assert!(certificate.certified, "{:?}", certificate.reasons);
    chain
}

/// A layer whose constant is proved.
fn proved(layer: impl Layer + 'static) -> Box<dyn Layer> {
    let image = Bijection::<f64>::input(&layer);
    let (certificate, chain) = examine(&Chain::new::<f64>(vec![Box::new(layer) as Box<dyn Layer>]), image, 0.0, None);
    assert!(certificate.certified, "{:?}", certificate.reasons);
    chain.layers()[0].boxed()
}

/// Every bijection there is.
fn bijections() -> Vec<(&'static str, Boxed)> {
    vec![
        ("residual of convolutions, softplus", Box::new(proved(bottleneck(3, IMAGE, Activation::Softplus, false)))),
        ("residual of convolutions and BatchNorms", Box::new(proved(bottleneck(4, IMAGE, Activation::Elu, true)))),
        ("residual of a dense branch", Box::new(dense(1))),
        ("squeeze", Box::new(Squeeze::new(IMAGE))),
        ("ActNorm", Box::new(actnorm(IMAGE))),
        ("chain of dense layers", Box::new(Chain::new::<f64>(vec![dense(1), dense(2), dense(3)]))),
        ("chain of all layers", Box::new(network())),
        (
            "inverse of a residual of convolutions",
            Box::new(Inverse::new(proved(bottleneck(5, IMAGE, Activation::Softplus, false)))),
        ),
        ("inverse of a residual of a dense branch", Box::new(Inverse::new(dense(4)))),
        ("inverse of a squeeze", Box::new(Inverse::new(Squeeze::new(IMAGE)))),
        ("inverse of ActNorm", Box::new(Inverse::new(actnorm(IMAGE)))),
        ("inverse of a chain", Box::new(Inverse::new(network()))),
    ]
}

const SAMPLES: usize = LANES + 3;

fn samples(shape: ImageShape, seed: u64) -> Batch<f64> {
    Batch::pack(&random(seed, SAMPLES * shape.len(), 1.0), shape)
}

fn furthest(a: &Batch<f64>, b: &Batch<f64>) -> f64 {
    assert_eq!((a.shape(), a.samples()), (b.shape(), b.samples()));
    a.unpack().iter().zip(b.unpack()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

const STOP: Stop = Stop { tolerance: Some(0.0), max_iterations: 2000 };

#[test]
fn shapes_are_what_they_say_and_chains_check_them() {
    for (name, map) in bijections() {
        let y = map.forward(samples(map.input(), 1));
        assert_eq!((y.shape(), y.samples()), (map.output(), SAMPLES), "{name}");
        assert_eq!(map.input().len(), map.output().len(), "{name}");
    }
    let wrong = std::panic::catch_unwind(|| Chain::new::<f64>(vec![Squeeze::new(IMAGE), Squeeze::new(IMAGE)]));
    assert!(wrong.is_err(), "shapes that do not fit");
}

#[test]
fn both_round_trips_give_back_what_went_in_within_their_error_bars() {
    for (name, map) in bijections() {
        for solver in [&Picard as &dyn iresnet_flow::solve::Solver<f64>, &Anderson::default()] {
            let x = samples(map.input(), 2);
            let back = map.inverse(map.forward(x.clone()), SolveBy::new(solver, STOP)).unwrap();
            assert!(back.solves.iter().flatten().all(|report| report.outcome.is_success()), "{name}");
            // Lipschitz constants of inverses are below 50 here: float64's rounding is amplified to 1e-13.
            assert!(furthest(&x, &back.x) < 1e-11, "{name}: {:e}", furthest(&x, &back.x));
            let errors = x.unpack().iter().zip(back.x.unpack()).map(|(a, b)| (a - b).powi(2)).collect::<Vec<_>>();
            for (squares, bar) in errors.chunks(x.shape().len()).zip(&back.error_bars) {
                let error = squares.iter().sum::<f64>().sqrt();
                // The forward pass rounds too: some units in the last place of values of length 10.
                assert!(error <= bar.unwrap() + 1e-13, "{name}: {error:e} {bar:?}");
            }
            let y = samples(map.output(), 3);
            let there = map.inverse(y.clone(), SolveBy::new(solver, STOP)).unwrap();
            assert!(furthest(&y, &map.forward(there.x)) < 1e-11, "{name}");
        }
    }
}

/// Central differences at 1e-5: their own error is about 1e-10 for functions of this size, with their cancellation 1e-9.
#[test]
fn jacobians_are_those_of_the_map() {
    for (name, map) in bijections() {
        let (x, v) = (samples(map.input(), 4), samples(map.input(), 5));
        let at = |t: f64| {
            let moved: Vec<f64> = x.unpack().iter().zip(v.unpack()).map(|(x, v)| x + t * v).collect();
            map.forward(Batch::pack(&moved, map.input())).unpack()
        };
        let differences: Vec<f64> = at(1e-5).iter().zip(at(-1e-5)).map(|(a, b)| (a - b) / 2e-5).collect();
        let jvp = map.jvp(&x, &v);
        let apart = furthest(&jvp, &Batch::pack(&differences, map.output()));
        assert!(apart < 1e-8, "{name}: {apart:e}");
        // <w, J v> = <J^T w, v>, sample by sample, to rounding of sums of some dozen terms.
        let w = samples(map.output(), 6);
        let vjp = map.vjp(&x, &w);
        let dots = |a: &Batch<f64>, b: &Batch<f64>| -> Vec<f64> {
            let (a, b, len) = (a.unpack(), b.unpack(), a.shape().len());
            a.chunks(len).zip(b.chunks(len)).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a * b).sum()).collect()
        };
        for (one, other) in dots(&w, &jvp).into_iter().zip(dots(&vjp, &v)) {
            assert!((one - other).abs() < 1e-11, "{name}: {one} {other}");
        }
    }
}

#[test]
fn log_determinants_are_those_of_the_jacobian() {
    for (name, map) in bijections() {
        let x = samples(map.input(), 7);
        let (own, exact) = (map.log_det(&x), log_det::exact(&*map, &x));
        assert_eq!((own.len(), exact.len()), (SAMPLES, SAMPLES), "{name}");
        for (own, exact) in own.iter().zip(&exact) {
            assert!((own - exact).abs() < 1e-11 * (1.0 + exact.abs()), "{name}: {own} {exact}");
        }
        // Of the inverse, at the image: the negative.
        let back = Inverse::new(map);
        let y = back.of.forward(x);
        for (there, back) in own.iter().zip(back.log_det(&y)) {
            assert!((there + back).abs() < 1e-10 * (1.0 + there.abs()), "{name}: {there} {back}");
        }
    }
}

#[test]
fn no_measured_ratio_exceeds_the_bounds() {
    for (name, map) in bijections() {
        let bounds = map.bounds();
        let (forward, inverse) = (bounds.forward.unwrap(), bounds.inverse.unwrap());
        for (seed, size) in [(8, 1.0), (9, 1e-3), (10, 10.0)] {
            let x = samples(map.input(), seed);
            let moved: Vec<f64> = x
                .unpack()
                .iter()
                .zip(random(seed + 50, SAMPLES * map.input().len(), size))
                .map(|(x, d)| x + d)
                .collect();
            let other = Batch::pack(&moved, map.input());
            let apart = |a: Batch<f64>, b: Batch<f64>| -> Vec<f64> {
                let differences: Vec<f64> = a.unpack().iter().zip(b.unpack()).map(|(a, b)| a - b).collect();
                Batch::pack(&differences, a.shape()).lengths()
            };
            let before = apart(x.clone(), other.clone());
            let after = apart(map.forward(x), map.forward(other));
            for (before, after) in before.iter().zip(&after) {
                // Rounding of values of length 10, relative to distances of 1e-3.
                let up = 1.0 + 1e-10;
                assert!(*after <= forward * before * up, "{name}: {after} > {forward} {before}");
                assert!(*before <= inverse * after * up, "{name}: {before} > {inverse} {after}");
            }
        }
    }
}

#[test]
fn a_sample_does_not_feel_its_neighbours() {
    for (name, map) in bijections() {
        let x = samples(map.input(), 11);
        let (len, all) = (map.input().len(), map.forward(x.clone()).unpack());
        let back = map.inverse(Batch::pack(&all, map.output()), SolveBy::new(&Picard, STOP)).unwrap();
        for n in [0, 7, SAMPLES - 1] {
            let alone = map.forward(Batch::pack(&x.unpack()[n * len..(n + 1) * len], map.input()));
            assert!(alone.unpack() == all[n * len..(n + 1) * len], "{name}, sample {n}, bit for bit");
            let inverse = map.inverse(alone, SolveBy::new(&Picard, STOP)).unwrap();
            assert!(inverse.x.unpack() == back.x.unpack()[n * len..(n + 1) * len], "{name}, sample {n}, inverse");
        }
    }
}

/// Rounding in float64 stays within what the enclosed pass says: float32 values are exact in it, and a pass at eight times
/// the precision is not at hand, so the bound is compared with the spread of the same map in another order of operations.
#[test]
fn enclosed_passes_are_the_map_and_their_errors_are_small_and_grow() {
    let chain = network();
    let x = samples(IMAGE, 12);
    let mut errors = vec![0.0; SAMPLES];
    let y = chain.layers().iter().fold(x.clone(), |x, layer| {
        let before = errors.clone();
        let y = layer.forward_enclosed(x, &mut errors);
        assert!(
            errors.iter().zip(&before).all(|(after, before)| *after >= 0.0 && after.is_finite() && before <= &1e-10)
        );
        y
    });
    assert_eq!(y, Bijection::<f64>::forward(&chain, x));
    assert!(errors.iter().all(|error| *error > 0.0 && *error < 1e-11), "{errors:?}");
}

#[test]
fn padding_is_an_injection() {
    let padding = InjectivePadding::new(IMAGE, 5);
    let wide = ImageShape { channels: 5, ..IMAGE };
    assert_eq!((Injection::<f64>::input(&padding), Injection::<f64>::output(&padding)), (IMAGE, wide));
    let x = samples(IMAGE, 13);
    let y = padding.forward(x.clone());
    assert_eq!(y.shape(), wide);
    assert_eq!(padding.inverse(y.clone()), (x.clone(), vec![0.0; SAMPLES]));
    // An isometry onto its image, and how far from it a point is.
    assert!(y.lengths().iter().zip(x.lengths()).all(|(a, b)| (a - b).abs() < 1e-15));
    let mut off = y.unpack();
    off[IMAGE.len() + 3] = 3.0;
    off[IMAGE.len() + 5] = -4.0;
    let (back, residuals) = padding.inverse(Batch::pack(&off, wide));
    assert_eq!((back, residuals[0], residuals[1]), (x, 5.0, 0.0));
}

#[test]
fn vectors_are_images_of_one_pixel() {
    assert_eq!(vector(3), ImageShape { channels: 3, height: 1, width: 1 });
    assert_eq!(Bijection::<f64>::input(&dense(1)), vector(5));
}
