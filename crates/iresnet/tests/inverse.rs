//! The certificate, and the inverse in float32 through a whole network.

use iresnet::certificate::Certificate;
use iresnet::model::{Activation, Input, ModelConfig, Norm};
use iresnet::solve::{Anderson, Outcome, Picard, Stop};
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
        let stop = Stop { tolerance: 0.0, max_iterations: 200 };
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
            assert_eq!(inversion.report.tolerance_on, "error");
        }
    }
}

/// With exact sums only the latent is rounded: plain passes in float32 lose more, forward and back.
#[test]
fn exact_sums_leave_only_the_rounding_of_the_latent() {
    let config = ModelConfig { norm: Norm::Spectral { coeff: 0.9 }, ..ModelConfig::preset("paper-mnist").unwrap() };
    let input = Input { channels: 1, height: 8, width: 8, classes: 10 };
    let mut model = config.init(input, 1).unwrap();
    let [trunk, _] = model.parameters_mut();
    trunk.iter_mut().for_each(|w| *w *= 5.0);
    model.update_norms(100);
    let (x, trunk) = (values(images(20, input)), model.fixed_trunk());
    let error = |latent: &[f32], tolerance: f64, max_iterations: usize| {
        let stop = Stop { tolerance, max_iterations };
        let (images, report) = trunk.inverse(latent, 20, &Picard, stop, None).unwrap();
        let errors = x.chunks(64).zip(images.chunks(64)).map(|(x, y)| iresnet::evaluate::normed_l2(x, y));
        (errors.sum::<f64>() / 20.0, report.images)
    };
    let (plain, exact) = (trunk.forward(&x), trunk.forward_compensated(&x));
    let distance = iresnet::evaluate::normed_l2(&exact, &plain);
    assert!(distance > 0.0 && distance < 1e-6, "the same function: {distance:e}");
    // A negative tolerance makes plain steps only.
    let (before, _) = error(&plain, -1.0, 100);
    let (after, reports) = error(&exact, 0.0, 100);
    assert!(after < 0.7 * before, "{after:e} {before:e}");
    assert!(reports.iter().all(|image| image.outcome == Outcome::RoundOffFloor), "{reports:?}");
    // The last steps are counted, and there are none beyond the limit.
    let (_, limited) = error(&exact, 0.0, 3);
    assert!(limited.iter().all(|image| image.most_iterations <= 3), "{limited:?}");
}

#[test]
fn a_certificate_is_of_its_weights_only() {
    let mut model = ModelConfig { norm: Norm::Spectral { coeff: 0.9 }, ..ModelConfig::preset("digits").unwrap() }
        .init(Input { channels: 1, height: 8, width: 8, classes: 10 }, 0)
        .unwrap();
    model.update_norms(50);
    // As from a file, which holds the vectors but not the estimates that they give.
    let file = model.to_safetensors(&Default::default());
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
    model.parameters_mut()[0][0] += 1e-3;
    assert_eq!(certificate.block_lipschitz(&model), None);
}

#[test]
fn expanding_networks_and_bad_latents_have_outcomes() {
    let config = ModelConfig { norm: Norm::None, ..ModelConfig::preset("digits").unwrap() };
    let input = Input { channels: 1, height: 8, width: 8, classes: 10 };
    let mut model = config.init(input, 1).unwrap();
    model.parameters_mut()[0].iter_mut().for_each(|w| *w *= 6.0);
    let stop = Stop { tolerance: 0.0, max_iterations: 50 };
    let latent = model.forward(images(5, input)).latent;
    let report = model.inverse(latent, &Picard, stop, None).unwrap().report;
    assert_eq!(report.tolerance_on, "residual");
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
