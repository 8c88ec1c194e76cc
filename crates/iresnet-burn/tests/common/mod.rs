//! Networks of every normalisation and activation, and the comparison of a device with the CPU's kernels on them.

use iresnet::device::{Cpu, Device};
use iresnet::model::{Activation, Dropout, DropoutKey, IResNet, Input, ModelConfig, Norm};
use ndarray::Array4;

pub const INPUT: Input = Input { channels: 2, height: 8, width: 4, classes: 3 };

/// A count that is no multiple of a pack's 16 images.
const SAMPLES: usize = 19;

fn networks() -> Vec<IResNet> {
    let base = ModelConfig { blocks: vec![2, 1], dropout: 0.2, step: 0.5, ..ModelConfig::preset("digits").unwrap() };
    let kinds = [
        (Norm::None, Activation::Elu),
        (Norm::Batch, Activation::Softplus),
        (Norm::Spectral { coeff: 0.6 }, Activation::LipSwish),
        (Norm::Spectral { coeff: 0.9 }, Activation::Relu),
    ];
    let init = |(norm, activation)| ModelConfig { norm, activation, ..base.clone() }.init(INPUT, 4).unwrap();
    let actnorm = ModelConfig { norm: Norm::Spectral { coeff: 0.7 }, actnorm: true, ..base.clone() };
    let mut actnorm = actnorm.init(INPUT, 4).unwrap();
    actnorm.initialise_actnorms(images(SAMPLES).view());
    kinds.map(init).into_iter().chain([actnorm]).collect()
}

/// Images without a pattern, values in `[-0.5, 0.5)`.
pub fn images(n: usize) -> Array4<f32> {
    let values = (0..n * INPUT.len()).map(|i| ((i * 7919) % 1013) as f32 / 1013.0 - 0.5).collect();
    Array4::from_shape_vec((n, INPUT.channels, INPUT.height, INPUT.width), values).unwrap()
}

/// The error of `ours`, relative in the Euclidean norm, is at most `tolerance`.
#[track_caller]
fn close(what: &str, ours: &[f32], theirs: &[f32], tolerance: f64) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let length = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = length(&mut ours.iter().zip(theirs).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    let size = length(&mut theirs.iter().map(|b| f64::from(*b)));
    eprintln!("{what}: off by {:.1e}", difference / size);
    assert!(difference <= tolerance * size, "{what}: {difference:e} of {size:e}");
}

/// How far a training pass on a device may be off, relative in the Euclidean norm.
pub struct Tolerance {
    /// Loss, logits and statistics.
    pub values: f64,
    /// Gradients of all parameters of the trunk, and of all of the head.
    pub gradients: f64,
}

/// Loss, logits, gradients and statistics of a training batch, with dropout drawn by one key.
pub fn training_agrees_with_the_cpu(device: &dyn Device, Tolerance { values, gradients }: Tolerance) {
    let labels: Vec<u32> = (0..SAMPLES as u32).map(|i| i % 3).collect();
    let dropout = Dropout::drawn(DropoutKey { seed: 1, step: 2, probability: 0.2 });
    for model in networks() {
        let run = |device: &dyn Device| device.differentiate(&model, images(SAMPLES).view(), &labels, Some(&dropout));
        let (ours, theirs) = (run(device), run(&Cpu));
        let close = |part: &str, ours: &[f32], theirs: &[f32], tolerance: f64| {
            close(&format!("{} {part}", model.config().norm.label()), ours, theirs, tolerance);
        };
        close("loss", &[ours.loss], &[theirs.loss], values);
        close("logits", &ours.logits, &theirs.logits, values);
        close("gradient of the trunk", &ours.gradients.trunk, &theirs.gradients.trunk, gradients);
        close("gradient of the head", &ours.gradients.head, &theirs.gradients.head, gradients);
        close("means", &ours.statistics.mean, &theirs.statistics.mean, values);
        close("variances", &ours.statistics.var, &theirs.statistics.var, values);
        assert_eq!(ours.correct, theirs.correct);
    }
}

/// Logits and latents in evaluation, with running statistics that are not those of a new network.
pub fn evaluation_agrees_with_the_cpu(device: &dyn Device, tolerance: f64) {
    for mut model in networks() {
        let labels = vec![0; SAMPLES];
        model.track(&Cpu.differentiate(&model, images(SAMPLES).view(), &labels, None));
        let run = |device: &dyn Device| device.forward(&model, images(SAMPLES).view());
        let (ours, theirs) = (run(device), run(&Cpu));
        let close = |part: &str, ours: &[f32], theirs: &[f32]| {
            close(&format!("{} {part}", model.config().norm.label()), ours, theirs, tolerance);
        };
        close("logits", ours.logits.as_slice().unwrap(), theirs.logits.as_slice().unwrap());
        close("latents", ours.latent.as_slice().unwrap(), theirs.latent.as_slice().unwrap());
    }
}
