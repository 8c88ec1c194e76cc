//! The network of the paper: injective padding, stages of residual blocks with downsampling between them, a head.
//!
//! ```
//! use iresnet::model::{Input, ModelConfig};
//!
//! let config = ModelConfig::preset("digits")?;
//! let model = config.init(Input { channels: 1, height: 8, width: 8, classes: 10 }, 0)?;
//! let output = model.forward(ndarray::Array4::zeros((2, 1, 8, 8)).view());
//! assert_eq!(output.logits.dim(), (2, 10));
//! # Ok::<(), iresnet::model::ConfigError>(())
//! ```
//!
//! Weights are plain data in flat arenas ([`layout`]); [`weights_in_use`] turns them into the weights that act on images,
//! which training, inverse and audit share. [`Prepared`] runs them, [`Certified`] knows that the inverse exists.

mod dropout;
mod head;
mod init;
mod inversion;
mod latents;
pub mod layout;
mod memory;
mod network;
mod norms;
mod prepared;
mod summary;
mod training;
mod weights;
pub mod weights_in_use;

pub use crate::config::{Activation, Bottleneck, ConfigError, ModelConfig, Norm, PRESETS, Padding};
pub use crate::data::Input;
pub use dropout::{Dropout, DropoutKey};
pub use inversion::{BlockReport, ImageReport, Inversion, InversionReport, NotConverged};
pub use latents::LatentsError;
pub use layout::Layout;
pub use memory::{Memory, MemoryReport, NotInvertible, available_bytes, peak_resident_bytes};
pub use network::{IResNet, Output, argmax, count_correct};
pub use norms::{NormState, PowerState, correlation};
pub use prepared::{Certified, Examined, NotCertified, Prepared};
pub use summary::Summary;
pub use training::{BatchStatistics, Differentiated, Gradients};
pub use weights::WeightsError;
pub use weights_in_use::WeightsInUse;
