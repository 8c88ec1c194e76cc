//! A network with its kernels prepared: classification, latents, inverses; certified or not.
//!
//! The network is an injection ([`InjectivePadding`]), a [`Chain`] and a head. Images pass in packs of 16 on all threads.
//!
//! ```
//! use iresnet::model::{Input, ModelConfig, Norm};
//! use iresnet::solve::{Picard, Stop};
//!
//! let config = ModelConfig { norm: Norm::Spectral { coeff: 0.5 }, ..ModelConfig::preset("digits")? };
//! let mut model = config.init(Input { channels: 1, height: 8, width: 8, classes: 10 }, 0)?;
//! model.update_norms(100);
//! let images = ndarray::Array4::from_shape_fn((3, 1, 8, 8), |(n, _, y, x)| (n + y * x) as f32 / 60.0 - 0.5);
//!
//! let certified = model.prepare().certify()?;
//! let latents = certified.latents(images.view());
//! let stop = Stop { tolerance: Some(1e-6), max_iterations: 100 };
//! let inversion = certified.inverse(latents.view(), &Picard, stop)?;
//! inversion.report.require_converged()?;
//! for (bar, (image, back)) in inversion.report.images.iter().zip(images.outer_iter().zip(inversion.images.outer_iter())) {
//!     let apart = (&image - &back).iter().map(|d| f64::from(*d).powi(2)).sum::<f64>().sqrt();
//!     assert!(apart <= bar.error_bar.expect("certified"));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::sync::Arc;

use iresnet_flow::layers::{InjectivePadding, Residual, Squeeze};
use iresnet_flow::proof::{Certificate, Layer, Refused, error_bars, examine};
use iresnet_flow::solve::{Contradiction, Picard, SolveBy, Solver, Stop, ToleranceOn};
use iresnet_flow::{Batch, Bijection, Chain, Injection, LANES, Progress, Scalar};
use ndarray::{Array2, Array4, ArrayView4};
use rayon::prelude::*;

use super::head::Head;
use super::inversion::{Chunk, Inversion, report};
use super::layout::{Layout, Next};
use super::network::{IResNet, Output};
use super::weights_in_use::WeightsInUse;
use crate::config::Activation;

/// A network with its kernels prepared. Copies share them.
#[derive(Clone)]
pub struct Prepared {
    shared: Arc<Shared>,
    chain: Arc<Chain<Box<dyn Layer>>>,
}

struct Shared {
    layout: Arc<Layout>,
    padding: InjectivePadding,
    activation: Activation,
    dropout: f64,
    head: Vec<f32>,
    mean: Vec<f32>,
    var: Vec<f32>,
}

/// A network whose inverse was proved to exist; its constants travel with it.
#[derive(Clone)]
pub struct Certified {
    network: Prepared,
    certificate: Certificate,
}

/// A network that was examined.
#[derive(Clone)]
pub enum Examined {
    /// The inverse exists everywhere.
    Certified(Certified),
    /// Nothing is proved of the inverse; the certificate says why.
    Uncertified(Prepared, Certificate),
}

/// The proof fails.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the inverse is not proved to exist: {}", certificate.reasons.join("; "))]
pub struct NotCertified {
    /// What is known instead, and why it is not enough.
    pub certificate: Box<Certificate>,
}

/// Latents that go through all layers of an inverse together.
const SAMPLES_TOGETHER: usize = 4 * LANES;

