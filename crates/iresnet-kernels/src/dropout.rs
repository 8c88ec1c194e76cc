//! Dropout masks: a function of seed, step, block, image and value, whatever the batch is split over.
//!
//! The generator is Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", Random123): a keyed
//! bijection of 128-bit counters. A mask's counters are `[value / 8, image, block, low word of the step]`, and its key is
//! the first two words of counter `[high word of the step, 0, 0, 0]` under the seed as key: below 2^32 steps of a run no
//! counter comes twice, above that the key differs, as it does for other seeds, but for a chance of 2^-64. The four words
//! of a call are eight draws of 16 bits, the low half of each word first.

use rayon::prelude::*;

use crate::lane::LANES;
use crate::level::{Level, leveled};
use crate::simd::Simd;

/// Dropout on the input of the last convolution.
#[derive(Clone, Copy, Debug)]
pub struct DropoutMask<'a> {
    /// `[pack][channel][y][x]`; bit l keeps lane l.
    pub bits: &'a [u16],
    /// What kept values are multiplied by.
    pub scale: f32,
}

impl<'a> DropoutMask<'a> {
    /// The part of pack number `pack`, of `len` values a lane.
    pub fn of_pack(&self, pack: usize, len: usize) -> DropoutMask<'a> {
        DropoutMask { bits: &self.bits[pack * len..(pack + 1) * len], scale: self.scale }
    }
}

/// Which masks a training step uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DropoutKey {
    /// Seed of the run.
    pub seed: u64,
    /// Number of the optimiser step.
    pub step: u64,
    /// Probability of dropping a value; its complement is rounded to a multiple of 2^-16.
    pub probability: f64,
}

/// Draws the keep-bits of block number `block` for images from number `first_image` of the step's batch on.
///
/// Whether value v of image i is kept is a function of (seed, step, block, i, v) alone: the same for any split of the
/// batch over packs, threads, processes and devices.
///
/// # Shapes
/// `out` is `[pack][value]` with `values` values a pack; bit l of pack p is of image `first_image + 16 p + l`.
///
/// # Panics
/// If `out` does not hold whole packs, or the probability is not in [0, 1].
pub fn dropout_bits(key: DropoutKey, block: u32, first_image: u32, values: usize, out: &mut [u16]) {
    assert!((0.0..=1.0).contains(&key.probability), "a probability of dropping in [0, 1], not {}", key.probability);
    assert!(values > 0 && out.len().is_multiple_of(values), "packs of {values} values, not {} values", out.len());
    let kept = ((1.0 - key.probability) * 65536.0).round() as u32;
    let (step, seed) = (words(key.step), words(key.seed));
    let [k0, k1, ..] = philox([[step[1].into(); LANES], [0; LANES], [0; LANES], [0; LANES]], &key_schedule(seed));
    let keys = key_schedule([k0[0] as u32, k1[0] as u32]);
    out.par_chunks_mut(values).enumerate().for_each(|(pack, out)| {
        let image = first_image.wrapping_add((pack * LANES) as u32);
        draw(Level::current(), &keys, [image, block, step[0]], kept, out);
    });
}

