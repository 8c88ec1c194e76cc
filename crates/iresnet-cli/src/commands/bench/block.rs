//! `iresnet bench block`

use anyhow::Result;
use clap::Args;
use iresnet_kernels::{BlockPlan, BlockShape, ImageShape, LANES, Purpose};

use super::timing::{Case, TimingArgs};
use crate::options::values::{at_least_one, images};

#[derive(Args, Debug)]
pub struct BlockArgs {
    /// Channels of the block
    #[arg(long, default_value_t = 48, value_parser = at_least_one)]
    channels: usize,
    /// Middle width of the block
    #[arg(long, default_value_t = 12, value_parser = at_least_one)]
    bottleneck: usize,
    /// Height and width of the images
    #[arg(long, num_args = 2, value_names = ["H", "W"], default_values_t = [16, 16], value_parser = at_least_one)]
    size: Vec<usize>,
    /// Images a call
    #[arg(long, default_value_t = 128, value_parser = images)]
    batch: usize,
    #[command(flatten)]
    timing: TimingArgs,
}

pub fn run(args: BlockArgs) -> Result<()> {
    args.timing.start()?;
    let image = ImageShape { channels: args.channels, height: args.size[0], width: args.size[1] };
    let shape = BlockShape::paper(image, args.bottleneck);
    let weights: Vec<f32> = (0..shape.num_weights()).map(|i| ((i * 37 % 101) as f32 - 50.0) * 1e-3).collect();
    let plan = BlockPlan::new(&shape, &weights, None, Purpose::Inference);
    let x: Vec<f32> = (0..args.batch.div_ceil(LANES) * shape.image.pack_len())
        .map(|i| ((i * 31 % 97) as f32 - 48.0) / 48.0)
        .collect();
    let mut y = vec![0.0; x.len()];
    let seconds = args.timing.seconds(|| plan.forward(&x, &mut y, None, None));
    args.timing.report(Case { kind: "block", batch: Some(args.batch), ..Case::default() }, &seconds)
}