impl Prepared {
    pub(super) fn new(model: &IResNet) -> Self {
        let layout = model.layout.clone();
        let WeightsInUse { blocks } = model.weights_in_use();
        let mut weights = blocks.into_iter();
        let layer = |next: Next<'_>| -> Box<dyn Layer> {
            match next {
                Next::Squeeze(image) => Box::new(Squeeze::new(image)),
                Next::ActNorm(image, place) => Box::new(model.actnorm(image, place)),
                Next::Block(_, block) => {
                    Box::new(Residual::new(weights.next().expect("weights of every block").prepare(block)))
                }
            }
        };
        let layers: Vec<Box<dyn Layer>> = layout.sequence().map(layer).collect();
        let from = layout.statistics_len;
        let shared = Shared {
            padding: InjectivePadding::new(layout.image(), layout.padded.channels),
            activation: model.config.activation,
            dropout: model.config.dropout,
            head: model.head.clone(),
            mean: model.state.running_mean[from..].to_vec(),
            var: model.state.running_var[from..].to_vec(),
            layout,
        };
        Prepared { shared: Arc::new(shared), chain: Arc::new(Chain::new::<f32>(layers)) }
    }

    /// The geometry.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.shared.layout
    }

    /// The layers behind the padding, as one bijection.
    pub fn chain(&self) -> &Chain<Box<dyn Layer>> {
        &self.chain
    }

    /// Logits and latents in evaluation mode.
    ///
    /// # Shapes
    /// - images: `[n, channels, height, width]` of the network's input
    ///
    /// # Panics
    /// If the images are of another shape.
    pub fn forward(&self, images: ArrayView4<'_, f32>) -> Output {
        let latent = self.latents(images);
        Output { logits: self.classify(latent.view()), latent }
    }

    /// Latents `[n, C, H, W]` of images `[n, channels, height, width]`.
    ///
    /// # Panics
    /// If the images are of another shape.
    pub fn latents(&self, images: ArrayView4<'_, f32>) -> Array4<f32> {
        self.run::<f32>(images)
    }

    /// [`Prepared::latents`] computed in float64 and rounded once. Takes several times as long; a certified inverse of these
    /// comes closer, and so does that of a file.
    ///
    /// # Panics
    /// If the images are of another shape.
    pub fn precise_latents(&self, images: ArrayView4<'_, f32>) -> Array4<f32> {
        self.run::<f64>(images)
    }

    /// Logits `[n, classes]` of latents `[n, C, H, W]`.
    ///
    /// # Panics
    /// If the latents are of another shape.
    pub fn classify(&self, latents: ArrayView4<'_, f32>) -> Array2<f32> {
        let Shared { layout, head, activation, mean, var, .. } = &*self.shared;
        let values = layout.checked(latents, layout.latent, "latents");
        let batch = Batch::pack(&values, layout.latent);
        let logits = Head::new(head, layout, *activation).evaluate(&batch, mean, var);
        Array2::from_shape_vec((batch.samples(), layout.input.classes), logits).expect("a logit a class")
    }

    /// The images whose latents are given, block by block from the last (equations 3 and 4 of the paper), in memory that
    /// grows neither with depth nor with iterations. Nothing is proved here: the tolerance bounds residuals.
    ///
    /// # Panics
    /// If the latents are of another shape.
    pub fn inverse(&self, latents: ArrayView4<'_, f32>, solver: &dyn Solver<f32>, stop: Stop) -> Inversion {
        let inverted = self.invert(latents, SolveBy::new(solver, stop));
        let (images, chunks) = inverted.expect("no certified constants to contradict");
        Inversion { images, report: report(&self.shared.layout, chunks, None, ToleranceOn::Residual) }
    }

    /// Examines the network: proves that its inverse exists, or says why not.
    pub fn examine(&self, progress: Progress<'_>) -> Examined {
        let Shared { layout, dropout, .. } = &*self.shared;
        let (certificate, chain) = examine(&self.chain, layout.image(), *dropout, progress);
        self.examined(certificate, chain)
    }

    /// The same, and compares what is found with a certificate from a file ([`Certificate::to_json`]).
    ///
    /// # Errors
    /// Text that is no certificate, one for other weights or images, or one that says anything else than the new proof.
    pub fn verify(&self, text: &str, progress: Progress<'_>) -> Result<Examined, Refused> {
        let Shared { layout, dropout, .. } = &*self.shared;
        let (certificate, chain) = Certificate::verify(text, &self.chain, layout.image(), *dropout, progress)?;
        Ok(self.examined(certificate, chain))
    }

    fn examined(&self, certificate: Certificate, chain: Chain<Box<dyn Layer>>) -> Examined {
        if !certificate.certified {
            return Examined::Uncertified(self.clone(), certificate);
        }
        let network = Prepared { shared: self.shared.clone(), chain: Arc::new(chain) };
        Examined::Certified(Certified { network, certificate })
    }

    /// The network with the proof that its inverse exists.
    ///
    /// # Errors
    /// A proof that fails; the error says in which blocks, and why.
    pub fn certify(&self) -> Result<Certified, NotCertified> {
        match self.examine(None) {
            Examined::Certified(certified) => Ok(certified),
            Examined::Uncertified(_, certificate) => Err(NotCertified { certificate: Box::new(certificate) }),
        }
    }

    /// Takes images through padding and chain in the number format `T`.
    fn run<T: Scalar>(&self, images: ArrayView4<'_, f32>) -> Array4<f32>
    where
        dyn Layer: Bijection<T>,
    {
        let Shared { layout, padding, .. } = &*self.shared;
        let values = layout.checked(images, layout.image(), "images");
        let (input, latent) = (layout.input.len(), layout.latent.len());
        let mut latents = vec![0.0; layout.samples(&values) * latent];
        let parts = latents.par_chunks_mut(latent * LANES).zip(values.par_chunks(input * LANES));
        parts.for_each(|(latents, images)| {
            let x = Batch::pack(images, layout.image()).cast::<T>();
            let z = Bijection::<T>::forward(&*self.chain, padding.forward(x)).cast::<f32>();
            latents.copy_from_slice(&z.unpack());
        });
        layout.array(latents, layout.latent)
    }

    /// Takes latents back, some at a time, so that they stay in the cache of one core.
    fn invert<T: Scalar>(
        &self,
        latents: ArrayView4<'_, f32>,
        by: SolveBy<'_, T>,
    ) -> Result<(Array4<f32>, Vec<Chunk>), Contradiction>
    where
        dyn Layer: Bijection<T>,
    {
        let Shared { layout, padding, .. } = &*self.shared;
        let values = layout.checked(latents, layout.latent, "latents");
        let len = layout.latent.len();
        let chunks = values.par_chunks(SAMPLES_TOGETHER * len).enumerate().map(|(i, latents)| {
            let z = Batch::pack(latents, layout.latent).cast::<T>();
            let first = i * SAMPLES_TOGETHER;
            let found = Bijection::<T>::inverse(&*self.chain, z, by);
            let preimage = found.map_err(|found| Contradiction { sample: found.sample + first, ..found })?;
            let (images, padding) = Injection::<f32>::inverse(padding, preimage.x.cast());
            Ok((images.unpack(), Chunk { solves: preimage.solves, padding }))
        });
        let (images, chunks): (Vec<_>, Vec<_>) = chunks.collect::<Result<Vec<_>, Contradiction>>()?.into_iter().unzip();
        Ok((layout.array(images.concat(), layout.image()), chunks))
    }

    pub(crate) fn head(&self) -> (&[f32], &[f32], &[f32]) {
        (&self.shared.head, &self.shared.mean, &self.shared.var)
    }
}

