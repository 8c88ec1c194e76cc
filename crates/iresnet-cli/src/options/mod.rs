//! Options that commands share, one subject a file.

mod data;
mod device;
mod norm;
mod preset;
mod recipe;
pub mod values;

pub use data::{DataDir, RunData};
pub use device::{DeviceArg, only_on_cpu};
pub use norm::NormArgs;
pub use preset::fresh;
pub use recipe::{Recipe, checked};
