//! Every way to keep less gives the gradients of the way that keeps all.

use iresnet::model::{Activation, Differentiated, Dropout, DropoutKey, IResNet, Input, Memory, ModelConfig, Norm};

const INPUT: Input = Input { channels: 1, height: 8, width: 8, classes: 10 };
const BATCH: usize = 37;

fn network(norm: Norm, activation: Activation) -> IResNet {
    let preset = ModelConfig::preset("digits").unwrap();
    let config = ModelConfig { blocks: vec![11, 5], norm, activation, dropout: 0.1, ..preset };
    config.init(INPUT, 3).unwrap()
}

fn differentiate(model: &IResNet) -> Differentiated {
    let images: Vec<f32> = (0..BATCH * 64).map(|i| ((i * 7919) % 1013) as f32 / 1013.0 - 0.5).collect();
    let labels: Vec<u32> = (0..BATCH as u32).map(|i| i % 10).collect();
    let dropout = Dropout::drawn(DropoutKey { seed: 1, step: 2, probability: 0.1 });
    model.differentiate(model.layout().view(&images), &labels, Some(&dropout))
}

fn with(model: &IResNet, memory: Memory) -> Differentiated {
    let mut model = model.clone();
    model.set_memory(memory).unwrap();
    differentiate(&model)
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    let difference: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    (difference / b.iter().map(|b| f64::from(*b).powi(2)).sum::<f64>()).sqrt()
}

#[test]
fn checkpoints_change_no_bit() {
    for norm in [Norm::None, Norm::Batch, Norm::Spectral { coeff: 0.9 }] {
        let model = network(norm, Activation::Relu);
        let standard = differentiate(&model);
        for every in [1, 2, 3, 11, 40] {
            let kept = with(&model, Memory::Checkpoint(every));
            assert_eq!(kept.loss, standard.loss, "{norm:?}, every {every}");
            assert_eq!(kept.gradients, standard.gradients, "{norm:?}, every {every}");
        }
    }
}

#[test]
fn reversible_gradients_are_those_of_standard() {
    // Smooth: what recovered values differ by. ReLU: what training may feel; values near its kink are kept.
    for (activation, coeff, allowed) in
        [(Activation::Elu, 0.9, 1e-5), (Activation::Elu, 0.5, 1e-5), (Activation::Relu, 0.9, 1e-4)]
    {
        let model = network(Norm::Spectral { coeff }, activation);
        let standard = differentiate(&model);
        let reversible = with(&model, Memory::Reversible);
        assert_eq!(reversible.loss, standard.loss);
        // The first block of each stage has its input kept; all others are recovered.
        assert_eq!((reversible.memory.recovered, reversible.memory.recomputed), (14, 0));
        let error = distance(&reversible.gradients.trunk, &standard.gradients.trunk);
        assert!(error < allowed, "{activation:?}, c = {coeff}: {error:e}");
        assert_eq!(reversible.gradients.head, standard.gradients.head);
    }
}

#[test]
fn lost_contraction_is_computed_again_and_counted() {
    let mut model = network(Norm::Spectral { coeff: 0.9 }, Activation::Relu);
    // The estimates are those of smaller weights, so that the weights in use are far above the coefficient.
    model.parameters_mut()[0].iter_mut().for_each(|w| *w *= 3.0);
    let standard = differentiate(&model);
    let reversible = with(&model, Memory::Reversible);
    assert!(reversible.memory.recomputed > 0, "{:?}", reversible.memory);
    let error = distance(&reversible.gradients.trunk, &standard.gradients.trunk);
    assert!(error < 1e-3, "{error:e} {:?}", reversible.memory);
}

#[test]
fn one_image_leaves_fifteen_lanes_empty() {
    let model = network(Norm::Spectral { coeff: 0.9 }, Activation::Relu);
    let mut reversible = model.clone();
    reversible.set_memory(Memory::Reversible).unwrap();
    let image: Vec<f32> = (0..64).map(|i| ((i * 7919) % 1013) as f32 / 1013.0 - 0.5).collect();
    let view = model.layout().view(&image);
    let one = reversible.differentiate(view, &[3], None);
    let other = model.differentiate(view, &[3], None);
    let error = distance(&one.gradients.trunk, &other.gradients.trunk);
    assert!(error < 1e-4, "{error:e}");
}

#[test]
fn networks_without_an_inverse_are_refused() {
    for norm in [Norm::None, Norm::Batch] {
        let message = network(norm, Activation::Relu).set_memory(Memory::Reversible).unwrap_err().to_string();
        assert!(message.contains("checkpoint=K"), "{message}");
    }
}
