//! The same test images to their latents and back, again and again, with any number of iterations.

use iresnet::data::{Dataset, Loader};
use iresnet::evaluate::{mean_normed_l2, normed_l2};
use iresnet::model::Examined;
use iresnet::solve::{Contradiction, Solver, Stop};
use ndarray::Array4;

use crate::networks::Network;

/// Test images, their latents and a network to invert.
pub struct RoundTrip {
    network: Examined,
    latents: Array4<f32>,
    image_len: usize,
    /// The network's input, `[n, channels, height, width]`.
    pub images: Vec<f32>,
}

/// Reconstructions after some number of iterations.
pub struct Reconstructed {
    /// `[n, channels, height, width]`
    pub images: Vec<f32>,
    /// `||x - x^|| / ||x||` of each image, infinite where a value is not finite.
    pub errors: Vec<f64>,
}

impl Reconstructed {
    /// Mean over the images.
    pub fn mean_error(&self) -> f64 {
        mean_normed_l2(&self.errors)
    }
}

impl RoundTrip {
    /// All images of `data` through `network`; certified networks are inverted with their constants.
    pub fn new(network: &Network, data: &Dataset) -> Self {
        let mut batches = Loader::evaluate(data, &network.record.normalization, data.len().max(1));
        let images = batches.next().map(|batch| batch.images).unwrap_or_default();
        let latents = network.examined().latents(network.model.layout().view(&images));
        RoundTrip { network: network.examined().clone(), latents, image_len: data.image_len(), images }
    }

    /// Number of images.
    pub fn samples(&self) -> usize {
        self.images.len() / self.image_len
    }

    /// The latents back to images with `iterations` a block.
    ///
    /// With none the latent passes back as it is. A certified network's image may end earlier in a block, at the rounding of
    /// float32, where nothing changes any more, with up to two more steps in float64. Any other network makes every
    /// iteration, whatever comes of it, unless values explode.
    ///
    /// # Errors
    /// Steps that contradict the certified constants.
    pub fn invert(&self, solver: &dyn Solver<f32>, iterations: usize) -> Result<Reconstructed, Contradiction> {
        let tolerance = self.network.certified().is_some().then_some(0.0);
        let stop = Stop { tolerance, max_iterations: iterations };
        let images = self.network.reconstruct(self.latents.view(), solver, stop)?.into_raw_vec_and_offset().0;
        let pairs = self.images.chunks_exact(self.image_len).zip(images.chunks_exact(self.image_len));
        let errors = pairs.map(|(x, y)| normed_l2(x, y)).collect();
        Ok(Reconstructed { images, errors })
    }

    /// Every iteration, in float32 and with no regard to convergence: what takes time.
    pub fn iterate(&self, solver: &dyn Solver<f32>, iterations: usize) {
        let stop = Stop { tolerance: None, max_iterations: iterations };
        std::hint::black_box(self.network.network().inverse(self.latents.view(), solver, stop));
    }

    /// Images to latents again.
    pub fn forward(&self) {
        let network = self.network.network();
        std::hint::black_box(network.latents(network.layout().view(&self.images)));
    }
}
