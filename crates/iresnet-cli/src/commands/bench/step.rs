//! `iresnet bench step`

use anyhow::Result;
use clap::Args;
use iresnet::model::{Dropout, DropoutKey, Memory};
use iresnet::train::Sgd;

use super::network::{ImagesArgs, Network, NetworkArgs};
use super::timing::{Case, TimingArgs};
use crate::error::of_option;
use crate::options::{DeviceArg, only_on_cpu};

#[derive(Args, Debug)]
pub struct StepArgs {
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    images: ImagesArgs,
    /// What to keep for the backward pass: standard, checkpoint=K or reversible
    #[arg(long, value_name = "MODE", default_value_t)]
    memory: Memory,
    #[command(flatten)]
    device: DeviceArg,
    #[command(flatten)]
    timing: TimingArgs,
}

pub fn run(args: StepArgs) -> Result<()> {
    let memory = args.memory;
    let option = format!("--memory {memory}");
    if !args.device.is_cpu() && memory != Memory::Standard {
        return Err(only_on_cpu(&option).into());
    }
    args.timing.start()?;
    let device = args.device.open()?;
    let network = args.network.network()?;
    let (images, labels) = args.images.load(&network)?;
    let Network { mut model, config, name, .. } = network;
    model.set_memory(memory).map_err(|error| of_option(&option, error))?;
    let (mut sgd, layout) = (Sgd::new(&model), model.layout().clone());
    let mut step = 0;
    let seconds = args.timing.seconds(|| {
        model.update_norms(1);
        let key = DropoutKey { seed: 0, step, probability: config.model.dropout };
        let dropout = (key.probability > 0.0).then(|| Dropout::drawn(key));
        let result = device.differentiate(&model, layout.view(&images), &labels, dropout.as_ref());
        // A rate at which random labels do not blow the weights up; the work is the same.
        sgd.step(&mut model, &result.gradients, &config.train, 1e-4);
        model.track(&result);
        step += 1;
    });
    let case = Case {
        kind: "step",
        preset: name,
        device: Some(device.name()),
        batch: Some(args.images.batch),
        memory: Some(memory.to_string()),
        ..Case::default()
    };
    args.timing.report(case, &seconds)
}
