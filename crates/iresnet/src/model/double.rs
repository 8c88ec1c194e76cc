//! Where float32 is not enough: precise latents, the last steps of an inverse, and proofs.
//!
//! **Precision.** `x + h g(x)` in float32 loses up to half a unit in the last place in every block, `g` several, forward
//! and again in the inverse, and later blocks amplify it: on a trained network of 55 blocks a few times 1e-7 of the image.
//! So latents of images that are to be inverted are computed in float64 and rounded once, and an inverse that has come down
//! to float32's round-off takes its last steps in float64. What remains is the rounding of the latent, amplified. These
//! steps are plain ones, so they are for blocks that are certified to contract.
//!
//! **Proof.** For any `x` and latent `z`, `||x - F^-1(z)|| <= Lip(F^-1) ||F(x) - z||`, with `Lip(F^-1) <= prod 1 / (1 - L_t)`.
//! So one forward pass gives a bound on the error of an image wherever it came from: solver, number format and rounding do
//! not matter. The pass itself rounds in float64, by at most `E_t = (1 + L_t) E_(t-1) + e_t` after block `t`, where `e_t` is
//! what evaluating this block at the values at hand can be off by ([`DoubleBlock::rounding`]).

use iresnet_kernels::{DoubleBlock, LANES, pack, unpack};
use rayon::prelude::*;

use super::trunk::{FixedTrunk, downsample, enter};
use crate::residual;
use crate::solve::{Outcome, Solved, Stop};

/// Covers the rounding of the lengths computed here, whose sums have fewer than ten million terms.
const UP: f64 = 1.0 + 1e-8;

/// Last steps of a block's inverse.
const STEPS: usize = 2;

pub(crate) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v)).collect()
}

impl FixedTrunk {
    /// Latents of `images`, computed in float64 and rounded once: a certified inverse of these comes closer. Takes several
    /// times as long as [`FixedTrunk::forward`], whose shapes it has.
    ///
    /// # Panics
    /// If these are not whole images.
    pub fn forward_precise(&self, images: &[f32]) -> Vec<f32> {
        let (input, latent) = (self.layout.input.len(), self.layout.latent.len());
        let mut latents = vec![0.0; self.layout.samples(images) * latent];
        let packs = latents.par_chunks_mut(latent * LANES).zip(images.par_chunks(input * LANES));
        packs.for_each(|(latents, images)| {
            let x = self.pass(images, |_, _| {});
            unpack(&x.into_iter().map(|x| x as f32).collect::<Vec<_>>(), self.layout.latent, latents);
        });
        latents
    }

    /// Takes the images of one pack through all blocks; `visit` sees the values before each block and after the last one.
    fn pass(&self, images: &[f32], mut visit: impl FnMut(usize, &[f64])) -> Vec<f64> {
        let mut shape = self.layout.padded;
        let mut x = vec![0.0; shape.pack_len()];
        enter(images, &self.layout, &mut x);
        let (mut x, mut index) = (wide(&x), 0);
        for (s, stage) in self.layout.stages.iter().enumerate() {
            if s > 0 {
                x = downsample(&x, shape, stage.image);
                shape = stage.image;
            }
            let mut g = vec![0.0; x.len()];
            for _ in &stage.blocks {
                visit(index, &x);
                self.doubles[index].branch(&x, &mut g);
                x.iter_mut().zip(&g).for_each(|(x, g)| *x += g);
                index += 1;
            }
        }
        visit(index, &x);
        x
    }

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
        let (image, latent) = (layout.input.len(), layout.latent.len());
        let packs = images.par_chunks(image * LANES).zip(latents.par_chunks(latent * LANES));
        let bars = packs.flat_map_iter(|(images, latents)| {
            let bars = self.pack_bars(images, latents, lipschitz);
            bars.into_iter().take(images.len() / image).map(|bar| bar.is_finite().then_some(bar))
        });
        bars.collect()
    }

    /// The bounds of one pack.
    fn pack_bars(&self, images: &[f32], latents: &[f32], lipschitz: &[f64]) -> [f64; LANES] {
        let (mut rounding, mut before) = ([0.0; LANES], [0.0; LANES]);
        let x = self.pass(images, |index, x| {
            let sizes = lengths(x.iter().copied());
            if index > 0 {
                let (block, lipschitz) = (&self.doubles[index - 1], lipschitz[index - 1]);
                for l in 0..LANES {
                    let own = block.rounding(before[l] * UP) + 0.5 * f64::EPSILON * sizes[l] * UP;
                    rounding[l] = ((1.0 + lipschitz) * rounding[l] + own) * UP;
                }
            }
            before = sizes;
        });
        let mut latent = vec![0.0; self.layout.latent.pack_len()];
        pack(latents, self.layout.latent, &mut latent);
        let residuals = lengths(x.iter().zip(&latent).map(|(x, z)| x - f64::from(*z)));
        let inverse: f64 = lipschitz.iter().map(|l| UP / (1.0 - l)).product();
        std::array::from_fn(|l| inverse * (residuals[l] * UP + rounding[l]) * UP)
    }
}

