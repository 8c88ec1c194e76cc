//! A network with an ActNorm before every block: chosen by the first batch, trained, saved, certified and inverted.

use std::path::Path;

use iresnet::device::{Cpu, Device};
use iresnet::model::ConfigError;
use iresnet::model::{Activation, IResNet, Input, Memory, ModelConfig, Norm};
use iresnet::solve::{Picard, Stop};
use ndarray::Array4;

const INPUT: Input = Input { channels: 1, height: 8, width: 8, classes: 10 };

fn config() -> ModelConfig {
    let norm = Norm::Spectral { coeff: 0.7 };
    ModelConfig { blocks: vec![2, 2], norm, actnorm: true, dropout: 0.0, ..ModelConfig::preset("digits").unwrap() }
}

fn images() -> Array4<f32> {
    Array4::from_shape_fn((37, 1, 8, 8), |(n, _, y, x)| ((n * 131 + y * 17 + x * 7) % 101) as f32 / 101.0 - 0.2)
}

fn initialised() -> IResNet {
    let mut model = config().init(INPUT, 3).unwrap();
    model.update_norms(50);
    model.initialise_actnorms(images().view());
    model
}

#[test]
fn the_first_batch_chooses_scales_once_and_they_are_saved() {
    let model = initialised();
    let chosen = model.trunk_parameters().to_vec();
    assert_ne!(chosen, config().init(INPUT, 3).unwrap().trunk_parameters());
    let mut loaded = config().init(INPUT, 5).unwrap();
    loaded.load_safetensors(&model.to_safetensors(), Path::new("memory")).unwrap();
    assert_eq!(loaded.trunk_parameters(), chosen);
    // Estimates of norms are computed again from the vectors, which rounds otherwise.
    let [ours, theirs] = [&loaded, &model].map(|network| network.forward(images().view()).logits);
    assert!(ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 1e-5), "{ours} {theirs}");
    // Neither the network nor its copy from a file chooses again.
    for mut network in [model, loaded] {
        network.initialise_actnorms((images() * 3.0).view());
        assert_eq!(network.trunk_parameters(), chosen);
    }
    // A network saved before its first batch still waits for it.
    let fresh = config().init(INPUT, 3).unwrap();
    let mut loaded = config().init(INPUT, 5).unwrap();
    loaded.load_safetensors(&fresh.to_safetensors(), Path::new("memory")).unwrap();
    loaded.initialise_actnorms(images().view());
    assert_ne!(loaded.trunk_parameters(), fresh.trunk_parameters());
}

/// Of the network's first layer; channels of padding have one value, and keep their scale.
#[test]
fn every_channel_leaves_with_mean_0_and_variance_1() {
    let model = initialised();
    let place = model.layout().blocks().next().unwrap().actnorm.clone().unwrap();
    let parameters = &model.trunk_parameters()[place.clone()];
    let (scales, shifts) = parameters.split_at(place.len() / 2);
    let values = images().mapv(|v| scales[0].exp() * v + shifts[0]);
    assert!(values.mean().unwrap().abs() < 1e-5 && (values.std(0.0) - 1.0).abs() < 1e-5);
    assert!(scales[1..].iter().chain(&shifts[1..]).all(|p| *p == 0.0), "{parameters:?}");
}

#[test]
fn it_is_certified_and_inverted_within_its_error_bars() {
    let certified = initialised().prepare().certify().unwrap();
    let images = images();
    let stop = Stop { tolerance: Some(1e-6), max_iterations: 200 };
    let inversion = certified.inverse(certified.latents(images.view()).view(), &Picard, stop).unwrap();
    inversion.report.require_converged().unwrap();
    for (bar, (image, back)) in
        inversion.report.images.iter().zip(images.outer_iter().zip(inversion.images.outer_iter()))
    {
        let apart = (&image - &back).iter().map(|d| f64::from(*d).powi(2)).sum::<f64>().sqrt();
        assert!(apart <= bar.error_bar.unwrap() && apart < 1e-4, "{apart:e} {:?}", bar.error_bar);
    }
}

/// Along the gradient of the ActNorms' parameters the loss falls as the gradient says, in every memory mode. The activation
/// is smooth, since channels of padding lie at ReLU's kink.
#[test]
fn gradients_are_those_of_the_loss() {
    let mut model = ModelConfig { activation: Activation::Elu, ..config() }.init(INPUT, 3).unwrap();
    model.update_norms(50);
    model.initialise_actnorms(images().view());
    let labels: Vec<u32> = (0..37).map(|i| i % 10).collect();
    let images = images();
    let places: Vec<usize> = model.layout().blocks().flat_map(|block| block.actnorm.clone().unwrap()).collect();
    let gradient = Cpu.differentiate(&model, images.view(), &labels, None).gradients.trunk;
    let square: f64 = places.iter().map(|&p| f64::from(gradient[p]).powi(2)).sum();
    let loss = |along: f32| {
        let mut moved = model.clone();
        let [trunk, _] = moved.parameters_mut();
        places.iter().for_each(|&p| trunk[p] += along * gradient[p]);
        f64::from(Cpu.differentiate(&moved, images.view(), &labels, None).loss)
    };
    let step = (1e-4 / square) as f32;
    let slope = (loss(step) - loss(-step)) / (2.0 * f64::from(step));
    // The loss is known to some 1e-7, and differs by 2e-4 between the two.
    assert!((slope / square - 1.0).abs() < 1e-2, "{slope} {square}");
    for memory in [Memory::Checkpoint(2), Memory::Reversible] {
        let mut model = model.clone();
        model.set_memory(memory).unwrap();
        let other = Cpu.differentiate(&model, images.view(), &labels, None).gradients.trunk;
        let apart: f64 = gradient.iter().zip(&other).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        let size: f64 = gradient.iter().map(|g| f64::from(*g).powi(2)).sum();
        assert!(apart.sqrt() <= 1e-4 * size.sqrt(), "{memory}: {:e}", (apart / size).sqrt());
    }
}

#[test]
fn files_speak_of_it_only_where_it_is_used() {
    let without = ModelConfig { actnorm: false, ..config() };
    assert!(!serde_json::to_string(&without).unwrap().contains("actnorm"));
    let with = serde_json::to_string(&config()).unwrap();
    assert_eq!(serde_json::from_str::<ModelConfig>(&with).unwrap(), config());
    let both = ModelConfig { norm: Norm::Batch, ..config() };
    let error: ConfigError = both.init(INPUT, 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "model.actnorm = true is not usable: false with batch normalisation, which scales and shifts too"
    );
}
