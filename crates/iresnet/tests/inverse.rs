//! The certificate, and the inverse in float32 through a whole network.

use iresnet::certificate::Certificate;
use iresnet::model::{Activation, IResNet, Input, ModelConfig, Norm};
use iresnet::solve::{Anderson, Outcome, Picard, Stop, ToleranceOn};
use iresnet::{Device, Tensor};

fn images(n: usize, input: Input) -> Tensor<4> {
    let len = n * input.channels * input.height * input.width;
    let values: Vec<f32> = (0..len).map(|i| ((i * 7919) % 1013) as f32 / 1013.0 - 0.5).collect();
    Tensor::<1>::from_floats(values.as_slice(), &Device::flex()).reshape([n, input.channels, input.height, input.width])
}

fn values(x: Tensor<4>) -> Vec<f32> {
    x.into_data().try_into_vec::<f32>().unwrap()
}

/// Every network of the contract: forward, then inverse, gives the images back and leaves the zero channels at zero.
#[test]
fn normalised_networks_invert_to_float32() {
    let base = ModelConfig::preset("small-cifar10").unwrap();
    for (activation, coeff, step) in [
        (Activation::Relu, 0.9, 1.0),
        (Activation::Elu, 0.9, 1.0),
        (Activation::Softplus, 0.7, 1.0),
        (Activation::Lipswish, 0.9, 0.5),
    ] {
        let config =
            ModelConfig { activation, norm: Norm::Spectral { coeff }, step, blocks: vec![2, 1, 1], ..base.clone() };
        let input = Input { channels: 3, height: 12, width: 8, classes: 10 };
        let mut model = config.init(input, 3).unwrap();
        // Larger weights than an initialisation's, so that every layer is normalised.
        let [trunk, _] = model.parameters_mut();
        trunk.iter_mut().for_each(|w| *w *= 5.0);
        model.update_norms(100);
        let certificate = Certificate::of(&model, |_, _| {});
        assert!(certificate.certified, "{:?}", certificate.reasons);
        let x = images(20, input);
        let latent = model.forward(x.clone()).latent;
        let stop = Stop { tolerance: Some(0.0), max_iterations: 200 };
        for inversion in [
            model.inverse(latent.clone(), &Picard, stop, Some(&certificate)).unwrap(),
            model.inverse(latent.clone(), &Anderson::default(), stop, Some(&certificate)).unwrap(),
        ] {
            inversion.report.require_converged().unwrap();
            for (x, y) in values(x.clone()).chunks(288).zip(values(inversion.images).chunks(288)) {
                let error = iresnet::evaluate::normed_l2(x, y);
                assert!(error < 1e-6, "{activation:?}: {error:e}");
            }
            assert!(inversion.report.images.iter().all(|image| image.padding_residual < 1e-4));
            assert!(inversion.report.images.iter().all(|image| image.error_bar.is_some_and(|bar| bar < 1e-2)));
            assert_eq!(inversion.report.tolerance_on, ToleranceOn::Error);
        }
    }
}

/// A deep network of the paper, normalised and certified, and 20 images.
fn deep() -> (IResNet, Vec<f64>, Vec<f32>) {
    let config = ModelConfig { norm: Norm::Spectral { coeff: 0.9 }, ..ModelConfig::preset("paper-mnist").unwrap() };
    let input = Input { channels: 1, height: 8, width: 8, classes: 10 };
    let mut model = config.init(input, 1).unwrap();
    let [trunk, _] = model.parameters_mut();
    trunk.iter_mut().for_each(|w| *w *= 5.0);
    model.update_norms(100);
    let lipschitz = Certificate::of(&model, |_, _| {}).contractions(&model).unwrap();
    (model, lipschitz, values(images(20, input)))
}

#[test]
fn double_precision_brings_certified_inverses_closer() {
    let (model, lipschitz, x) = deep();
    let trunk = model.fixed_trunk();
    let error = |latent: &[f32], tolerance: f64, lipschitz: Option<&[f64]>| {
        let stop = Stop { tolerance: Some(tolerance), max_iterations: 100 };
        let (images, report) = trunk.inverse(latent, 20, &Picard, stop, lipschitz).unwrap();
        let errors: Vec<f64> =
            x.chunks(64).zip(images.chunks(64)).map(|(x, y)| iresnet::evaluate::normed_l2(x, y)).collect();
        assert!(report.images.iter().all(|image| image.error_bar.is_none()), "bars are asked for");
        errors.iter().sum::<f64>() / 20.0
    };
    let (plain, kept) = (trunk.forward(&x), trunk.forward_precise(&x));
    let distance = iresnet::evaluate::normed_l2(&kept, &plain);
    assert!(distance > 0.0 && distance < 1e-6, "the same function: {distance:e}");
    let before = error(&plain, 0.0, None);
    assert!(error(&kept, 0.0, Some(&lipschitz)) < 0.7 * before, "{before:e}");
    // Shares of a positive tolerance lie below round-off in a network this deep.
    assert!(error(&kept, 1e-6, Some(&lipschitz)) < 0.7 * before, "{before:e}");
}

