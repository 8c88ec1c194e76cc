//! The mathematics of invertible maps: bijections and their chains, residual branches, solvers with error bars,
//! log-determinants, training passes of bounded memory, and proofs that an inverse exists.
//!
//! No disk, no configuration, no data set. A map of the plane from two residual layers, its inverse and its
//! log-determinant:
//!
//! ```
//! use iresnet_flow::branch::Dense;
//! use iresnet_flow::layers::Residual;
//! use iresnet_flow::solve::{Picard, SolveBy, Stop};
//! use iresnet_flow::{Batch, Bijection, Chain, vector};
//!
//! let branch = |slope: f64| Dense::contractive(2, &[slope, 1.0], &[0.1], &[1.0, -0.5], &[0.0, 0.2], 0.8);
//! let chain: Chain<Residual<Dense<f64>>> = Chain::new(vec![Residual::new(branch(0.5)), Residual::new(branch(-2.0))]);
//!
//! let x = Batch::pack(&[0.3, -1.2], vector(2));
//! let y = chain.forward(x.clone());
//! let stop = Stop { tolerance: Some(1e-12), max_iterations: 1000 };
//! let back = chain.inverse(y, SolveBy::new(&Picard, stop))?;
//! let bar = back.error_bars[0].expect("both layers have Lipschitz bounds below 1");
//! assert!((back.x.unpack()[0] - 0.3).abs() <= bar);
//! println!("ln |det J| = {}", chain.log_det(&x)[0]);
//! # Ok::<(), iresnet_flow::solve::Contradiction>(())
//! ```
//!
//! | module | what |
//! | --- | --- |
//! | [`Batch`] | samples in packs |
//! | [`Bijection`], [`Injection`] | what every invertible map can do |
//! | [`Chain`], [`Inverse`] | maps made of maps |
//! | [`layers`] | residual, squeeze, padding, ActNorm |
//! | [`branch`] | the `g` of residual layers: convolutions, dense |
//! | [`solve`] | fixed points of many samples at once, each with an outcome and an error bar |
//! | [`log_det`] | logarithms of determinants |
//! | [`autodiff`] | training passes and what they keep |
//! | [`proof`] | certificates |
//! | [`mod@line`] | networks on the line, the paper's Figure 1 |

pub mod autodiff;
mod batch;
mod bijection;
pub mod branch;
mod chain;
mod inverse;
pub mod layers;
pub mod line;
pub mod log_det;
pub mod proof;
mod scalar;
pub mod solve;

pub use batch::{Batch, vector};
pub use bijection::{Bijection, Bounds, Injection, Preimage};
pub use chain::Chain;
pub use inverse::Inverse;
pub use iresnet_kernels::{ImageShape, LANES, Purpose};
pub use iresnet_spectra::{Progress, tell};
pub use scalar::Scalar;
