//! Invertible residual networks.
mod bytes;
pub mod certificate;
pub mod data;
pub mod device;
pub mod evaluate;
mod linear;
pub mod measure;
pub mod model;
pub mod residual;
pub mod solve;
pub mod spectrum;
pub mod train;

pub use burn::Tensor;
pub use burn::tensor::Device;
