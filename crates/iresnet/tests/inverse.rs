//! The certificate, and the inverse in float32 through a whole network.

use iresnet::model::{Activation, Certified, IResNet, Input, ModelConfig, Norm};
use iresnet::solve::{Anderson, Outcome, Picard, Solver, Stop, ToleranceOn};
use ndarray::{Array4, ArrayView4};

fn images(n: usize, input: Input) -> Array4<f32> {
    let len = n * input.len();
    let values: Vec<f32> = (0..len).map(|i| ((i * 7919) % 1013) as f32 / 1013.0 - 0.5).collect();
    Array4::from_shape_vec((n, input.channels, input.height, input.width), values).unwrap()
}

/// `||x - y|| / ||x||` of each image.
fn errors(x: &Array4<f32>, y: &Array4<f32>) -> Vec<f64> {
    let pairs = x.outer_iter().zip(y.outer_iter());
    pairs.map(|(x, y)| iresnet::evaluate::normed_l2(x.as_slice().unwrap(), y.as_slice().unwrap())).collect()
}

fn all(max_iterations: usize) -> Stop {
    Stop { tolerance: Some(0.0), max_iterations }
}

/// Every network of the contract: forward, then inverse, gives the images back and leaves the zero channels at zero.
#[test]
fn normalised_networks_invert_to_float32() {
    let base = ModelConfig::preset("small-cifar10").unwrap();
    for (activation, coeff, step) in [
        (Activation::Relu, 0.9, 1.0),
        (Activation::Elu, 0.9, 1.0),
        (Activation::Softplus, 0.7, 1.0),
        (Activation::LipSwish, 0.9, 0.5),
    ] {
        let config =
            ModelConfig { activation, norm: Norm::Spectral { coeff }, step, blocks: vec![2, 1, 1], ..base.clone() };
        let input = Input { channels: 3, height: 12, width: 8, classes: 10 };
        let mut model = config.init(input, 3).unwrap();
        // Larger weights than an initialisation's, so that every layer is normalised.
        let [trunk, _] = model.parameters_mut();
        trunk.iter_mut().for_each(|w| *w *= 5.0);
        model.update_norms(100);
        let certified = model.prepare().certify().unwrap();
        let x = images(20, input);
        let latent = certified.network().latents(x.view());
        for solver in [&Picard as &dyn Solver<f32>, &Anderson::default()] {
            let inversion = certified.inverse(latent.view(), solver, all(200)).unwrap();
            inversion.report.require_converged().unwrap();
            for error in errors(&x, &inversion.images) {
                assert!(error < 1e-6, "{activation:?}: {error:e}");
            }
            assert!(inversion.report.images.iter().all(|image| image.padding_residual < 1e-4));
            assert!(inversion.report.images.iter().all(|image| image.error_bar.is_some_and(|bar| bar < 1e-2)));
            assert_eq!(inversion.report.tolerance_on, ToleranceOn::Error);
        }
    }
}

/// A deep network of the paper, normalised and certified, and 20 images.
fn deep() -> (IResNet, Certified, Array4<f32>) {
    let config = ModelConfig { norm: Norm::Spectral { coeff: 0.9 }, ..ModelConfig::preset("paper-mnist").unwrap() };
    let input = Input { channels: 1, height: 8, width: 8, classes: 10 };
    let mut model = config.init(input, 1).unwrap();
    let [trunk, _] = model.parameters_mut();
    trunk.iter_mut().for_each(|w| *w *= 5.0);
    model.update_norms(100);
    let certified = model.prepare().certify().unwrap();
    (model, certified, images(20, input))
}

