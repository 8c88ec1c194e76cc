//! `iresnet bench forward`

use anyhow::Result;
use clap::Args;

use super::network::{ImagesArgs, NetworkArgs};
use super::timing::{Case, TimingArgs};
use crate::options::DeviceArg;

#[derive(Args, Debug)]
pub struct ForwardArgs {
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    images: ImagesArgs,
    #[command(flatten)]
    device: DeviceArg,
    #[command(flatten)]
    timing: TimingArgs,
}

pub fn run(args: ForwardArgs) -> Result<()> {
    args.timing.start()?;
    let device = args.device.open()?;
    let network = args.network.network()?;
    let (images, _) = args.images.load(&network)?;
    let (model, batch) = (&network.model, args.images.batch);
    let images = model.layout().view(&images);
    let seconds = args.timing.seconds(|| _ = device.forward(model, images));
    let case = Case {
        kind: "forward",
        preset: network.name,
        device: Some(device.name()),
        batch: Some(batch),
        ..Case::default()
    };
    args.timing.report(case, &seconds)
}
