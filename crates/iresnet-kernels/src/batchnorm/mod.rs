//! A block with a training BatchNorm before every κ: batch statistics couple the samples, so the passes over all packs
//! meet at each normalisation.
//!
//! Statistics run over N, H and W of the real images; unused lanes take no part and get no gradient. The semantics are
//! PyTorch's: biased variance in the normalisation, `eps = 1e-5`.
//!
//! | module | what |
//! |---|---|
//! | `normalization` | batch statistics, and the affine map that they make |
//! | `forward` | the forward pass |
//! | `backward` | the backward pass |

mod backward;
mod forward;
mod normalization;

pub use forward::BatchNormTape;
pub use normalization::Moments;
