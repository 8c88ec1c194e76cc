//! Inverting the same test images again and again, with as many iterations as is asked for.

use iresnet::data::{Dataset, Loader};
use iresnet::evaluate::{mean_normed_l2, normed_l2};
use iresnet::model::FixedTrunk;
use iresnet::solve::{Contradiction, Solver, Stop};

use crate::networks::Network;

/// Test images, their latents and a network to invert.
pub struct Inversion {
    trunk: FixedTrunk,
    lipschitz: Option<Vec<f64>>,
    latent: Vec<f32>,
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

impl Inversion {
    /// All images of `data` through `network`; certified networks are inverted with their constants.
    pub fn new(network: &Network, data: &Dataset) -> Self {
        let trunk = network.model.fixed_trunk();
        let mut batches = Loader::evaluate(data, &network.record.normalization, data.len().max(1));
        let images = batches.next().map(|batch| batch.images).unwrap_or_default();
        let lipschitz = network.certificate().contractions(&network.model);
        let latent = trunk.forward_to_invert(&images, lipschitz.as_deref());
        Inversion { trunk, lipschitz, latent, image_len: data.image_len(), images }
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
    pub fn invert<S: Solver<f32>>(&self, solver: &S, iterations: usize) -> Result<Reconstructed, Contradiction> {
        let n = self.samples();
        let stop = Stop { tolerance: self.lipschitz.is_some().then_some(0.0), max_iterations: iterations };
        let (images, _) = self.trunk.inverse(&self.latent, n, solver, stop, self.lipschitz.as_deref())?;
        let pairs = self.images.chunks_exact(self.image_len).zip(images.chunks_exact(self.image_len));
        let errors = pairs.map(|(x, y)| normed_l2(x, y)).collect();
        Ok(Reconstructed { images, errors })
    }

    /// Every iteration, in float32 and with no regard to convergence: what takes time.
    pub fn iterate(&self, solver: &impl Solver<f32>, iterations: usize) {
        let stop = Stop { tolerance: None, max_iterations: iterations };
        let inverse = self.trunk.inverse(&self.latent, self.samples(), solver, stop, None);
        std::hint::black_box(inverse.expect("no certificate to contradict"));
    }

    /// Images to latents again.
    pub fn forward(&self) {
        std::hint::black_box(self.trunk.forward(&self.images));
    }
}