/// Plain steps `x <- y - h g(x)` for samples that came down to float32's round-off and have iterations left; returns all
/// solutions, and rounds those in `solved`.
pub(crate) fn refine(block: &DoubleBlock, y: &[f64], solved: &mut Solved<f32>, stop: Stop) -> Vec<f64> {
    let mut x = wide(&solved.x);
    let len = x.len() / solved.reports.len().div_ceil(LANES);
    let mut g = vec![0.0; len];
    let packs = x.chunks_exact_mut(len).zip(y.chunks_exact(len));
    for ((x, y), reports) in packs.zip(solved.reports.chunks_mut(LANES)) {
        for _ in 0..STEPS {
            let mut moving = [false; LANES];
            for (moving, report) in moving.iter_mut().zip(reports.iter_mut()) {
                // A converged sample without residual is a fixed point of the rounded step.
                let fixed =
                    report.outcome == Outcome::Converged && (stop.tolerance == Some(0.0) || report.residual == 0.0);
                let settled = fixed || report.outcome == Outcome::RoundOffFloor;
                *moving = settled && report.iterations < stop.max_iterations;
                report.iterations += usize::from(*moving);
                report.evaluations += usize::from(*moving);
            }
            if moving == [false; LANES] {
                break;
            }
            block.branch(x, &mut g);
            for (i, ((x, y), g)) in x.iter_mut().zip(y).zip(&g).enumerate() {
                if moving[i % LANES] {
                    *x = y - g;
                }
            }
        }
    }
    solved.x.iter_mut().zip(&x).for_each(|(to, x)| *to = *x as f32);
    x
}

/// Lengths of the lanes of one pack.
fn lengths(values: impl Iterator<Item = f64>) -> [f64; LANES] {
    let mut squares = [0.0; LANES];
    values.enumerate().for_each(|(i, value)| squares[i % LANES] += value * value);
    squares.map(f64::sqrt)
}

/// Whether `Lip(h g) > lipschitz` for certain, from the next two points of the iteration `x <- y - h g(x)`.
pub(crate) fn expands(block: &DoubleBlock, y: &[f32], x: &[f32], lipschitz: f64) -> bool {
    // One sample, in the first lane.
    let packed = |sample: &[f32]| wide(&residual::pack(sample, sample.len()));
    let branch = |x: &[f64]| {
        let mut g = vec![0.0; x.len()];
        block.branch(x, &mut g);
        g
    };
    let apart = |a: &[f64], b: &[f64]| lengths(a.iter().zip(b).map(|(a, b)| a - b))[0];
    let rounding = |x: &[f64]| block.rounding(lengths(x.iter().copied())[0] * UP);
    let a = packed(x);
    let at_a = branch(&a);
    let b: Vec<f64> = packed(y).iter().zip(&at_a).map(|(y, g)| y - g).collect();
    let at_b = branch(&b);
    apart(&at_a, &at_b) > (lipschitz * apart(&a, &b) * UP + rounding(&a) + rounding(&b)) * UP
}