/// Sums of many terms that float32 rounds the same way: what a step's length and a few units in the last place allow does
/// not cover them, and steps longer than a true constant allows are no contradiction. The truth is iterated in float64.
#[test]
fn error_bars_hold_where_all_terms_round_alike() {
    let base = ModelConfig::preset("small-cifar10").unwrap();
    let input = Input { channels: 192, height: 4, width: 4, classes: 10 };
    let padding = iresnet::model::Padding::Extra(0);
    for (kernel, case) in [([1, 1, 1], 0), ([3, 1, 3], 1)] {
        let norm = Norm::Spectral { coeff: 0.8 };
        let config = ModelConfig { norm, blocks: vec![1], kernels: kernel, padding, ..base.clone() };
        let mut model = config.init(input, case).unwrap();
        let blocks: Vec<_> = model.layout().blocks().cloned().collect();
        for block in &blocks {
            for (i, conv) in block.convs.iter().enumerate() {
                let value = if i == 2 { -1.0 } else { 1.0 };
                model.parameters_mut()[0][conv.weight.clone()].fill(value);
                model.parameters_mut()[0][conv.bias.clone()].fill(0.0);
            }
        }
        model.update_norms(200);
        let lipschitz = Certificate::of(&model, |_, _| {}).contractions(&model).unwrap();
        let trunk = model.fixed_trunk();
        let latent = vec![0.731_059; 3072];
        let stop = Stop { tolerance: Some(0.0), max_iterations: 200 };
        let (x, _) = trunk.inverse(&latent, 1, &Picard, stop, Some(&lipschitz)).unwrap();
        let bar = trunk.error_bars(&x, &latent, &lipschitz)[0].unwrap();

        let weights = model.effective_weights();
        let double = iresnet_kernels::DoubleBlock::new(&blocks[0].shape, &weights.blocks[0].weights, None);
        let y: Vec<f64> = latent.iter().map(|v| f64::from(*v)).collect();
        let mut truth = vec![0.0; y.len() * 16];
        for _ in 0..400 {
            let mut g = vec![0.0; truth.len()];
            double.branch(&truth, &mut g);
            for ((x, g), y) in truth.iter_mut().step_by(16).zip(g.iter().step_by(16)).zip(&y) {
                *x = y - g;
            }
        }
        let squares = truth.iter().step_by(16).zip(&x).map(|(t, x)| (t - f64::from(*x)).powi(2));
        let error = squares.sum::<f64>().sqrt();
        assert!(error <= bar && bar <= 20.0 * error, "{kernel:?}: {error:e} {bar:e}");
        // An image that is wrong has a bar that says so.
        let mut wrong = x.clone();
        wrong[5] += 0.25;
        assert!(trunk.error_bars(&wrong, &latent, &lipschitz)[0].unwrap() > 0.25);
        wrong[5] = f32::NAN;
        assert_eq!(trunk.error_bars(&wrong, &latent, &lipschitz), [None]);
        assert_eq!(trunk.error_bars(&x, &latent, &[1.0]), [None]);
    }
}

#[test]
fn constants_that_are_too_small_are_refuted() {
    let (model, mut lipschitz, x) = deep();
    let trunk = model.fixed_trunk();
    let latent = trunk.forward_precise(&x);
    let last = lipschitz.len() - 1;
    lipschitz[last] = 1e-4;
    let stop = Stop { tolerance: Some(0.0), max_iterations: 100 };
    let found = trunk.inverse(&latent, 20, &Picard, stop, Some(&lipschitz)).unwrap_err();
    assert!(found.lipschitz == 1e-4 && found.step > found.allowed, "{found}");
}

