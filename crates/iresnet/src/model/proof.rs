//! What can be proved of float32 results by an evaluation in float64.
//!
//! For any `x` and latent `z`, `||x - F^-1(z)|| <= Lip(F^-1) ||F(x) - z||`, with `Lip(F^-1) <= prod 1 / (1 - L_t)`. So one
//! forward pass gives a bound on the error of an image wherever it came from: solver, number format and rounding do not
//! matter. The pass itself rounds in float64, by at most `E_t = (1 + L_t) E_(t-1) + e_t` after block `t`, where `e_t` is
//! what evaluating this block at the values at hand can be off by ([`DoubleBlock::rounding`]).

use iresnet_kernels::{DoubleBlock, LANES, pack};
use rayon::prelude::*;

use super::trunk::{FixedTrunk, downsample, enter};

/// Covers the rounding of the lengths computed here, whose sums have fewer than ten million terms.
const UP: f64 = 1.0 + 1e-8;

impl FixedTrunk {
    /// Bound on the L2 distance of each image from the true preimage of its latent: of the network in exact arithmetic,
    /// with the weights in use. `lipschitz` holds certified constants of all blocks
    /// ([`Certificate::contractions`](crate::certificate::Certificate::contractions)).
    ///
    /// `None` where a constant is not below 1 or a value not finite. The bound grows fast with depth where constants are
    /// near 1: by `1 / (1 - L)` a block. One evaluation in float64 takes about as long as six in float32.
    ///
    /// # Shapes
    /// - images: `[n, channels, height, width]` of the layout's input
    /// - latents: `[n, C, H, W]` of the layout's latent
    ///
    /// # Panics
    /// If there are not as many images as latents, or not as many constants as blocks.
    pub fn error_bars(&self, images: &[f32], latents: &[f32], lipschitz: &[f64]) -> Vec<Option<f64>> {
        let (layout, samples) = (&self.layout, self.layout.samples(images));
        assert_eq!(latents.len(), samples * layout.latent.len(), "latents of {samples} images");
        assert_eq!(lipschitz.len(), self.doubles.len(), "a constant of every block");
        if !lipschitz.iter().all(|l| (0.0..1.0).contains(l)) {
            return vec![None; samples];
        }
        let wide = |packs: Vec<f32>| -> Vec<f64> { packs.into_iter().map(f64::from).collect() };
        let (image, latent) = (layout.input.len(), layout.latent.len());
        let packs = images.par_chunks(image * LANES).zip(latents.par_chunks(latent * LANES));
        let bars = packs.flat_map_iter(|(images, latents)| {
            let mut x = vec![0.0; layout.padded.pack_len()];
            enter(images, layout, &mut x);
            let mut z = vec![0.0; layout.latent.pack_len()];
            pack(latents, layout.latent, &mut z);
            let bars = self.pack_bars(wide(x), &wide(z), lipschitz);
            bars.into_iter().take(images.len() / image).map(|bar| bar.is_finite().then_some(bar))
        });
        bars.collect()
    }

    /// The bounds of one pack.
    fn pack_bars(&self, mut x: Vec<f64>, latent: &[f64], lipschitz: &[f64]) -> [f64; LANES] {
        let (mut rounding, mut index) = ([0.0; LANES], 0);
        let mut shape = self.layout.padded;
        for (s, stage) in self.layout.stages.iter().enumerate() {
            if s > 0 {
                x = downsample(&x, shape, stage.image);
                shape = stage.image;
            }
            let mut g = vec![0.0; x.len()];
            for _ in &stage.blocks {
                let (block, sizes) = (&self.doubles[index], lengths(x.iter().copied()));
                block.branch(&x, &mut g);
                x.iter_mut().zip(&g).for_each(|(x, g)| *x += g);
                let sums = lengths(x.iter().copied());
                for l in 0..LANES {
                    let own = block.rounding(sizes[l] * UP) + 0.5 * f64::EPSILON * sums[l] * UP;
                    rounding[l] = ((1.0 + lipschitz[index]) * rounding[l] + own) * UP;
                }
                index += 1;
            }
        }
        let residuals = lengths(x.iter().zip(latent).map(|(x, z)| x - z));
        let inverse: f64 = lipschitz.iter().map(|l| UP / (1.0 - l)).product();
        std::array::from_fn(|l| inverse * (residuals[l] * UP + rounding[l]) * UP)
    }
}

/// Lengths of the lanes of one pack.
fn lengths(values: impl Iterator<Item = f64>) -> [f64; LANES] {
    let mut squares = [0.0; LANES];
    values.enumerate().for_each(|(i, value)| squares[i % LANES] += value * value);
    squares.map(f64::sqrt)
}

/// Whether `Lip(h g) > lipschitz` for certain, from the next two points of the iteration `x <- y - h g(x)`.
pub(crate) fn expands(block: &DoubleBlock, y: &[f32], x: &[f32], lipschitz: f64) -> bool {
    // One sample in the first lane.
    let branch = |x: &[f64]| -> Vec<f64> {
        let mut pack = vec![0.0; x.len() * LANES];
        pack.iter_mut().step_by(LANES).zip(x).for_each(|(to, x)| *to = *x);
        let mut g = vec![0.0; pack.len()];
        block.branch(&pack, &mut g);
        g.into_iter().step_by(LANES).collect()
    };
    let length = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let a: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
    let at_a = branch(&a);
    let b: Vec<f64> = y.iter().zip(&at_a).map(|(y, g)| f64::from(*y) - g).collect();
    let at_b = branch(&b);
    let apart = length(&mut a.iter().zip(&b).map(|(a, b)| a - b));
    let moved = length(&mut at_a.iter().zip(&at_b).map(|(a, b)| a - b));
    let rounding = [&a, &b].map(|x| block.rounding(length(&mut x.iter().copied()) * UP));
    moved > (lipschitz * apart * UP + rounding[0] + rounding[1]) * UP
}
