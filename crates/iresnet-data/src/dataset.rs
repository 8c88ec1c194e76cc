//! Images of one size with their labels, and parts of them.

use std::sync::Arc;

use crate::hash::sha256;

/// Images of one size with their labels.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// NCHW bytes.
    pub pixels: Arc<Vec<u8>>,
    /// Class numbers.
    pub labels: Arc<Vec<u32>>,
}

impl Dataset {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Bytes of one image.
    pub fn image_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes of image `index`, CHW.
    pub fn image(&self, index: usize) -> &[u8] {
        &self.pixels[index * self.image_len()..(index + 1) * self.image_len()]
    }

    /// SHA-256 of pixels and labels, in hexadecimal digits.
    pub fn sha256(&self) -> String {
        let labels: Vec<u8> = self.labels.iter().flat_map(|label| label.to_le_bytes()).collect();
        sha256([self.pixels.as_slice(), &labels])
    }

    fn subset(&self, indices: impl Iterator<Item = usize> + Clone) -> Dataset {
        Dataset {
            shape: self.shape,
            pixels: Arc::new(indices.clone().flat_map(|i| self.image(i).iter().copied()).collect()),
            labels: Arc::new(indices.map(|i| self.labels[i]).collect()),
        }
    }

    /// `count` images at even distances, or all if there are fewer: of every class where classes come one after another.
    pub fn spread(&self, count: usize) -> Dataset {
        self.subset(self.spread_indices(count))
    }

    /// Which images [`Dataset::spread`] takes.
    pub fn spread_indices(&self, count: usize) -> impl Iterator<Item = usize> + Clone + use<> {
        let (len, count) = (self.len(), count.min(self.len()));
        (0..count).map(move |i| (2 * i + 1) * len / (2 * count))
    }

    /// All others, and those that [`Dataset::spread`] takes.
    pub fn hold_out(&self, count: usize) -> (Dataset, Dataset) {
        if count == 0 {
            return (self.clone(), self.first(0));
        }
        let mut held_out = vec![false; self.len()];
        self.spread_indices(count).for_each(|i| held_out[i] = true);
        let of = |part| self.subset((0..self.len()).filter(|i| held_out[*i] == part));
        (of(false), of(true))
    }

    /// The first `count` images, or all if there are fewer.
    pub fn first(&self, count: usize) -> Dataset {
        self.subset(0..count.min(self.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_set_are_its_images() {
        let pixels = (0..364 * 4).map(|i| (i * 7 % 251) as u8).collect();
        let test = Dataset { shape: [1, 2, 2], pixels: Arc::new(pixels), labels: Arc::new((0..364).collect()) };
        let first = test.first(7);
        assert_eq!((first.len(), first.image(6)), (7, test.image(6)));
        assert_eq!(test.first(1000).len(), 364);
        let spread = test.spread(10);
        assert_eq!((spread.len(), spread.image(3), spread.labels[3]), (10, test.image(127), test.labels[127]));
        let sorted = Dataset { labels: Arc::new((0..364).map(|i| i / 37).collect()), ..test.clone() };
        assert_eq!(*sorted.spread(10).labels, (0..10).collect::<Vec<u32>>(), "every class");
        assert_eq!(test.spread(1000).pixels, test.pixels);
        assert!(test.spread(0).is_empty());
        let (others, held_out) = test.hold_out(100);
        assert_eq!((others.len(), held_out.pixels), (264, test.spread(100).pixels));
        let rest = (0..364).filter(|i| !test.spread_indices(100).any(|j| j == *i));
        assert!(
            rest.enumerate().all(|(i, of)| others.image(i) == test.image(of) && others.labels[i] == test.labels[of])
        );
        assert!(Arc::ptr_eq(&test.hold_out(0).0.pixels, &test.pixels), "no copy");
    }
}
