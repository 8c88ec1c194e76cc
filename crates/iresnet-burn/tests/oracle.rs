//! The gradients written by hand against burn's autodiff on the CPU, which shares with them only the weights, the dropout
//! masks and the derivative of the spectral estimate (PyTorch's fixtures in `iresnet` check that).

use iresnet::device::Device;
use iresnet::model::{ModelConfig, Norm};
use iresnet_burn::Burn;
use ndarray::{Axis, s};

mod common;

use common::{INPUT, Tolerance, evaluation_agrees_with_the_cpu, images, training_agrees_with_the_cpu};

/// Two float32 computations, each correct to some units of 6e-8: ten times the largest errors measured, which were 8.4e-7
/// for values and, since the terms of gradients partly cancel, 6.1e-6 for those.
#[test]
fn training_agrees() {
    training_agrees_with_the_cpu(&Burn::flex(), Tolerance { values: 1e-5, gradients: 6e-5 });
}

/// Ten times the largest error measured, 2.1e-7.
#[test]
fn evaluation_agrees() {
    evaluation_agrees_with_the_cpu(&Burn::flex(), 2e-6);
}

/// Against means and variances of burn's latents in float64, two passes over one batch of all images.
#[test]
fn recomputed_head_statistics_are_those_of_all_images() {
    let base = ModelConfig { blocks: vec![2, 1], ..ModelConfig::preset("digits").unwrap() };
    for norm in [Norm::None, Norm::Batch, Norm::Spectral { coeff: 0.3 }] {
        let mut model = ModelConfig { norm, ..base.clone() }.init(INPUT, 4).unwrap();
        model.update_norms(5);
        let all = images(40);
        let latent = Burn::flex().forward(&model, all.view()).latent.mapv(f64::from);
        let channels = latent.axis_iter(Axis(1));
        let (mean, var): (Vec<f64>, Vec<f64>) =
            channels.map(|values| (values.mean().unwrap(), values.var(1.0))).unzip();
        let (from, before) = (model.layout().statistics_len, model.state().clone());
        model.recompute_head_statistics(std::iter::empty());
        assert_eq!(*model.state(), before);
        model.recompute_head_statistics([vec![f32::INFINITY; INPUT.len()]].into_iter());
        assert_eq!(*model.state(), before);
        let parts = [all.slice(s![..17, .., .., ..]), all.slice(s![17.., .., .., ..])];
        model.recompute_head_statistics(parts.iter().map(|part| part.iter().copied().collect()));
        let state = model.state();
        assert_eq!(state.running_var[..from], before.running_var[..from], "the trunk's stay");
        assert_eq!(state.running_mean[..from], before.running_mean[..from], "the trunk's stay");
        assert_eq!(state.running_mean[from..].len(), mean.len());
        // Each channel against its own spread, which is far from one channel to another.
        let mut worst = 0.0_f64;
        for (c, (mean, var)) in mean.iter().zip(&var).enumerate() {
            let off = (f64::from(state.running_mean[from + c]) - mean).abs() / var.sqrt();
            worst = worst.max(off).max((f64::from(state.running_var[from + c]) / var - 1.0).abs());
        }
        eprintln!("{} off by {worst:.1e}", norm.label());
        // Ten times the largest error measured, 5.4e-7: the latents are float32.
        assert!(worst <= 5e-6, "{}: {worst:e}", norm.label());
    }
}
