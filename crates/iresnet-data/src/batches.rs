//! Shuffled, augmented, normalised batches, made on a thread of their own.
//!
//! Order and augmentation are functions of seed, epoch and position, so that a run can go on in mid-epoch with the very
//! batches that it would have seen. A bounded channel holds a few batches ahead of their use.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::dataset::Dataset;
use crate::normalization::Normalization;

/// Random changes of training images.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Augmentation {
    /// Shifts of up to this many pixels in both directions; what comes in is 0, black.
    pub shift: usize,
    /// Horizontal flips, with probability 1/2.
    pub flip: bool,
}

/// Normalised images and their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// NCHW.
    pub images: Vec<f32>,
    /// Class numbers.
    pub labels: Vec<u32>,
    /// Numbers of the images in their data set.
    pub indices: Vec<usize>,
}

/// Batches made ahead of their use; dropped early, it lets its thread end.
#[derive(Debug)]
pub struct Loader {
    receiver: Receiver<Batch>,
    worker: Option<JoinHandle<()>>,
}

/// Batches that may wait to be used.
const AHEAD: usize = 4;

impl Loader {
    /// Batches of one epoch in random order from number `first_batch` on; the last one may be smaller.
    ///
    /// # Panics
    /// A `batch_size` of 0, or a normalisation for another number of channels.
    pub fn train(
        data: &Dataset,
        normalization: &Normalization,
        augmentation: Augmentation,
        batch_size: usize,
        seed: u64,
        epoch: u64,
        first_batch: usize,
    ) -> Self {
        let mut order: Vec<usize> = (0..data.len()).collect();
        order.shuffle(&mut generator(seed, epoch, u64::MAX));
        Self::spawn(data, normalization, batch_size, order, first_batch, move |index, image, shape| {
            let mut rng = generator(seed, epoch, index as u64);
            augment(image, shape, augmentation, &mut rng)
        })
    }

    /// All batches in the set's own order, unchanged.
    ///
    /// # Panics
    /// A `batch_size` of 0, or a normalisation for another number of channels.
    pub fn evaluate(data: &Dataset, normalization: &Normalization, batch_size: usize) -> Self {
        Self::spawn(data, normalization, batch_size, (0..data.len()).collect(), 0, |_, image, _| image.to_vec())
    }

    fn spawn(
        data: &Dataset,
        normalization: &Normalization,
        batch_size: usize,
        order: Vec<usize>,
        first_batch: usize,
        change: impl Fn(usize, &[u8], [usize; 3]) -> Vec<u8> + Send + 'static,
    ) -> Self {
        assert!(batch_size > 0, "a batch of 0 images; at least 1 is needed");
        let (wanted, given) = (data.shape[0], normalization.scale.len());
        assert_eq!(wanted, given, "images have {wanted} channels, the normalisation is for {given}");
        let (sender, receiver) = sync_channel(AHEAD);
        let (data, normalization) = (data.clone(), normalization.clone());
        let worker = std::thread::spawn(move || {
            for indices in order.chunks(batch_size).skip(first_batch) {
                let mut images = Vec::with_capacity(indices.len() * data.image_len());
                for &index in indices {
                    normalization.apply(&change(index, data.image(index), data.shape), &mut images);
                }
                let labels = indices.iter().map(|i| data.labels[*i]).collect();
                // A receiver that is gone has seen enough.
                if sender.send(Batch { images, labels, indices: indices.to_vec() }).is_err() {
                    return;
                }
            }
        });
        Loader { receiver, worker: Some(worker) }
    }
}

impl Iterator for Loader {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        self.receiver.recv().ok().or_else(|| {
            // The worker is gone: an epoch that ends by its panic must not look like one that ends.
            if let Some(Err(panic)) = self.worker.take().map(JoinHandle::join) {
                std::panic::resume_unwind(panic);
            }
            None
        })
    }
}

