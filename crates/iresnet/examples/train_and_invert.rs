//! The library from end to end on the embedded digits: train a little, certify, invert.
//! `cargo run --release -p iresnet --example train_and_invert`

use iresnet::config::{ModelConfig, Norm, RunConfig};
use iresnet::data::{Input, Loader};
use iresnet::solve::{Picard, Stop};
use iresnet::train::Sgd;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data = iresnet::data::load("digits", std::path::Path::new("."), None)?;
    let RunConfig { model, train } = RunConfig::preset("digits")?;
    let config = ModelConfig { norm: Norm::Spectral { coeff: 0.7 }, blocks: vec![2, 2], ..model };
    let mut model = config.init(Input { channels: 1, height: 8, width: 8, classes: 10 }, 0)?;
    let mut sgd = Sgd::new(&model);
    for epoch in 0..3 {
        let batches = Loader::train(&data.train, &data.normalization, Default::default(), 64, 0, epoch, 0);
        let (mut correct, mut seen) = (0, 0);
        for batch in batches {
            model.update_norms(1);
            let images = model.layout().view(&batch.images);
            let result = model.differentiate(images, &batch.labels, None);
            sgd.step(&mut model, &result.gradients, &train, 0.1);
            model.track(&result);
            (correct, seen) = (correct + result.correct, seen + batch.labels.len());
        }
        println!("epoch {}: {:.1} % right", epoch + 1, 100.0 * correct as f64 / seen as f64);
    }
    model.update_norms(20);
    let certified = model.prepare().certify()?;
    println!("certified: Lip(F) <= {:.1}", certified.certificate().lipschitz_forward);

    let mut values = Vec::new();
    (0..16).for_each(|i| data.normalization.apply(data.test.image(i), &mut values));
    let images = model.layout().view(&values);
    let stop = Stop { tolerance: Some(1e-6), max_iterations: 100 };
    let inversion = certified.inverse(certified.latents(images).view(), &Picard, stop)?;
    inversion.report.require_converged()?;
    let largest = inversion.images.iter().zip(&values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("largest difference of a pixel: {largest:.1e}, outcomes {:?}", inversion.report.outcomes());
    Ok(())
}
