//! The network composed of the framework's operations on a GPU against the fused kernels on the CPU.
//!
//! Needs the feature `gpu`; without a Vulkan driver the tests say so and pass. A software renderer, such as Mesa's
//! lavapipe, is driver enough.
#![cfg(feature = "gpu")]

use std::path::Path;

use iresnet::data::Loader;
use iresnet::device::{DeviceChoice, OpenDevice};
use iresnet::evaluate::{error_percent, error_percent_on};
use iresnet::model::{Activation, Differentiated, Dropout, DropoutKey, IResNet, Input, ModelConfig, Norm};
use iresnet::train::{RunConfig, Sgd};
use iresnet::{Device, Tensor};

const INPUT: Input = Input { channels: 2, height: 8, width: 4, classes: 3 };

fn gpu() -> Option<OpenDevice> {
    match DeviceChoice::Vulkan.open() {
        Ok(device) => {
            eprintln!("on {}", device.name);
            Some(device)
        }
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

/// Every normalisation, and every activation that a network may have.
fn networks() -> Vec<IResNet> {
    let base = ModelConfig { blocks: vec![2, 1], dropout: 0.2, step: 0.5, ..ModelConfig::preset("digits").unwrap() };
    let kinds = [
        (Norm::None, Activation::Elu),
        (Norm::Batch, Activation::Softplus),
        (Norm::Spectral { coeff: 0.6 }, Activation::Lipswish),
        (Norm::Spectral { coeff: 0.9 }, Activation::Relu),
    ];
    let init = |(norm, activation)| ModelConfig { norm, activation, ..base.clone() }.init(INPUT, 4).unwrap();
    kinds.map(init).into()
}

/// A count that is no multiple of a pack's 16 images.
const SAMPLES: usize = 19;

fn images() -> Vec<f32> {
    (0..SAMPLES * 64).map(|i| ((i * 7919) % 1013) as f32 / 1013.0 - 0.5).collect()
}

fn labels() -> Vec<u32> {
    (0..SAMPLES as u32).map(|i| i % 3).collect()
}

/// Both sides compute in float32. A GPU's `exp` and division may be off by several units in the last place, which is some
/// 1e-6 after the dozen operations in a row of these networks; gradients are sums whose terms partly cancel.
#[track_caller]
fn close(what: &str, gpu: &[f32], cpu: &[f32]) {
    assert_eq!(gpu.len(), cpu.len(), "{what}");
    let difference: f32 = gpu.iter().zip(cpu).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
    let size = cpu.iter().map(|b| b * b).sum::<f32>().sqrt();
    eprintln!("{what}: off by {:.1e}", difference / size);
    assert!(difference <= 1e-4 * size, "{what}: {difference:e} of {size:e}");
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

#[test]
fn training_agrees_with_the_cpu() {
    let Some(gpu) = gpu() else { return };
    for model in networks() {
        let dropout = || Some(Dropout::Drawn(DropoutKey { seed: 1, step: 2, probability: 0.2 }));
        let run = |device: &Device| model.differentiate(images(), &labels(), dropout(), device);
        let (ours, theirs): (Differentiated, _) = (run(&gpu.device), run(&Device::flex()));
        let what = |part: &str| format!("{:?} {part}", model.config().norm);
        close(&what("loss"), &[ours.loss], &[theirs.loss]);
        close(&what("logits"), &ours.logits, &theirs.logits);
        close(&what("gradient of the trunk"), &ours.gradients.trunk, &theirs.gradients.trunk);
        close(&what("gradient of the head"), &ours.gradients.head, &theirs.gradients.head);
        // Running statistics after the batch's have gone in.
        let tracked = |batch: &Differentiated| {
            let mut model = model.clone();
            model.track(batch);
            let state = model.state();
            [state.running_mean.as_slice(), &state.running_var].concat()
        };
        close(&what("statistics"), &tracked(&ours), &tracked(&theirs));
    }
}

#[test]
fn classification_agrees_with_the_cpu() {
    let Some(gpu) = gpu() else { return };
    for model in networks() {
        let run = |device: &Device| {
            let images = Tensor::<1>::from_floats(images().as_slice(), device);
            let output = model.forward(images.reshape([SAMPLES, INPUT.channels, INPUT.height, INPUT.width]));
            (values(output.logits), values(output.latent))
        };
        let (ours, theirs) = (run(&gpu.device), run(&Device::flex()));
        close(&format!("{:?} logits", model.config().norm), &ours.0, &theirs.0);
        close(&format!("{:?} latent", model.config().norm), &ours.1, &theirs.1);
    }
}

#[test]
fn a_network_trained_on_the_gpu_classifies_alike_on_both() {
    let Some(gpu) = gpu() else { return };
    let data = iresnet::data::load("digits", Path::new(""), &()).unwrap();
    let RunConfig { model, train } = RunConfig::preset("digits").unwrap();
    let config = ModelConfig { norm: Norm::Spectral { coeff: 0.9 }, blocks: vec![1, 1], ..model };
    let mut model = config.init(Input { channels: 1, height: 8, width: 8, classes: 10 }, 0).unwrap();
    let mut sgd = Sgd::new(&model);
    let (mut correct, mut seen) = (0, 0);
    for epoch in 0..3 {
        (correct, seen) = (0, 0);
        for batch in Loader::train(&data.train, &data.normalization, Default::default(), 64, 0, epoch, 0) {
            model.update_norms(1);
            let result = model.differentiate(batch.images, &batch.labels, None, &gpu.device);
            sgd.step(&mut model, &result.gradients, &train, 0.1);
            model.track(&result);
            (correct, seen) = (correct + result.correct, seen + batch.labels.len());
        }
    }
    // As at the end of an epoch: the estimates belong to the weights that the last step left.
    model.update_norms(10);
    let ours = error_percent_on(&model, &data.test, &data.normalization, &gpu.device, &mut |_, _| {});
    let theirs = error_percent(&model, &data.test, &data.normalization, &mut |_, _| {});
    eprintln!("{correct} of {seen} right in training; error {ours:.2} % on the GPU, {theirs:.2} % on the CPU");
    assert!(2 * correct > seen, "{correct} of {seen} right in the third epoch; chance is a tenth");
    // One of the 364 images whose two largest logits are a tie up to rounding may change sides.
    assert!((ours - theirs).abs() <= 101.0 / data.test.len() as f64, "{ours} {theirs}");
}