/// A generator for one purpose of one epoch.
fn generator(seed: u64, epoch: u64, purpose: u64) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(crate::random::seed([seed, epoch, purpose, 0x6461_7461]))
}

fn augment(image: &[u8], [channels, height, width]: [usize; 3], what: Augmentation, rng: &mut impl Rng) -> Vec<u8> {
    let reach = what.shift as i64;
    let (dy, dx) = (rng.random_range(-reach..=reach), rng.random_range(-reach..=reach));
    let flip = what.flip && rng.random::<bool>();
    let mut out = vec![0; image.len()];
    for c in 0..channels {
        for y in 0..height {
            let from_y = y as i64 - dy;
            if !(0..height as i64).contains(&from_y) {
                continue;
            }
            for x in 0..width {
                let seen = if flip { width - 1 - x } else { x };
                let from_x = seen as i64 - dx;
                if (0..width as i64).contains(&from_x) {
                    out[(c * height + y) * width + x] = image[(c * height + from_y as usize) * width + from_x as usize];
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn set(n: usize) -> Dataset {
        let pixels = (0..n * 12).map(|i| (i % 251) as u8).collect();
        Dataset { shape: [1, 3, 4], pixels: Arc::new(pixels), labels: Arc::new((0..n as u32).collect()) }
    }

    fn batches(epoch: u64, first: usize) -> Vec<Batch> {
        let augmentation = Augmentation { shift: 1, flip: true };
        Loader::train(&set(23), &Normalization::to_half(1, 255), augmentation, 5, 9, epoch, first).collect()
    }

    #[test]
    fn an_epoch_sees_every_image_once_and_can_be_entered_anywhere() {
        let all = batches(0, 0);
        assert_eq!(all.len(), 5);
        let mut seen: Vec<usize> = all.iter().flat_map(|b| b.indices.clone()).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..23).collect::<Vec<_>>());
        assert_eq!(batches(0, 3), all[3..]);
        assert_ne!(batches(1, 0)[0].indices, all[0].indices);
    }

    #[test]
    fn evaluation_keeps_the_order() {
        let set = set(7);
        let all: Vec<Batch> = Loader::evaluate(&set, &Normalization::to_half(1, 255), 3).collect();
        assert_eq!(all.iter().map(|b| b.labels.len()).collect::<Vec<_>>(), [3, 3, 1]);
        assert_eq!(all[2].indices, [6]);
        assert_eq!(all[0].images[1], 1.0 / 255.0 - 0.5);
    }

    #[test]
    fn a_dropped_loader_lets_its_thread_end() {
        let mut loader = Loader::evaluate(&set(1000), &Normalization::to_half(1, 255), 1);
        let worker = loader.worker.take().unwrap();
        drop(loader);
        worker.join().unwrap();
    }

    #[test]
    #[should_panic(expected = "out of range")]
    fn a_panic_of_the_worker_reaches_the_reader() {
        let mut broken = set(4);
        broken.pixels = Arc::new(vec![0; 12]);
        Loader::evaluate(&broken, &Normalization::to_half(1, 255), 1).for_each(drop);
    }

    #[test]
    #[should_panic(expected = "images have 1 channels, the normalisation is for 3")]
    fn a_foreign_normalisation_is_refused() {
        Loader::evaluate(&set(4), &Normalization::to_half(3, 255), 1);
    }

    #[test]
    fn shifts_and_flips_move_pixels() {
        let image: Vec<u8> = (1..=12).collect();
        let mut kinds = std::collections::HashSet::new();
        for seed in 0..400 {
            let out = augment(&image, [1, 3, 4], Augmentation { shift: 1, flip: true }, &mut generator(seed, 0, 0));
            kinds.insert(out);
        }
        // Nine shifts by two orientations; the flip mirrors the shifted window.
        assert_eq!(kinds.len(), 18);
        assert!(kinds.contains(&image));
        assert!(kinds.contains(&vec![4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9]));
        assert!(kinds.contains(&vec![0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]));
    }
}
