//! Random numbers that depend on their purpose only.

/// A generator's seed from four words, such as the user's seed, the epoch, the image and the purpose.
pub fn seed(words: [u64; 4]) -> [u8; 32] {
    let mut seed = [0; 32];
    for (bytes, word) in seed.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
    seed
}