#[test]
fn double_precision_brings_certified_inverses_closer() {
    let (_, certified, x) = deep();
    let (plain, kept) = (certified.network().latents(x.view()), certified.latents(x.view()));
    let distance = iresnet::evaluate::normed_l2(kept.as_slice().unwrap(), plain.as_slice().unwrap());
    assert!(distance > 0.0 && distance < 1e-6, "the same function: {distance:e}");
    let mean = |images: &Array4<f32>| errors(&x, images).iter().sum::<f64>() / 20.0;
    let inversion = certified.network().inverse(plain.view(), &Picard, all(100));
    assert!(inversion.report.images.iter().all(|image| image.error_bar.is_none()), "nothing is proved");
    let before = mean(&inversion.images);
    // Shares of a positive tolerance lie below round-off in a network this deep.
    for tolerance in [0.0, 1e-6] {
        let stop = Stop { tolerance: Some(tolerance), max_iterations: 100 };
        let after = mean(&certified.inverse(kept.view(), &Picard, stop).unwrap().images);
        assert!(after < 0.7 * before, "{tolerance:e}: {after:e} {before:e}");
    }
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
        let certified = model.prepare().certify().unwrap();
        let latent = vec![0.731_059; 3072];
        let latents = ArrayView4::from_shape((1, 192, 4, 4), &latent).unwrap();
        let inversion = certified.inverse(latents, &Picard, all(200)).unwrap();
        let (x, bar) = (inversion.images, inversion.report.images[0].error_bar.unwrap());

        let weights = model.weights_in_use().blocks[0].weights.clone();
        let double = iresnet_kernels::PreciseBlock::new(&blocks[0].shape, weights.into(), None);
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
        wrong[[0, 5, 0, 0]] += 0.25;
        assert!(certified.error_bars(wrong.view(), latents)[0].unwrap() > 0.25);
        wrong[[0, 5, 0, 0]] = f32::NAN;
        assert_eq!(certified.error_bars(wrong.view(), latents), [None]);
    }
}

#[test]
fn steps_in_double_precision_count_and_keep_the_limit() {
    let (_, certified, x) = deep();
    let latent = certified.latents(x.view());
    // The last block is the first to be inverted, so that both see the same latents.
    let most = |max_iterations: usize| {
        certified.inverse(latent.view(), &Picard, all(max_iterations)).unwrap().report.blocks[0].most_iterations
    };
    let plain = certified.network().inverse(latent.view(), &Picard, all(100)).report.blocks[0].most_iterations;
    assert_eq!(most(100), plain + 2);
    assert_eq!(most(plain + 1), plain + 1);
    assert_eq!(most(plain), plain);
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
    let certified = model.prepare().certify().unwrap();
    let x = images(20, input);
    let plain = certified.network().latents(x.view());
    let latent = certified.latents(x.view());
    // Latents differ by plain rounding, at most half a unit for each of eleven sums of values up to 8.
    assert_ne!(plain, latent);
    assert!(plain.iter().zip(&latent).all(|(a, b)| (a - b).abs() < 11.0 * 4.8e-7), "another function is further off");
    let furthest = |images: &Array4<f32>| x.iter().zip(images).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
    // Only the latent was rounded: half a unit of values up to 8, not eleven and eleven more.
    let bound = 2.4e-7 + 6e-8;
    let found = furthest(&certified.inverse(latent.view(), &Picard, all(100)).unwrap().images);
    assert!(found <= bound, "{found:e}");
    let lost = furthest(&certified.network().inverse(plain.view(), &Picard, all(100)).images);
    assert!(lost > bound, "plain sums lose more, else this test says nothing");
}

