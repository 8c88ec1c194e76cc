//! What computes.

use anyhow::Result;
use clap::Args;
use iresnet::device::{Cpu, Device};

use crate::error::UsageError;

/// The devices that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DeviceChoice {
    Cpu,
    Vulkan,
}

fn choice(text: &str) -> Result<DeviceChoice, String> {
    match text {
        "cpu" => Ok(DeviceChoice::Cpu),
        "vulkan" => Ok(DeviceChoice::Vulkan),
        _ => Err(format!("{text} is not cpu or vulkan")),
    }
}

/// What trains networks and classifies images.
#[derive(Args, Clone, Copy, Debug)]
pub struct DeviceArg {
    /// Trains and classifies: the CPU's own kernels, or a GPU through Vulkan in a build with `--features gpu`
    ///
    /// Inverse, spectra and certificates stay on the CPU.
    #[arg(long = "device", default_value = "cpu", value_name = "cpu|vulkan", value_parser = choice)]
    choice: DeviceChoice,
}

impl DeviceArg {
    /// Whether it is the CPU, which knows everything.
    pub fn is_cpu(self) -> bool {
        self.choice == DeviceChoice::Cpu
    }

    /// Starts the device.
    pub fn open(self) -> Result<Box<dyn Device>> {
        match self.choice {
            DeviceChoice::Cpu => Ok(Box::new(Cpu)),
            DeviceChoice::Vulkan => vulkan(),
        }
    }
}

#[cfg(feature = "gpu")]
fn vulkan() -> Result<Box<dyn Device>> {
    let device = iresnet_burn::Burn::vulkan();
    let device = device.map_err(|error| anyhow::anyhow!("--device vulkan: {error}; --device cpu needs no GPU"))?;
    Ok(Box::new(device))
}

#[cfg(not(feature = "gpu"))]
fn vulkan() -> Result<Box<dyn Device>> {
    let message = "--device vulkan: this build runs on the CPU only; `cargo build --release --features gpu` makes one \
                   that knows it";
    Err(UsageError(message.into()).into())
}

/// What was asked for together with a GPU and is made of the CPU's kernels.
pub fn only_on_cpu(what: &str) -> UsageError {
    UsageError(format!("{what} works on the CPU only; leave it or --device vulkan out"))
}