impl Certified {
    /// The network itself.
    pub fn network(&self) -> &Prepared {
        &self.network
    }

    /// What is proved.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Latents of `images` whose inverse comes close: [`Prepared::precise_latents`].
    ///
    /// # Panics
    /// If the images are of another shape.
    pub fn latents(&self, images: ArrayView4<'_, f32>) -> Array4<f32> {
        self.network.precise_latents(images)
    }

    /// The images whose latents are given, with an error bar for each.
    ///
    /// The tolerance is meant for the whole inverse, relative to the lengths of each block's own `y`, and shared out among
    /// the blocks. With a tolerance the last steps are made in float64.
    ///
    /// # Errors
    /// Steps that contradict the certificate. Not converging is no error but part of the report.
    ///
    /// # Panics
    /// If the latents are of another shape.
    pub fn inverse(
        &self,
        latents: ArrayView4<'_, f32>,
        solver: &dyn Solver<f32>,
        stop: Stop,
    ) -> Result<Inversion, Contradiction> {
        let mut inversion = self.inverse_without_bars(latents, solver, stop)?;
        let bars = self.error_bars(inversion.images.view(), latents);
        inversion.report.images.iter_mut().zip(bars).for_each(|(image, bar)| image.error_bar = bar);
        Ok(inversion)
    }