/// Constants travel with the weights that they were proved of: changed weights are another network.
#[test]
fn a_certificate_stays_with_its_weights() {
    let mut model = ModelConfig { norm: Norm::Spectral { coeff: 0.9 }, ..ModelConfig::preset("digits").unwrap() }
        .init(Input { channels: 1, height: 8, width: 8, classes: 10 }, 0)
        .unwrap();
    model.update_norms(50);
    // As from a file, which holds the vectors but not the estimates that they give.
    let file = model.to_safetensors();
    model.load_safetensors(&file, std::path::Path::new("same")).unwrap();
    let certified = model.prepare().certify().unwrap();
    let sum = certified.certificate().weights_sha256.clone();
    let x = images(3, model.layout().input);
    let latents = certified.latents(x.view());
    // The same weights with a larger step are another map.
    let mut wider = ModelConfig { step: 1.5, ..model.config().clone() }.init(model.layout().input, 0).unwrap();
    wider.load_safetensors(&file, std::path::Path::new("same")).unwrap();
    assert_eq!(wider.weights_in_use(), model.weights_in_use());
    assert_ne!(wider.prepare().examine(None).certificate().weights_sha256, sum);
    let place = model.layout().blocks().next().unwrap().convs[1].bias.start;
    let before = model.forward(x.view()).latent;
    model.parameters_mut()[0][place] += 1e-3;
    assert_ne!(model.prepare().examine(None).certificate().weights_sha256, sum);
    assert_ne!(model.forward(x.view()).latent, before, "kernels of weights that are no more are not used");
    // What was certified is unmoved.
    assert_eq!(certified.latents(x.view()), latents);
    model.parameters_mut()[0][place] = f32::INFINITY;
    let examined = model.prepare().examine(None);
    let certificate = examined.certificate();
    assert!(!certificate.certified && certificate.reasons[0].contains("not finite"), "{:?}", certificate.reasons);
    let error = model.prepare().certify().err().unwrap().to_string();
    assert!(error.contains("stages.0.blocks.0") && error.contains("not finite"), "{error}");
}

#[test]
fn kernels_are_packed_once_for_the_same_weights() {
    let mut model = ModelConfig::preset("digits")
        .unwrap()
        .init(Input { channels: 1, height: 8, width: 8, classes: 10 }, 0)
        .unwrap();
    let chain = |model: &IResNet| std::ptr::from_ref(model.prepare().chain());
    assert_eq!(chain(&model), chain(&model));
    let before = chain(&model);
    let kept = model.prepare();
    model.parameters_mut();
    assert_ne!(chain(&model), before);
    drop(kept);
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
    assert!(loaded.weights_in_use() == model.weights_in_use());
    assert!(loaded.trunk_parameters() != model.trunk_parameters(), "the test scales weights");
    assert!(loaded.to_safetensors() == file);
    let [one, other] =
        [&model, &loaded].map(|model| model.prepare().certify().unwrap().certificate().weights_sha256.clone());
    assert_eq!(one, other);

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
    assert!(folded.weights_in_use() == other.weights_in_use());
    let plain = ModelConfig { norm: Norm::None, ..model.config().clone() }.init(input, 0).unwrap();
    let error = folded.load_safetensors(&plain.to_safetensors(), path).unwrap_err();
    assert!(error.to_string().contains("conv1.u"), "{error}");
    assert!(folded.weights_in_use() == other.weights_in_use(), "unchanged by a refusal");
}

#[test]
fn expanding_networks_and_bad_latents_have_outcomes() {
    let config = ModelConfig { norm: Norm::None, ..ModelConfig::preset("digits").unwrap() };
    let input = Input { channels: 1, height: 8, width: 8, classes: 10 };
    let mut model = config.init(input, 1).unwrap();
    model.parameters_mut()[0].iter_mut().for_each(|w| *w *= 6.0);
    let latent = model.forward(images(5, input).view()).latent;
    let report = model.prepare().inverse(latent.view(), &Picard, all(50)).report;
    assert_eq!(report.tolerance_on, ToleranceOn::Residual);
    assert!(report.images.iter().all(|image| !image.outcome.is_success()), "{:?}", report.outcomes());
    assert!(report.require_converged().is_err());

    let model = ModelConfig { norm: Norm::Spectral { coeff: 0.5 }, ..config }.init(input, 1).unwrap();
    let latent = model.forward(images(5, input).view()).latent;
    let mut poisoned = latent.clone();
    poisoned[[2, 0, 0, 0]] = f32::NAN;
    let [one, other] = [latent, poisoned].map(|latent| model.prepare().inverse(latent.view(), &Picard, all(50)));
    assert_eq!(other.report.images[2].outcome, Outcome::NonFinite);
    for n in [0, 1, 3, 4] {
        let image = |of: &Array4<f32>| of.index_axis(ndarray::Axis(0), n).to_owned();
        assert_eq!(image(&one.images), image(&other.images), "image {n}, bit for bit");
    }
}
