//! Proven norms and exact spectra of convolutions and matrices, in float64, from float32 weights.
//!
//! A network of blocks `x + g(x)` is invertible if every `g` has a Lipschitz constant below 1, and the norms of its
//! convolutions bound that constant. This crate computes such norms so that they can be believed: an [`UpperBound`] holds
//! in spite of all rounding, a [`LowerBound`] says how much of it is surplus, and the types keep the two apart.
//!
//! ```
//! use iresnet_spectra::{ConvLayer, best_bounds};
//!
//! // Differences of neighbours in a row of six pixels.
//! let weight = [0.0, 0.0, 0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0];
//! let layer = ConvLayer {
//!     name: "difference".into(),
//!     weight: &weight,
//!     out_channels: 1,
//!     in_channels: 1,
//!     kernel: 3,
//!     height: 1,
//!     width: 6,
//! };
//! let norm = layer.norm();
//! assert!(norm.lower.value() <= norm.upper.value() && norm.relative_width() < 0.01);
//! // With circular padding the largest singular value is 1.732; with zero padding the norm is 1.802.
//! assert!(layer.circular_spectrum()[0] < norm.lower.value());
//! // Many layers at once, and by which method each bound was found.
//! for (bound, method) in best_bounds(&[layer], None) {
//!     println!("at most {} ({})", bound.value(), method.label());
//! }
//! ```
//!
//! # What is computed
//! A layer maps images `[in, H, W]` to images `[out, H, W]`, with stride 1 and zero padding. Its norm is the largest ratio
//! of the Euclidean lengths of result and image: the largest singular value of the layer as one matrix. It has the unit of
//! the weights. With circular padding the singular values are exactly those of the kernel's Fourier transform at the
//! frequencies of the image. Those are no bound for zero padding at the same size; [`Method`] lists what is.
//!
//! # Modules
//! Each imports only from rows above its own.
//!
//! | module | what | source |
//! | --- | --- | --- |
//! | `progress`, `layer` | who is told how far it is, a convolution | |
//! | `bound` | [`UpperBound`], [`LowerBound`], [`Interval`] | |
//! | `gram` | a matrix's norm from above: Gram iteration | Delattre et al. 2023 |
//! | `scratch`, `taps` | memory that threads keep, a kernel as one matrix a tap | |
//! | `positive` | largest eigenvalues from above: one Cholesky factorisation | Rump 2006; Higham 2002, theorem 10.3 |
//! | `tridiagonal` | eigenvalues by implicit QL without roots | Parlett 1998, 8.15 |
//! | `lanes` | small Hermitian matrices side by side in vector registers | |
//! | `correlation` | the coefficients of `F F^H` in few products | Toom 1963, Cook 1966 |
//! | `grid` | the frequencies of a torus | |
//! | `torus` | the symbol's norm over a grid of frequencies | Sedghi et al. 2018 |
//! | `padded` | the zero-padded operator from above: a banded Cholesky factorisation | Rump 2006 |
//! | `operator` | the same from below: Lanczos' method | Parlett 1998, chapter 13 |
//! | `norm` | which bound of a layer to compute | Bernstein's inequality for all sizes |
//! | `circular` | all singular values with circular padding | Sedghi et al. 2018 |
//! | `spectrum` | all of it for a network | |

mod bound;
mod circular;
mod correlation;
mod gram;
mod grid;
mod lanes;
mod layer;
mod norm;
mod operator;
mod padded;
mod positive;
mod progress;
mod scratch;
mod spectrum;
mod taps;
mod torus;
mod tridiagonal;

pub use bound::{Interval, LowerBound, UpperBound};
pub use gram::matrix_norm_bound;
pub use layer::ConvLayer;
pub use norm::{Method, best_bounds};
pub use operator::{Search, ZeroPadded};
pub use progress::{Progress, tell};
pub use spectrum::{LayerSpectrum, Spectrum};
