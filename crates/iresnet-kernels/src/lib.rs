//! Fused CPU kernels for residual blocks `x + h g(x)`: slices in, slices out, no framework.
//!
//! # Image lanes
//! Images are processed [`LANES`] at a time, side by side in the innermost axis: a *pack* is a flat slice
//! `[channel][y][x][16]`. No channel count or image size needs padding to a vector width, every load is a whole vector,
//! and a sample's result does not depend on its neighbours, bit for bit. `n` images are `ceil(n / 16)` packs, unused
//! lanes zero.
//!
//! # Levels
//! One portable source is compiled for AVX-512, AVX2 with FMA, and the baseline; the best one the processor has is
//! chosen at run time. `IRESNET_SIMD=avx512|avx2|baseline` forces one. Results are bitwise repeatable for a given level,
//! whatever the number of threads.

mod activation;
mod batchnorm;
mod block;
mod buffer;
mod conv;
mod double;
mod gradient;
mod kinks;
mod layout;
mod level;
mod power;
pub mod reference;
mod simd;
mod source;
mod winograd;
mod winograd_gradient;

pub use activation::Activation;
pub use batchnorm::{BatchNormTape, Moments};
pub use block::{Affine, BlockPlan, BlockShape, Purpose};
pub use buffer::{Workspace, with_workspace};
pub use double::DoubleBlock;
pub use kinks::near_zero;
pub use layout::{ImageShape, pack, pixel_shuffle, pixel_unshuffle, unpack};
pub use level::Level;
pub use power::{ConvShape, PowerJob, outer_correlation, power_iterations};
pub use source::DropoutMask;

/// Images side by side in one pack.
pub const LANES: usize = 16;

/// One value of each of the [`LANES`] images.
pub(crate) type V = [f32; LANES];

/// A flat slice as vectors.
pub(crate) fn vectors(slice: &[f32]) -> &[V] {
    let (vectors, rest) = slice.as_chunks::<LANES>();
    assert!(rest.is_empty(), "a pack has a multiple of {LANES} values");
    vectors
}

/// A flat slice as vectors, mutable.
pub(crate) fn vectors_mut(slice: &mut [f32]) -> &mut [V] {
    let (vectors, rest) = slice.as_chunks_mut::<LANES>();
    assert!(rest.is_empty(), "a pack has a multiple of {LANES} values");
    vectors
}