#[test]
fn steps_in_double_precision_count_and_keep_the_limit() {
    let (model, lipschitz, x) = deep();
    let trunk = model.fixed_trunk();
    let latent = trunk.forward_precise(&x);
    let run = |max_iterations: usize, lipschitz: Option<&[f64]>| {
        let stop = Stop { tolerance: Some(0.0), max_iterations };
        trunk.inverse(&latent, 20, &Picard, stop, lipschitz).unwrap().1
    };
    // The last block is the first to be inverted, so that both see the same latents.
    let most = |max_iterations: usize, lipschitz| run(max_iterations, lipschitz).blocks[0].most_iterations;
    let plain = most(100, None);
    assert_eq!(most(100, Some(&lipschitz)), plain + 2);
    assert_eq!(most(plain + 1, Some(&lipschitz)), plain + 1);
    assert_eq!(most(plain, Some(&lipschitz)), plain);
}

/// With no weights in the last convolutions every block adds a constant, so that sums in float64 are the truth.
#[test]
fn sums_of_constants_are_exact_through_all_stages() {
    let base = ModelConfig::preset("small-mnist").unwrap();
    let config = ModelConfig { norm: Norm::Spectral { coeff: 0.9 }, step: 0.5, ..base };
    let input = Input { channels: 1, height: 8, width: 8, classes: 10 };
    let mut model = config.init(input, 2).unwrap();
    let file = model.to_safetensors();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    let mut changed = Vec::new();
    for (name, tensor) in tensors.iter() {
        let mut bytes = tensor.data().to_vec();
        if name.ends_with("conv3.weight") {
            bytes.fill(0);
        }
        if name.ends_with("conv3.bias") {
            for (i, value) in bytes.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                *value = (((i * 7919 + name.len() * 13) % 1013) as f32 / 506.5 - 1.0).to_le_bytes();
            }
        }
        changed.push((name.to_string(), tensor.dtype(), tensor.shape().to_vec(), bytes));
    }
    let views = changed.iter().map(|(name, dtype, shape, bytes)| {
        (name.as_str(), safetensors::tensor::TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    let file = safetensors::serialize(views, None).unwrap();
    model.load_safetensors(&file, std::path::Path::new("constant")).unwrap();
    model.update_norms(10);
    let lipschitz = Certificate::of(&model, |_, _| {}).contractions(&model).unwrap();
    let (x, trunk) = (values(images(20, input)), model.fixed_trunk());
    let plain = trunk.forward(&x);
    let latent = trunk.forward_precise(&x);
    // Latents differ by plain rounding, at most half a unit for each of eleven sums of values up to 8.
    assert_ne!(plain, latent);
    assert!(plain.iter().zip(&latent).all(|(a, b)| (a - b).abs() < 11.0 * 4.8e-7), "another function is further off");
    let stop = Stop { tolerance: Some(0.0), max_iterations: 100 };
    let furthest = |latent: &[f32], lipschitz: Option<&[f64]>| {
        let (images, _) = trunk.inverse(latent, 20, &Picard, stop, lipschitz).unwrap();
        x.iter().zip(&images).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
    };
    // Only the latent was rounded: half a unit of values up to 8, not eleven and eleven more.
    let bound = 2.4e-7 + 6e-8;
    let found = furthest(&latent, Some(&lipschitz));
    assert!(found <= bound, "{found:e}");
    assert!(furthest(&plain, None) > bound, "plain sums lose more, else this test says nothing");
}

#[test]
fn a_certificate_is_of_its_weights_only() {
    let mut model = ModelConfig { norm: Norm::Spectral { coeff: 0.9 }, ..ModelConfig::preset("digits").unwrap() }
        .init(Input { channels: 1, height: 8, width: 8, classes: 10 }, 0)
        .unwrap();
    model.update_norms(50);
    // As from a file, which holds the vectors but not the estimates that they give.
    let file = model.to_safetensors();
    model.load_safetensors(&file, std::path::Path::new("same")).unwrap();
    let certificate = Certificate::of(&model, |_, _| {});
    assert!(certificate.certified && certificate.block_lipschitz(&model).is_some());
    let smaller = model.config().init(Input { channels: 1, height: 4, width: 4, classes: 10 }, 0).unwrap();
    assert_eq!(certificate.block_lipschitz(&smaller), None);
    // The same weights with a larger step are another map.
    let mut wider = ModelConfig { step: 1.5, ..model.config().clone() }.init(model.layout().input, 0).unwrap();
    wider.load_safetensors(&file, std::path::Path::new("same")).unwrap();
    assert_eq!(wider.effective_weights(), model.effective_weights());
    assert_eq!(certificate.block_lipschitz(&wider), None);
    let place = model.layout().blocks().next().unwrap().convs[1].bias.start;
    model.parameters_mut()[0][place] += 1e-3;
    assert_eq!(certificate.block_lipschitz(&model), None);
    model.parameters_mut()[0][place] = f32::INFINITY;
    let certificate = Certificate::of(&model, |_, _| {});
    assert!(!certificate.certified && certificate.reasons[0].contains("not finite"), "{:?}", certificate.reasons);
}

#[test]
fn a_folded_network_is_the_same_map_without_vectors() {
    let norm = Norm::Spectral { coeff: 0.5 };
    let input = Input { channels: 1, height: 8, width: 8, classes: 10 };
    let init = |seed| ModelConfig { norm, ..ModelConfig::preset("digits").unwrap() }.init(input, seed).unwrap();
    let mut model = init(0);
    model.parameters_mut()[0].iter_mut().for_each(|w| *w *= 3.0);
    model.update_norms(100);
    let file = model.folded().to_safetensors();
    assert!(file.len() < model.to_safetensors().len());

    // Into a network with other weights and vectors, and from that file again.
    let path = std::path::Path::new("folded");
    let mut loaded = init(1);
    loaded.load_safetensors(&file, path).unwrap();
    assert!(loaded.effective_weights() == model.effective_weights());
    assert!(loaded.trunk_parameters() != model.trunk_parameters(), "the test scales weights");
    assert!(loaded.to_safetensors() == file);
    let certificate = Certificate::of(&model, |_, _| {});
    assert!(certificate.certified && certificate.block_lipschitz(&loaded).is_some());

    // Further training begins power iterations anew. A hundred of them end below the norm, by less than 5 % here, so that
    // the folded weights stay as they are or nearly so.
    loaded.update_norms(1);
    let pairs = loaded.state().power.iter().zip(&model.state().power);
    for (new, old) in pairs {
        let norm = old.sigma.min(0.5);
        assert!(new.u.len() == old.u.len() && (new.sigma - norm).abs() < 0.05 * norm, "{} {norm}", new.sigma);
    }

    // Files with vectors load into a folded network, and files that merely lack them are still refused.
    let (mut folded, mut other) = (model.folded(), init(1));
    for network in [&mut folded, &mut other] {
        network.load_safetensors(&init(2).to_safetensors(), path).unwrap();
    }
    assert!(folded.effective_weights() == other.effective_weights());
    let plain = ModelConfig { norm: Norm::None, ..model.config().clone() }.init(input, 0).unwrap();
    let error = folded.load_safetensors(&plain.to_safetensors(), path).unwrap_err();
    assert!(error.to_string().contains("conv1.u"), "{error}");
    assert!(folded.effective_weights() == other.effective_weights(), "unchanged by a refusal");
}

#[test]
fn expanding_networks_and_bad_latents_have_outcomes() {
    let config = ModelConfig { norm: Norm::None, ..ModelConfig::preset("digits").unwrap() };
    let input = Input { channels: 1, height: 8, width: 8, classes: 10 };
    let mut model = config.init(input, 1).unwrap();
    model.parameters_mut()[0].iter_mut().for_each(|w| *w *= 6.0);
    let stop = Stop { tolerance: Some(0.0), max_iterations: 50 };
    let latent = model.forward(images(5, input)).latent;
    let report = model.inverse(latent, &Picard, stop, None).unwrap().report;
    assert_eq!(report.tolerance_on, ToleranceOn::Residual);
    assert!(report.images.iter().all(|image| !image.outcome.is_success()), "{:?}", report.outcomes());
    assert!(report.require_converged().is_err());

    let model = ModelConfig { norm: Norm::Spectral { coeff: 0.5 }, ..config }.init(input, 1).unwrap();
    let latent = model.forward(images(5, input)).latent;
    let mut bad = values(latent.clone());
    let len = bad.len() / 5;
    bad[2 * len] = f32::NAN;
    let shape = latent.dims();
    let poisoned = Tensor::<1>::from_floats(bad.as_slice(), &Device::flex()).reshape(shape);
    let (one, other) =
        (model.inverse(latent, &Picard, stop, None).unwrap(), model.inverse(poisoned, &Picard, stop, None).unwrap());
    assert_eq!(other.report.images[2].outcome, Outcome::NonFinite);
    let (one, other) = (values(one.images), values(other.images));
    for n in [0, 1, 3, 4] {
        assert_eq!(one[n * 64..(n + 1) * 64], other[n * 64..(n + 1) * 64], "image {n}, bit for bit");
    }
}
