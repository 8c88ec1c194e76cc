//! The network on a GPU against the kernels of the CPU.
//!
//! Needs the feature `gpu`; without a Vulkan driver the tests say so and pass. A software renderer, such as Mesa's
//! lavapipe, is driver enough.
#![cfg(feature = "gpu")]

use std::io::Write;
use std::path::Path;

use iresnet::data::Loader;
use iresnet::device::Device;
use iresnet::evaluate::{error_percent, error_percent_on};
use iresnet::model::{Input, ModelConfig, Norm};
use iresnet::train::{RunConfig, Sgd};
use iresnet_burn::Burn;

mod common;

use common::{Tolerance, evaluation_agrees_with_the_cpu, training_agrees_with_the_cpu};

/// Both sides compute in float32. A GPU's `exp` and division may be off by several units in the last place, which is some
/// 1e-6 after the dozen operations in a row of these networks; gradients are sums whose terms partly cancel.
const TOLERANCE: f64 = 1e-4;

/// Says which device it is, or that there is none, past the capture of the test harness: nobody should take a skipped test
/// for a passed one.
fn gpu() -> Option<Burn> {
    let device = Burn::vulkan();
    let line = match &device {
        Ok(device) => format!("on {}\n", device.name()),
        Err(error) => format!("skipped: {error}\n"),
    };
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    device.ok()
}

#[test]
fn training_agrees() {
    let Some(gpu) = gpu() else { return };
    training_agrees_with_the_cpu(&gpu, Tolerance { values: TOLERANCE, gradients: TOLERANCE });
}

#[test]
fn evaluation_agrees() {
    let Some(gpu) = gpu() else { return };
    evaluation_agrees_with_the_cpu(&gpu, TOLERANCE);
}

#[test]
fn a_network_trained_on_the_gpu_classifies_alike_on_both() {
    let Some(gpu) = gpu() else { return };
    let data = iresnet::data::load("digits", Path::new(""), None).unwrap();
    let RunConfig { model, train } = RunConfig::preset("digits").unwrap();
    let config = ModelConfig { norm: Norm::Spectral { coeff: 0.9 }, blocks: vec![1, 1], ..model };
    let mut model = config.init(Input { channels: 1, height: 8, width: 8, classes: 10 }, 0).unwrap();
    let mut sgd = Sgd::new(&model);
    let (mut correct, mut seen) = (0, 0);
    for epoch in 0..3 {
        (correct, seen) = (0, 0);
        for batch in Loader::train(&data.train, &data.normalization, Default::default(), 64, 0, epoch, 0) {
            model.update_norms(1);
            let images = model.layout().view(&batch.images);
            let result = gpu.differentiate(&model, images, &batch.labels, None);
            sgd.step(&mut model, &result.gradients, &train, 0.1);
            model.track(&result);
            (correct, seen) = (correct + result.correct, seen + batch.labels.len());
        }
    }
    // As at the end of an epoch: the estimates belong to the weights that the last step left.
    model.update_norms(10);
    let ours = error_percent_on(&model, &data.test, &data.normalization, &gpu, None);
    let theirs = error_percent(&model, &data.test, &data.normalization, None);
    eprintln!("{correct} of {seen} right in training; error {ours:.2} % on the GPU, {theirs:.2} % on the CPU");
    assert!(2 * correct > seen, "{correct} of {seen} right in the third epoch; chance is a tenth");
    // One of the 364 images whose two largest logits are a tie up to rounding may change sides.
    assert!((ours - theirs).abs() <= 101.0 / data.test.len() as f64, "{ours} {theirs}");
}
