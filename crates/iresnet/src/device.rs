//! What networks are trained and images classified on: the CPU's fused kernels, or a GPU through Vulkan.
//!
//! A GPU runs the network composed of the framework's operations, in a build with the feature `gpu`. Inverse, spectra
//! and certificates run on the CPU always: they are made of the fused kernels and of float64.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

/// The devices that can be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The fused kernels on all cores.
    #[default]
    Cpu,
    /// The first GPU that has a Vulkan driver, discrete ones before integrated ones; where there is none, a software
    /// renderer.
    Vulkan,
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DeviceChoice::Cpu => "cpu",
            DeviceChoice::Vulkan => "vulkan",
        })
    }
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "cpu" => Ok(DeviceChoice::Cpu),
            "vulkan" => Ok(DeviceChoice::Vulkan),
            _ => Err(format!("{text} is not cpu or vulkan")),
        }
    }
}

/// Why a device cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DeviceError {
    /// The feature `gpu` is off.
    #[error(
        "this build runs on the CPU only; `cargo build --release --features gpu` makes one that knows --device vulkan"
    )]
    NotBuilt,
    /// No driver answers.
    #[error(
        "no GPU with a Vulkan driver was found (`vulkaninfo --summary` lists what there is); --device cpu needs none"
    )]
    NotFound,
    /// The driver refused.
    #[error("the Vulkan driver does not start: {0}")]
    Driver(String),
}

/// A device that computes.
#[derive(Clone, Debug)]
pub struct OpenDevice {
    /// For tensors.
    pub device: Device,
    /// What records call it, such as `cpu avx512` or `vulkan NVIDIA H100 PCIe`: results differ between devices by
    /// rounding.
    pub name: String,
}

impl OpenDevice {
    /// The CPU, at the instruction level that the kernels use.
    pub fn cpu() -> Self {
        let name = format!("cpu {:?}", iresnet_kernels::Level::current()).to_lowercase();
        OpenDevice { device: Device::flex(), name }
    }
}

impl DeviceChoice {
    /// Starts the device. It stays open until the process ends.
    ///
    /// # Errors
    /// A build without it, a machine without one, a driver that refuses.
    pub fn open(self) -> Result<OpenDevice, DeviceError> {
        match self {
            DeviceChoice::Cpu => Ok(OpenDevice::cpu()),
            DeviceChoice::Vulkan => vulkan(),
        }
    }
}

#[cfg(not(feature = "gpu"))]
fn vulkan() -> Result<OpenDevice, DeviceError> {
    Err(DeviceError::NotBuilt)
}

#[cfg(feature = "gpu")]
fn vulkan() -> Result<OpenDevice, DeviceError> {
    use std::sync::OnceLock;

    // The framework lets a process start a device once.
    static OPENED: OnceLock<Result<OpenDevice, DeviceError>> = OnceLock::new();
    OPENED.get_or_init(start_vulkan).clone()
}

#[cfg(feature = "gpu")]
fn start_vulkan() -> Result<OpenDevice, DeviceError> {
    use burn::tensor::DeviceKind;
    use burn::tensor::wgpu::{WgpuBackend, WgpuInitError};

    let start = |kind| match Device::wgpu_options().graphics_api(WgpuBackend::Vulkan).device_kind(kind).init() {
        Ok(device) => Ok(Some(device)),
        Err(WgpuInitError::AdapterUnavailable { .. }) => Ok(None),
        Err(error) => Err(DeviceError::Driver(error.to_string())),
    };
    let gpus = [DeviceKind::DiscreteGpu(0), DeviceKind::IntegratedGpu(0), DeviceKind::VirtualGpu(0)];
    for kind in gpus.into_iter().chain([DeviceKind::Cpu]) {
        if let Some(device) = start(kind)? {
            let name = device.identity().map_or("vulkan".into(), |identity| format!("vulkan {}", identity.name));
            return Ok(OpenDevice { device, name });
        }
    }
    Err(DeviceError::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for choice in [DeviceChoice::Cpu, DeviceChoice::Vulkan] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert_eq!("tpu".parse::<DeviceChoice>(), Err("tpu is not cpu or vulkan".into()));
    }

    #[test]
    fn the_cpu_is_the_device_of_the_fused_kernels() {
        let cpu = DeviceChoice::default().open().unwrap();
        assert_eq!(cpu.device, Device::flex());
        assert!(cpu.name.starts_with("cpu "), "{}", cpu.name);
    }

    #[cfg(not(feature = "gpu"))]
    #[test]
    fn a_build_without_vulkan_says_how_to_make_one_with_it() {
        let error = DeviceChoice::Vulkan.open().unwrap_err();
        assert!(error.to_string().contains("--features gpu"), "{error}");
    }
}
