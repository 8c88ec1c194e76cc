//! Invertible residual networks (Behrmann et al., arXiv 1811.00995): data, models, training, inverses, certificates.
//!
//! A block `x + g(x)` has an inverse, found by iterating `x <- y - g(x)`, whenever `Lip(g) < 1`. From a configuration to
//! images that were proved to come back:
//!
//! ```
//! use iresnet::model::{Input, ModelConfig, Norm};
//! use iresnet::solve::{Picard, Stop};
//!
//! let config = ModelConfig { norm: Norm::Spectral { coeff: 0.5 }, ..ModelConfig::preset("digits")? };
//! let mut model = config.init(Input { channels: 1, height: 8, width: 8, classes: 10 }, 0)?;
//! model.update_norms(100);
//!
//! // Proved, or an error that says which layers fail.
//! let certified = model.prepare().certify()?;
//! let images = ndarray::Array4::from_shape_fn((3, 1, 8, 8), |(n, _, y, x)| ((n + y * x) % 17) as f32 / 16.0 - 0.5);
//! let latents = certified.latents(images.view());
//! let stop = Stop { tolerance: Some(1e-6), max_iterations: 100 };
//! let inversion = certified.inverse(latents.view(), &Picard, stop)?;
//! inversion.report.require_converged()?;
//! println!("off by at most {:?}", inversion.report.images[0].error_bar);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | module | what |
//! | --- | --- |
//! | [`config`] | architectures, recipes, presets |
//! | [`data`] | digits, MNIST, CIFAR-10, folders of images; batches in a reproducible order |
//! | [`model`] | the network, its gradients; prepared, certified |
//! | [`train`] | steps, epochs, run folders that resume |
//! | [`certificate`] | what is proved, certified radii, the smallest repair |
//! | [`evaluate`], [`measure`] | errors on a test set |
//! | [`device`] | what differentiates and classifies: the CPU's kernels, or a crate of its own |
//! | [`flow`] | invertible maps of one's own: bijections, chains, branches, solvers |
//! | [`solve`] | fixed points of many samples at once, each with an outcome and an error bar |
//! | [`spectra`] | singular values and rigorous norms of convolutions |

mod bytes;
pub mod certificate;
pub mod config;
pub mod device;
pub mod evaluate;
mod linear;
pub mod measure;
pub mod model;
pub mod train;

pub use iresnet_data as data;
pub use iresnet_flow as flow;
pub use iresnet_flow::{Progress, solve, tell};
pub use iresnet_spectra as spectra;

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct ReadmeExamples;
