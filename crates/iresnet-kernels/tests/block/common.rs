//! What the tests share: random blocks, their float64 reference, relative errors.

use iresnet_kernels::reference::branch;
use iresnet_kernels::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

/// Pseudo-random values in [-1, 1).
pub fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

pub fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|v| f64::from(*v)).collect()
}

/// `|a - b| / |b|`
pub fn relative(a: &[f32], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let difference: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum();
    let size: f64 = b.iter().map(|b| b * b).sum();
    (difference / size.max(1e-30)).sqrt()
}

#[derive(Clone, Debug)]
pub struct Case {
    pub shape: BlockShape,
    pub samples: usize,
    pub weights: Vec<f32>,
    pub affine: Option<[(Vec<f32>, Vec<f32>); 3]>,
    pub mask: Option<Vec<u16>>,
    pub images: Vec<f32>,
}

pub const KEPT: f32 = 1.0 / 0.9;

impl Case {
    pub fn new(shape: BlockShape, samples: usize, seed: u64, affine: bool, mask: bool) -> Self {
        let mut weights = values(shape.num_weights(), seed);
        for i in 0..3 {
            let fan_in = (shape.channels()[i].0 * shape.kernels[i] * shape.kernels[i]) as f32;
            weights[shape.places()[2 * i].clone()].iter_mut().for_each(|w| *w *= (3.0 / fan_in).sqrt());
        }
        let affine = affine.then(|| {
            [0, 1, 2].map(|i| {
                let channels = shape.channels()[i].0;
                let scale = values(channels, seed + 10 + i as u64).iter().map(|s| 1.0 + 0.5 * s).collect();
                (scale, values(channels, seed + 20 + i as u64))
            })
        });
        let positions = shape.bottleneck * shape.image.height * shape.image.width * samples.div_ceil(LANES);
        let mask = mask.then(|| values(positions, seed + 30).iter().map(|v| (v.abs() * 65535.0) as u16).collect());
        let images = values(samples * shape.image.len(), seed + 1);
        Case { shape, samples, weights, affine, mask, images }
    }

    pub fn packs(&self, images: &[f32]) -> Vec<f32> {
        let mut packs = vec![0.0; self.samples.div_ceil(LANES) * self.shape.image.pack_len()];
        pack(images, self.shape.image, &mut packs);
        packs
    }

    pub fn images(&self, packs: &[f32]) -> Vec<f32> {
        let mut images = vec![0.0; self.images.len()];
        unpack(packs, self.shape.image, &mut images);
        images
    }

    pub fn affine(&self) -> Option<[Affine<'_>; 3]> {
        self.affine.as_ref().map(|maps| maps.each_ref().map(|(scale, shift)| Affine { scale, shift }))
    }

    pub fn plan(&self, level: Level) -> BlockPlan {
        BlockPlan::with_level(&self.shape, &self.weights, self.affine(), Purpose::Training, level)
    }

    pub fn precise(&self) -> PreciseBlock {
        PreciseBlock::new(&self.shape, self.weights.as_slice().into(), self.affine())
    }

    pub fn dropout(&self) -> Option<DropoutMask<'_>> {
        self.mask.as_ref().map(|bits| DropoutMask { bits, scale: KEPT })
    }

    /// A forward pass that keeps what the backward pass needs, and that one.
    pub fn backward(&self, plan: &BlockPlan, gradient: &mut [f32], weights: &mut [f32]) {
        let x = self.packs(&self.images);
        let (mut y, mut hidden) =
            (x.clone(), vec![0.0; x.len() / self.shape.image.pack_len() * self.shape.hidden_len()]);
        plan.forward(&x, &mut y, Some(&mut hidden), self.dropout());
        plan.backward(&x, &hidden, gradient, self.dropout(), weights);
    }

    /// `g` of all images in float64, with other weights or images.
    pub fn branch_at(&self, weights: &[f64], images: &[f64]) -> Vec<f64> {
        let affine = self.affine.as_ref().map(|maps| maps.each_ref().map(|(s, t)| (wide(s), wide(t))));
        let positions = self.shape.bottleneck * self.shape.image.height * self.shape.image.width;
        let one = |(n, image): (usize, &[f64])| {
            let mask: Option<Vec<f64>> = self.mask.as_ref().map(|bits| {
                let words = &bits[n / LANES * positions..][..positions];
                words.iter().map(|w| if w >> (n % LANES) & 1 == 1 { f64::from(KEPT) } else { 0.0 }).collect()
            });
            branch(&self.shape, weights, affine.as_ref(), mask.as_deref(), image)
        };
        images.chunks_exact(self.shape.image.len()).enumerate().flat_map(one).collect()
    }

    pub fn branch(&self) -> Vec<f64> {
        self.branch_at(&wide(&self.weights), &wide(&self.images))
    }
}

pub fn any_shape() -> impl Strategy<Value = (BlockShape, usize)> {
    let kernels = prop::sample::select(vec![[3, 1, 3], [3, 1, 3], [3, 3, 3], [1, 1, 1], [5, 1, 3], [1, 3, 5]]);
    let activations =
        prop::sample::select(vec![Activation::Relu, Activation::Elu, Activation::Softplus, Activation::LipSwish]);
    // Up to 18 channels: more than a vector's, and every kind of register tile.
    (1..19usize, 1..19usize, 1..11usize, 1..11usize, kernels, activations, any::<bool>(), 1..20usize).prop_map(
        |(channels, bottleneck, height, width, kernels, activation, activate_input, samples)| {
            let image = ImageShape { channels, height, width };
            (BlockShape { image, bottleneck, kernels, activation, activate_input, step: 0.75 }, samples)
        },
    )
}

pub fn config(cases: u32) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Config::default() }
}

pub fn block(channels: usize, bottleneck: usize, size: usize) -> BlockShape {
    BlockShape::paper(ImageShape { channels, height: size, width: size }, bottleneck)
}
