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
//!
//! # Modules
//! Each imports only from rows above its own.
//!
//! | module | what |
//! |---|---|
//! | `lane`, `shape`, `pack` | lanes, sizes of images and convolutions, images to packs and back |
//! | `simd`, `level`, `buffer` | sixteen lanes in registers, the level at run time, buffers that passes reuse |
//! | `activation` | κ and κ' on lanes |
//! | `dropout` | masks, and the counter-based generator that draws them |
//! | `plane`, `source`, `output` | what a convolution reads and what becomes of its values |
//! | `winograd` | 3x3 convolutions and their weight gradients in a transformed domain |
//! | `conv` | convolutions and their weight gradients, by the faster kernel |
//! | `block` | a residual block: forward, Jacobian products, gradients |
//! | `batchnorm` | a block with BatchNorm in training |
//! | `power`, `kinks` | power iteration for a convolution's norm, values near ReLU's kink |
//! | [`mod@reference`], `precise` | a block in float64: by its definition, and with a bound on its own rounding |

mod activation;
mod batchnorm;
mod block;
mod buffer;
mod conv;
mod dropout;
mod kinks;
mod lane;
mod level;
mod output;
mod pack;
mod plane;
mod power;
mod precise;
pub mod reference;
mod shape;
mod simd;
mod source;
mod winograd;

pub use activation::Activation;
pub use batchnorm::{BatchNormTape, Moments};
pub use block::{Affine, BlockPlan, BlockShape, Purpose};
pub use buffer::{Workspace, with_workspace};
pub use dropout::{DropoutKey, DropoutMask, dropout_bits};
pub use kinks::NearZero;
pub use lane::LANES;
pub use level::{Level, Leveled, dispatch};
pub use pack::{pack, pixel_shuffle, pixel_unshuffle, unpack};
pub use power::{PowerJob, outer_correlation, power_iterations};
pub use precise::PreciseBlock;
pub use shape::{ConvShape, ImageShape};
