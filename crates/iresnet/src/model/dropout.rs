//! Where a training pass takes its dropout masks from.

use std::sync::Arc;

pub use iresnet_kernels::DropoutKey;

/// Dropout masks of one training step.
#[derive(Clone, Debug)]
pub enum Dropout {
    /// A function of seed, step, block, image and value: the same for any split of the batch over threads, processes and
    /// devices.
    Drawn {
        /// Which masks.
        key: DropoutKey,
        /// Number in the step's whole batch of the first image of this pass.
        first_image: u32,
    },
    /// Given from outside, one list a block.
    Given {
        /// Of each block, `[ceil(n / 16)][channel][y][x]`: bit l keeps the value of image l of its sixteen.
        bits: Arc<Vec<Vec<u16>>>,
        /// What kept values are multiplied by.
        scale: f32,
    },
}

impl Dropout {
    /// Masks of a whole batch.
    pub fn drawn(key: DropoutKey) -> Self {
        Dropout::Drawn { key, first_image: 0 }
    }

    /// Keep-bits `[packs][values]` of block number `block`: bit l of pack p belongs to image `16 p + l` of the pass.
    pub fn bits(&self, block: usize, packs: usize, values: usize) -> Vec<u16> {
        match self {
            Dropout::Drawn { key, first_image } => {
                let mut bits = vec![0; packs * values];
                iresnet_kernels::dropout_bits(*key, block as u32, *first_image, values, &mut bits);
                bits
            }
            Dropout::Given { bits, .. } => {
                assert_eq!(bits[block].len(), packs * values, "keep-bits of block {block}");
                bits[block].clone()
            }
        }
    }

    /// What kept values are multiplied by.
    pub fn scale(&self) -> f32 {
        match self {
            Dropout::Drawn { key, .. } => (1.0 / (1.0 - key.probability)) as f32,
            Dropout::Given { scale, .. } => *scale,
        }
    }
}
