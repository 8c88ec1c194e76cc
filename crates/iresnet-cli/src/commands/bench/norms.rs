//! `iresnet bench spectrum`, `norms` and `norm`

use anyhow::Result;
use clap::Args;
use iresnet::spectra::{ConvLayer, best_bounds};

use super::network::NetworkArgs;
use super::timing::{Case, TimingArgs};
use crate::options::values::at_least_one;

#[derive(Args, Debug)]
pub struct NetworkNormsArgs {
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    timing: TimingArgs,
}

#[derive(Args, Debug)]
pub struct NormArgs {
    /// Channels of the convolution
    #[arg(long, default_value_t = 48, value_parser = at_least_one)]
    channels: usize,
    /// Height and width of the images
    #[arg(long, num_args = 2, value_names = ["H", "W"], default_values_t = [16, 16], value_parser = at_least_one)]
    size: Vec<usize>,
    #[command(flatten)]
    timing: TimingArgs,
}

/// Times all singular values with circular padding.
pub fn spectrum(args: NetworkNormsArgs) -> Result<()> {
    layers("spectrum", args, |layers| layers.iter().for_each(|layer| _ = layer.circular_spectrum()))
}

/// Times certified norms.
pub fn norms(args: NetworkNormsArgs) -> Result<()> {
    layers("norms", args, |layers| _ = best_bounds(layers, None))
}

/// Times `call` on all layers of a network.
fn layers(kind: &'static str, args: NetworkNormsArgs, call: impl Fn(&[ConvLayer])) -> Result<()> {
    args.timing.start()?;
    let network = args.network.network()?;
    let weights = network.model.weights_in_use();
    let layers = weights.layers(network.model.layout());
    let seconds = args.timing.seconds(|| call(&layers));
    args.timing.report(Case { kind, preset: network.name, ..Case::default() }, &seconds)
}

/// Times the certified norm of one convolution.
pub fn norm(args: NormArgs) -> Result<()> {
    args.timing.start()?;
    let channels = args.channels;
    let weight: Vec<f32> = pseudorandom(channels * channels * 9);
    let layer = ConvLayer {
        name: "convolution".into(),
        weight: &weight,
        out_channels: channels,
        in_channels: channels,
        kernel: 3,
        height: args.size[0],
        width: args.size[1],
    };
    let seconds = args.timing.seconds(|| _ = layer.best_bound());
    args.timing.report(Case { kind: "norm", ..Case::default() }, &seconds)
}

/// Numbers in `-0.5..0.5` that repeat nowhere soon.
fn pseudorandom(len: usize) -> Vec<f32> {
    let mix = |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40;
    (0..len as u64).map(|i| mix(i + 1) as f32 / (1u64 << 24) as f32 - 0.5).collect()
}
