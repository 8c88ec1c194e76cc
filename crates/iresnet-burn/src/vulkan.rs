//! Opening a GPU through Vulkan.

use burn::tensor::Device;

/// Why a device cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The feature `gpu` is off.
    #[error("this build computes on the CPU only; one with the feature `gpu` of iresnet-burn knows Vulkan")]
    NotBuilt,
    /// No driver answers.
    #[error("no GPU with a Vulkan driver was found (`vulkaninfo --summary` lists what there is)")]
    NotFound,
    /// The driver refused.
    #[error("the Vulkan driver does not start: {0}")]
    Driver(String),
}

/// The first Vulkan device and its name. It stays open until the process ends.
#[cfg(not(feature = "gpu"))]
pub(crate) fn open() -> Result<(Device, String), DeviceError> {
    Err(DeviceError::NotBuilt)
}

/// The first Vulkan device and its name. It stays open until the process ends.
#[cfg(feature = "gpu")]
pub(crate) fn open() -> Result<(Device, String), DeviceError> {
    use std::sync::OnceLock;

    // The framework lets a process start a device once.
    static OPENED: OnceLock<Result<(Device, String), DeviceError>> = OnceLock::new();
    OPENED.get_or_init(start).clone()
}

#[cfg(feature = "gpu")]
fn start() -> Result<(Device, String), DeviceError> {
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
            return Ok((device, name));
        }
    }
    Err(DeviceError::NotFound)
}