    /// The same without the pass in float64 that error bars take.
    pub(crate) fn inverse_without_bars(
        &self,
        latents: ArrayView4<'_, f32>,
        solver: &dyn Solver<f32>,
        stop: Stop,
    ) -> Result<Inversion, Contradiction> {
        let (images, chunks) = match stop.tolerance {
            // Every iteration, whatever comes of it.
            None => self.network.invert(latents, SolveBy::new(solver, stop))?,
            Some(_) => self.network.invert::<f64>(latents, SolveBy { solver: &Picard, coarse: Some(solver), stop })?,
        };
        let layout = &self.network.shared.layout;
        Ok(Inversion { images, report: report(layout, chunks, Some(&self.certificate), ToleranceOn::Error) })
    }

    /// Bound on the L2 distance of each image from the true preimage of its latent, wherever the image came from: of the
    /// network in exact arithmetic, with the weights in use ([`iresnet_flow::proof::error_bars`]). `None` where a value is
    /// not finite.
    ///
    /// # Panics
    /// If there are not as many images as latents, or they are of other shapes.
    pub fn error_bars(&self, images: ArrayView4<'_, f32>, latents: ArrayView4<'_, f32>) -> Vec<Option<f64>> {
        let Shared { layout, padding, .. } = &*self.network.shared;
        let images = layout.checked(images, layout.image(), "images");
        let latents = layout.checked(latents, layout.latent, "latents");
        let (image, latent) = (layout.input.len() * LANES, layout.latent.len() * LANES);
        assert_eq!(layout.samples(&images), latents.len() / layout.latent.len(), "images and latents");
        let parts = images.par_chunks(image).zip(latents.par_chunks(latent));
        let bars = parts.flat_map_iter(|(images, latents)| {
            let x = padding.forward(Batch::pack(images, layout.image()).cast::<f64>());
            error_bars(&self.network.chain, x, &Batch::pack(latents, layout.latent).cast())
        });
        bars.collect()
    }
}

impl std::fmt::Debug for Examined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.certificate().fmt(f)
    }
}

impl Examined {
    /// What is proved, or why nothing is.
    pub fn certificate(&self) -> &Certificate {
        match self {
            Examined::Certified(certified) => &certified.certificate,
            Examined::Uncertified(_, certificate) => certificate,
        }
    }

    /// The network, if its inverse is proved to exist.
    pub fn certified(&self) -> Option<&Certified> {
        match self {
            Examined::Certified(certified) => Some(certified),
            Examined::Uncertified(..) => None,
        }
    }

    /// The network itself.
    pub fn network(&self) -> &Prepared {
        match self {
            Examined::Certified(certified) => &certified.network,
            Examined::Uncertified(network, _) => network,
        }
    }

    /// The latents that suit an inverse: precise ones for a certified one, which takes its last steps in the same way,
    /// plain ones for any other.
    pub fn latents(&self, images: ArrayView4<'_, f32>) -> Array4<f32> {
        match self {
            Examined::Certified(certified) => certified.latents(images),
            Examined::Uncertified(network, _) => network.latents(images),
        }
    }

    /// [`Certified::inverse`] or [`Prepared::inverse`].
    ///
    /// # Errors
    /// Steps that contradict the certificate.
    pub fn inverse(
        &self,
        latents: ArrayView4<'_, f32>,
        solver: &dyn Solver<f32>,
        stop: Stop,
    ) -> Result<Inversion, Contradiction> {
        match self {
            Examined::Certified(certified) => certified.inverse(latents, solver, stop),
            Examined::Uncertified(network, _) => Ok(network.inverse(latents, solver, stop)),
        }
    }

    /// Images only, without the pass in float64 that error bars take.
    ///
    /// # Errors
    /// Steps that contradict the certificate.
    pub fn reconstruct(
        &self,
        latents: ArrayView4<'_, f32>,
        solver: &dyn Solver<f32>,
        stop: Stop,
    ) -> Result<Array4<f32>, Contradiction> {
        Ok(self.inverse_without_bars(latents, solver, stop)?.images)
    }

    pub(crate) fn inverse_without_bars(
        &self,
        latents: ArrayView4<'_, f32>,
        solver: &dyn Solver<f32>,
        stop: Stop,
    ) -> Result<Inversion, Contradiction> {
        match self {
            Examined::Certified(certified) => certified.inverse_without_bars(latents, solver, stop),
            Examined::Uncertified(network, _) => Ok(network.inverse(latents, solver, stop)),
        }
    }
}
