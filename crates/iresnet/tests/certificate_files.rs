//! A certificate from a file is accepted only if a new proof says the same.

use iresnet::certificate::Refused;
use iresnet::model::{IResNet, Input, ModelConfig, Norm};
use serde_json::json;

fn model(norm: Norm, side: usize) -> IResNet {
    let config = ModelConfig { blocks: vec![1, 1], norm, ..ModelConfig::preset("digits").unwrap() };
    config.init(Input { channels: 1, height: side, width: side, classes: 3 }, 5).unwrap()
}

fn refused(text: &str, model: &IResNet) -> Refused {
    model.prepare().verify(text, None).expect_err("it must be refused")
}

#[test]
fn a_file_is_confirmed_by_a_new_proof_only() {
    let network = model(Norm::Spectral { coeff: 0.5 }, 4);
    let certificate = network.prepare().certify().unwrap().certificate().clone();
    let file = certificate.to_json(1e-6);
    let confirmed = network.prepare().verify(&file.to_string(), None).unwrap();
    assert_eq!(confirmed.certificate().weights_sha256, certificate.weights_sha256);

    // Every claim that someone could improve.
    let mut better = file.clone();
    better["blocks"][1]["lipschitz"] = json!(0.01);
    let message = refused(&better.to_string(), &network).to_string();
    assert!(message.contains("blocks[1].lipschitz = 0.01"), "{message}");
    let mut fewer = file.clone();
    fewer["iterations"][0] = json!(1);
    assert!(matches!(refused(&fewer.to_string(), &network), Refused::Claim { place, .. } if place == "iterations[0]"));
    let mut shorter = file.clone();
    shorter["blocks"].as_array_mut().unwrap().pop();
    assert!(matches!(refused(&shorter.to_string(), &network), Refused::Claim { place, .. } if place == "blocks"));

    // Weights that changed in their last bit, and a vanilla network that calls itself certified.
    let mut changed = network.clone();
    let weight = &mut changed.parameters_mut()[0][3];
    *weight = weight.next_up();
    assert!(matches!(refused(&file.to_string(), &changed), Refused::Weights { .. }));
    let mut vanilla = model(Norm::None, 4);
    vanilla.parameters_mut()[0].iter_mut().for_each(|w| *w *= 4.0);
    let mut forged = vanilla.prepare().examine(None).certificate().to_json(1e-6);
    assert_eq!(forged["certified"], false);
    forged["certified"] = json!(true);
    assert!(matches!(refused(&forged.to_string(), &vanilla), Refused::Claim { place, .. } if place == "certified"));
    for text in ["", "[]", "{\"image\": [1, 4]}", "{\"image\": [1, 4, 4], \"weights_sha256\": 3}"] {
        assert!(matches!(refused(text, &network), Refused::Format { .. }), "{text}");
    }
}

#[test]
fn the_same_weights_on_larger_images_need_a_new_certificate() {
    // Without normalisation nothing in the weights depends on the image size.
    let (small, large) = (model(Norm::None, 4), model(Norm::None, 8));
    assert_eq!(small.trunk_parameters(), large.trunk_parameters());
    let file = small.prepare().examine(None).certificate().to_json(1e-6).to_string();
    assert!(matches!(refused(&file, &large), Refused::Image { claimed: [1, 4, 4], found: [1, 8, 8] }));
}
