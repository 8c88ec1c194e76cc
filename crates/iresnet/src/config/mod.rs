//! Networks and recipes as data: architecture, recipe, named presets.

mod error;
mod model;
mod presets;
mod run;
mod train;

pub use error::ConfigError;
pub use model::{Activation, Bottleneck, ModelConfig, Norm, Padding};
pub use presets::PRESETS;
pub use run::RunConfig;
pub use train::TrainConfig;
