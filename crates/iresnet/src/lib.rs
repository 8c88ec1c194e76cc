//! Invertible residual networks (Behrmann et al., arXiv 1811.00995): data, models, training, inverses, certificates.
//!
//! A block `x + g(x)` has an inverse, found by iterating `x <- y - g(x)`, whenever `Lip(g) < 1`. From a configuration to
//! images that were proved to come back:
//!
//! ```
//! use iresnet::certificate::Certificate;
//! use iresnet::model::{Input, ModelConfig, Norm};
//! use iresnet::solve::{Picard, Stop};
//!
//! let config = ModelConfig { norm: Norm::Spectral { coeff: 0.5 }, ..ModelConfig::preset("digits")? };
//! let mut model = config.init(Input { channels: 1, height: 8, width: 8, classes: 10 }, 0)?;
//! model.update_norms(100);
//! let certificate = Certificate::of(&model, |_, _| {});
//! assert!(certificate.certified);
//!
//! // Computed in float64 and rounded once: those of `forward` come back less exactly.
//! let images: Vec<f32> = (0..3 * 64).map(|i| (i * 37 % 101) as f32 / 101.0 - 0.5).collect();
//! let trunk = model.fixed_trunk();
//! let latent = trunk.forward_precise(&images);
//! let stop = Stop { tolerance: Some(0.0), max_iterations: 100 };
//! let lipschitz = certificate.contractions(&model);
//! let (back, report) = trunk.inverse(&latent, 3, &Picard, stop, lipschitz.as_deref())?;
//! report.require_converged()?;
//! for (x, y) in images.chunks(64).zip(back.chunks(64)) {
//!     assert!(iresnet::evaluate::normed_l2(x, y) < 1e-6);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | module | what |
//! | --- | --- |
//! | [`data`] | digits, MNIST, CIFAR-10, folders of images; batches in a reproducible order |
//! | [`model`] | the network, its gradients, its inverse |
//! | [`train`] | recipes, SGD and Muon, run folders that resume |
//! | [`solve`] | fixed points of many samples at once, each with an outcome and an error bar |
//! | [`spectrum`] | singular values and rigorous norms of convolutions |
//! | [`certificate`] | the proof that the inverse exists, certified radii, the smallest repair |
//! | [`residual`] | sequences of one's own branches with the same inverse and audit |
//! | [`evaluate`], [`measure`] | errors on a test set |
//! | [`device`] | the CPU's kernels or a GPU |

mod bytes;
pub mod certificate;
pub mod data;
pub mod device;
pub mod evaluate;
mod linear;
pub mod measure;
pub mod model;
pub mod residual;
pub mod solve;
pub mod spectrum;
pub mod train;

pub use burn::Tensor;
pub use burn::tensor::Device;
