//! Dropout masks: a function of seed, step and block, so that they can be replayed and a resumed run draws the same.

use std::sync::Arc;

use iresnet_kernels::LANES;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Which masks a training step uses.
#[derive(Clone, Copy, Debug)]
pub struct DropoutKey {
    /// Seed of the run.
    pub seed: u64,
    /// Number of the optimiser step.
    pub step: u64,
    /// Probability of dropping a value.
    pub probability: f64,
}

/// Where a training pass takes its dropout masks from.
#[derive(Clone, Debug)]
pub enum Dropout {
    /// Drawn anew for every step.
    Drawn(DropoutKey),
    /// Given from outside, one list a block.
    Given {
        /// Of each block, `[ceil(n / 16)][channel][y][x]`: bit l keeps the value of image l of its sixteen.
        bits: Arc<Vec<Vec<u16>>>,
        /// What kept values are multiplied by.
        scale: f32,
    },
}

impl Dropout {
    /// Keep-bits of block number `block`, `len` of them.
    pub(crate) fn bits(&self, block: usize, len: usize) -> Vec<u16> {
        match self {
            Dropout::Drawn(key) => key.bits(block, len),
            Dropout::Given { bits, .. } => {
                assert_eq!(bits[block].len(), len, "keep-bits of block {block}");
                bits[block].clone()
            }
        }
    }

    /// What kept values are multiplied by.
    pub(crate) fn scale(&self) -> f32 {
        match self {
            Dropout::Drawn(key) => (1.0 / (1.0 - key.probability)) as f32,
            Dropout::Given { scale, .. } => *scale,
        }
    }
}

/// Bits of the binary expansion of the keeping probability that are drawn; its error is below 2^-16.
const PRECISION: u32 = 16;

impl DropoutKey {
    /// Keep-bits of block number `block`, one u16 a value and 16 images, `len` of them; bit = lane kept.
    ///
    /// Each bit is Bernoulli by comparing random binary digits with those of the keeping probability, 64 at a time:
    /// going from the last digit to the first, a digit 1 makes `kept = kept | random`, a digit 0 `kept & random`.
    pub(crate) fn bits(&self, block: usize, len: usize) -> Vec<u16> {
        let threshold = ((1.0 - self.probability) * f64::from(1u32 << PRECISION)).round() as u32;
        let words = [self.seed, self.step, block as u64, 0x6d61_736b];
        let mut rng = Xoshiro256PlusPlus::from_seed(crate::bytes::seed(words));
        // Neighbouring steps and blocks give nearly equal seeds; let the generator diffuse them.
        (0..16).for_each(|_| _ = rng.next_u64());
        const PER_WORD: usize = 64 / LANES;
        let lowest = threshold.trailing_zeros();
        let mut bits = Vec::with_capacity(len.next_multiple_of(PER_WORD));
        while bits.len() < len {
            // A probability that rounds to none drops nothing.
            let mut kept = if lowest == PRECISION { u64::MAX } else { 0 };
            for digit in lowest..PRECISION {
                let random = rng.next_u64();
                kept = if threshold >> digit & 1 == 1 { kept | random } else { kept & random };
            }
            bits.extend((0..PER_WORD).map(|i| (kept >> (i * LANES)) as u16));
        }
        bits.truncate(len);
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_asked_share_and_replays() {
        let key = DropoutKey { seed: 1, step: 2, probability: 0.1 };
        let bits = key.bits(3, 100_000);
        let kept: u32 = bits.iter().map(|b| b.count_ones()).sum();
        // 1.6 million draws: five standard deviations are 0.0012.
        assert!((f64::from(kept) / 1.6e6 - 0.9).abs() < 0.0012);
        assert_eq!(bits, key.bits(3, 100_000));
        assert_ne!(bits, key.bits(4, 100_000));
        assert_ne!(bits, DropoutKey { step: 3, ..key }.bits(3, 100_000));
        assert!(DropoutKey { probability: 1e-9, ..key }.bits(3, 100).iter().all(|b| *b == u16::MAX));
    }
}
