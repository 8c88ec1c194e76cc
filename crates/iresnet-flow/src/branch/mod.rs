//! Residual branches `g`: value, products with the Jacobian, a bound of the Lipschitz constant.

mod bottleneck;
mod dense;
mod training;

pub use bottleneck::{Bottleneck, ChannelAffine};
pub use dense::Dense;
pub use training::{BatchNorms, BottleneckStep, DropoutBits};
