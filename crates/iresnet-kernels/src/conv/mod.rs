//! Convolutions of packs and their weight gradients.
//!
//! | module | what |
//! |---|---|
//! | `packed` | a convolution by the kernel that is faster for its shape |
//! | `direct` | the direct kernel |
//! | `gradient` | weight and bias gradients, summed over packs |
//! | `direct_gradient` | the direct kernel of those |

mod direct;
mod direct_gradient;
mod gradient;
mod packed;

pub(crate) use gradient::GradientSums;
pub(crate) use packed::{PackedConv, convolve};
