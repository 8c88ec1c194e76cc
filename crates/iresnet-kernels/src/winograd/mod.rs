//! 3x3 convolutions and their weight gradients by Winograd's F(4x4, 3x3).
//!
//! | module | what |
//! |---|---|
//! | `transform` | the transforms of inputs, outputs, weights and cotangents |
//! | `conv` | the convolution |
//! | `gradient` | the weight gradient |

mod conv;
mod gradient;
mod transform;

pub(crate) use conv::WinogradConv;
pub(crate) use gradient::{WinogradGradient, add_products, add_taps};