/// Low and high word.
fn words(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

/// Draws that one call gives for each image.
const DRAWS: usize = 8;

const ROUNDS: usize = 10;

/// A word of sixteen counters, in the low half of 64 bits, where products find it; the high half is anything.
type Word = [u64; LANES];

/// The keys of the rounds: each adds the golden ratio and sqrt(3) - 1 to the one before.
fn key_schedule(key: [u32; 2]) -> [[u32; 2]; ROUNDS] {
    std::array::from_fn(|round| {
        let weyl = |start: u32, step: u32| start.wrapping_add(step.wrapping_mul(round as u32));
        [weyl(key[0], 0x9e37_79b9), weyl(key[1], 0xbb67_ae85)]
    })
}

/// Philox4x32-10 of sixteen counters side by side.
#[inline(always)]
fn philox(counter: [Word; 4], keys: &[[u32; 2]; ROUNDS]) -> [Word; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    for [k0, k1] in keys {
        for l in 0..LANES {
            let (p0, p1) = ((c0[l] & 0xffff_ffff) * 0xd251_1f53, (c2[l] & 0xffff_ffff) * 0xcd9e_8d57);
            c0[l] = (p1 >> 32) ^ c1[l] ^ u64::from(*k0);
            c1[l] = p1;
            c2[l] = (p0 >> 32) ^ c3[l] ^ u64::from(*k1);
            c3[l] = p0;
        }
    }
    [c0, c1, c2, c3]
}

/// The keep-bits of one pack, of images from number `image` on; a draw below `kept` keeps.
#[inline(always)]
fn draw_inner<S: Simd>(keys: &[[u32; 2]; ROUNDS], [image, block, step]: [u32; 3], kept: u32, out: &mut [u16]) {
    let mut images = [0; LANES];
    for l in 0..LANES {
        images[l] = u64::from(image.wrapping_add(l as u32));
    }
    for (group, out) in out.chunks_mut(DRAWS).enumerate() {
        let random = philox([[group as u64; LANES], images, [block.into(); LANES], [step.into(); LANES]], keys);
        let mut bits = [0; DRAWS];
        for w in 0..4 {
            let (mut low, mut high) = ([0; LANES], [0; LANES]);
            for l in 0..LANES {
                low[l] = random[w][l] as u32 & 0xffff;
                high[l] = random[w][l] as u32 >> 16;
            }
            bits[2 * w] = S::below(low, kept);
            bits[2 * w + 1] = S::below(high, kept);
        }
        out.copy_from_slice(&bits[..out.len()]);
    }
}
leveled!(fn draw = draw_inner(keys: &[[u32; 2]; ROUNDS], place: [u32; 3], kept: u32, out: &mut [u16]));

#[cfg(test)]
mod tests {
    use super::*;

    /// One counter, in all lanes.
    fn one(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
        philox(counter.map(|word| [word.into(); LANES]), &key_schedule(key)).map(|word| {
            assert!(word.iter().all(|w| *w as u32 == word[0] as u32), "equal counters, equal words");
            word[0] as u32
        })
    }

    /// The vectors that Random123 publishes (tests/kat_vectors).
    #[test]
    fn philox_gives_the_published_vectors() {
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expected) in cases {
            assert_eq!(one(counter, key), expected, "counter {counter:08x?}, key {key:08x?}");
        }
    }

    /// The scalar definition of the doc above, on every level, with a last group that is not full.
    #[test]
    fn bits_are_the_draws_of_their_counters() {
        let (key, block, image, kept) = ([7, 8], 3, 1000, 40_000);
        for level in Level::available() {
            let mut bits = vec![0; 21];
            draw(level, &key_schedule(key), [image, block, 9], kept, &mut bits);
            for (v, bits) in bits.iter().enumerate() {
                for l in 0..LANES {
                    let words = one([(v / 8) as u32, image + l as u32, block, 9], key);
                    let draw = words[v % 8 / 2] >> (16 * (v % 2)) & 0xffff;
                    assert_eq!(bits >> l & 1 == 1, draw < kept, "{level:?}, value {v}, lane {l}");
                }
            }
        }
    }

    const KEY: DropoutKey = DropoutKey { seed: 1, step: 2, probability: 0.1 };

    fn bits(key: DropoutKey, block: u32, first_image: u32, packs: usize, values: usize) -> Vec<u16> {
        let mut out = vec![0; packs * values];
        dropout_bits(key, block, first_image, values, &mut out);
        out
    }

    #[test]
    fn the_asked_share_is_kept() {
        for probability in [0.1, 0.5, 0.9] {
            let bits = bits(DropoutKey { probability, ..KEY }, 3, 0, 8, 12_500);
            let kept: f64 = bits.iter().map(|b| f64::from(b.count_ones())).sum();
            // Five standard deviations of a binomial count, and the rounding of the probability to 2^-16.
            let draws = 16.0 * bits.len() as f64;
            let bound = 5.0 * (draws * probability * (1.0 - probability)).sqrt() + draws / 131_072.0;
            assert!((kept - draws * (1.0 - probability)).abs() < bound, "{kept} of {draws} at {probability}");
        }
        let all = |probability| bits(DropoutKey { probability, ..KEY }, 3, 0, 2, 100);
        assert!(all(1e-9).iter().chain(&all(0.0)).all(|b| *b == u16::MAX), "what rounds to nothing drops nothing");
        assert!(all(1.0).iter().all(|b| *b == 0));
    }

    #[test]
    fn other_seeds_steps_and_blocks_give_other_masks() {
        let mut all = vec![bits(KEY, 3, 0, 2, 100), bits(KEY, 4, 0, 2, 100)];
        for seed in [2, 1 << 32 | 1, u64::MAX] {
            all.push(bits(DropoutKey { seed, ..KEY }, 3, 0, 2, 100));
        }
        // Steps that share their low or their high word.
        for step in [3, 1 << 32 | 2, 1 << 63 | 2, 1 << 32 | 3, u64::MAX] {
            all.push(bits(DropoutKey { step, ..KEY }, 3, 0, 2, 100));
        }
        for (i, one) in all.iter().enumerate() {
            for (j, other) in all.iter().enumerate().skip(i + 1) {
                // Independent masks agree in 1 - 2 p (1 - p) = 0.82 of 3200 bits; five standard deviations are 0.034.
                let agree: u32 = one.iter().zip(other).map(|(a, b)| (!(a ^ b)).count_ones()).sum();
                assert!((f64::from(agree) / 3200.0 - 0.82).abs() < 0.034, "masks {i} and {j} agree in {agree}");
            }
        }
    }

    #[test]
    fn an_image_has_its_mask_wherever_it_lies() {
        let values = 53;
        let together = bits(KEY, 5, 0, 6, values);
        let of = |packs: &[u16], image: usize| -> Vec<bool> {
            packs[image / LANES * values..][..values].iter().map(|b| b >> (image % LANES) & 1 == 1).collect()
        };
        // Splits at packs and within them, and fewer values of each image.
        for (first, packs) in [(16, 5), (48, 1), (5, 5), (33, 3)] {
            let part = bits(KEY, 5, first as u32, packs, values);
            for image in 0..packs * LANES {
                assert_eq!(of(&part, image), of(&together, first + image), "image {image} from {first} on");
            }
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("three threads");
        assert_eq!(pool.install(|| bits(KEY, 5, 0, 6, values)), together);
    }
}
