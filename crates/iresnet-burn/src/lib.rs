//! Invertible residual networks on [burn](https://burn.dev): the portable path, and the oracle of gradients.
//!
//! [`Burn`] is a [`Device`](iresnet::device::Device), so that training and evaluation take it where they take
//! [`Cpu`](iresnet::device::Cpu):
//!
//! | device | where | what for |
//! | --- | --- | --- |
//! | [`Burn::vulkan`] | a GPU, in a build with the feature `gpu` | training and classification |
//! | [`Burn::flex`] | the CPU, by burn's back end Flex | a second opinion on the gradients written by hand |
//!
//! The network is composed of burn's operations and differentiated by its autodiff; only the convolution has gradients of
//! its own, which suit a GPU better. It shares nothing with the fused kernels of the CPU but the weights, the dropout
//! masks and the derivative of the spectral estimate.
//!
//! ```
//! use iresnet::device::{Cpu, Device};
//! use iresnet::model::{Input, ModelConfig};
//! use iresnet_burn::Burn;
//!
//! let config = ModelConfig::preset("digits")?;
//! let model = config.init(Input { channels: 1, height: 8, width: 8, classes: 10 }, 0)?;
//! let images = ndarray::Array4::from_shape_fn((4, 1, 8, 8), |(n, _, y, x)| ((n + y * x) % 17) as f32 / 16.0 - 0.5);
//! let labels = [3, 1, 4, 1];
//! let by_burn = Burn::flex().differentiate(&model, images.view(), &labels, None);
//! let by_hand = Cpu.differentiate(&model, images.view(), &labels, None);
//! assert!((by_burn.loss - by_hand.loss).abs() < 1e-5);
//! assert_eq!(by_burn.gradients.trunk.len(), model.trunk_parameters().len());
//! # Ok::<(), iresnet::model::ConfigError>(())
//! ```
//!
//! A device keeps all activations for the backward pass, whatever
//! [`IResNet::set_memory`](iresnet::model::IResNet::set_memory) says.

mod activation;
mod convolution;
mod device;
mod head;
mod normalization;
mod parameters;
mod transfer;
mod trunk;
mod vulkan;

pub use device::Burn;
pub use vulkan::DeviceError;
