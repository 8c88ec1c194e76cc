//! Samples side by side: the form in which layers pass values on.
//!
//! Sixteen samples make a pack `[channel][y][x][16]` (see `iresnet_kernels`); a batch is as many packs as its samples
//! need, unused lanes zero. A sample's values do not depend on its neighbours in any layer, so a batch may be cut anywhere
//! between packs.

use rayon::prelude::*;

use crate::{ImageShape, LANES, Scalar};

/// Samples of one shape in packs.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch<T> {
    shape: ImageShape,
    samples: usize,
    packs: Vec<T>,
}

/// The shape of vectors of `len` values.
pub fn vector(len: usize) -> ImageShape {
    ImageShape { channels: len, height: 1, width: 1 }
}

impl<T: Scalar> Batch<T> {
    /// Samples `[n, channels, height, width]`, one after the other.
    ///
    /// # Panics
    /// If these are not whole samples.
    pub fn pack(samples: &[T], shape: ImageShape) -> Self {
        let len = shape.len();
        assert!(samples.len().is_multiple_of(len), "{} values are no whole samples of {len}", samples.len());
        let mut batch = Self::zeros(shape, samples.len() / len);
        iresnet_kernels::pack(samples, shape, &mut batch.packs);
        batch
    }

    /// The samples `[n, channels, height, width]`, one after the other.
    pub fn unpack(&self) -> Vec<T> {
        let mut samples = vec![T::ZERO; self.samples * self.shape.len()];
        iresnet_kernels::unpack(&self.packs, self.shape, &mut samples);
        samples
    }

    /// Samples of zeros.
    pub fn zeros(shape: ImageShape, samples: usize) -> Self {
        Batch { shape, samples, packs: vec![T::ZERO; samples.div_ceil(LANES) * shape.pack_len()] }
    }

    /// Values that are packs already.
    ///
    /// # Panics
    /// If there are not as many packs as the samples need.
    pub fn from_packs(packs: Vec<T>, shape: ImageShape, samples: usize) -> Self {
        let needed = samples.div_ceil(LANES) * shape.pack_len();
        assert_eq!(packs.len(), needed, "values of the packs of {samples} samples of {shape:?}");
        Batch { shape, samples, packs }
    }

    /// Of one sample.
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// How many there are.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// All packs, one after the other.
    pub fn packs(&self) -> &[T] {
        &self.packs
    }

    /// All packs, to be changed in place. Unused lanes should stay zero.
    pub fn packs_mut(&mut self) -> &mut [T] {
        &mut self.packs
    }

    /// The packs themselves.
    pub fn into_packs(self) -> Vec<T> {
        self.packs
    }

    /// In another number format: exact from float32 to float64, rounded once the other way.
    pub fn cast<U: Scalar>(&self) -> Batch<U> {
        let packs = self.packs.iter().map(|x| U::from_f64(x.to_f64())).collect();
        Batch { shape: self.shape, samples: self.samples, packs }
    }

    /// Euclidean length of each sample, summed in float64.
    pub fn lengths(&self) -> Vec<f64> {
        let lengths = self.packs.chunks_exact(self.shape.pack_len()).flat_map(lengths);
        lengths.take(self.samples).collect()
    }

    /// Calls `work` with parts of `packs` packs each, on all threads; gives results in order, each with the number of its
    /// first sample.
    pub(crate) fn in_parts<R: Send>(self, packs: usize, work: impl Fn(Batch<T>) -> R + Sync) -> Vec<(usize, R)> {
        if self.samples <= packs * LANES {
            return vec![(0, work(self))];
        }
        let (shape, samples, most) = (self.shape, self.samples, packs * LANES);
        let parts = self.packs.par_chunks(packs * shape.pack_len()).enumerate();
        let part = |(i, packs): (usize, &[T])| {
            let first = i * most;
            (first, work(Batch::from_packs(packs.to_vec(), shape, most.min(samples - first))))
        };
        parts.map(part).collect()
    }

    /// Parts in their order as one batch; `None` without parts.
    pub(crate) fn join(parts: impl IntoIterator<Item = Batch<T>>) -> Option<Self> {
        parts.into_iter().reduce(|mut all, part| {
            all.append(part);
            all
        })
    }

    /// Adds the samples of another part; this one's packs are full.
    pub(crate) fn append(&mut self, part: Batch<T>) {
        debug_assert!(self.samples.is_multiple_of(LANES) && self.shape == part.shape);
        self.packs.extend(part.packs);
        self.samples += part.samples;
    }
}

/// Covers the rounding of [`lengths`], whose sums have fewer than ten million terms.
pub(crate) const UP: f64 = 1.0 + 1e-8;

/// Lengths of the lanes of packed values.
pub(crate) fn lengths<T: Scalar>(values: &[T]) -> [f64; LANES] {
    let mut squares = [0.0; LANES];
    for vector in values.as_chunks::<LANES>().0 {
        for l in 0..LANES {
            squares[l] += vector[l].to_f64() * vector[l].to_f64();
        }
    }
    squares.map(f64::sqrt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_survive_packing_and_cutting() {
        let samples: Vec<f64> = (0..37 * 3).map(f64::from).collect();
        let batch = Batch::pack(&samples, vector(3));
        assert_eq!((batch.samples(), batch.packs().len()), (37, 3 * 3 * LANES));
        assert_eq!(batch.unpack(), samples);
        assert_eq!(batch.lengths()[1], (9.0f64 + 16.0 + 25.0).sqrt());
        let parts = batch.clone().in_parts(1, |part| part);
        assert_eq!(
            parts.iter().map(|(first, part)| (*first, part.samples())).collect::<Vec<_>>(),
            [(0, 16), (16, 16), (32, 5)]
        );
        assert_eq!(Batch::join(parts.into_iter().map(|(_, part)| part)).unwrap(), batch);
    }

    #[test]
    #[should_panic(expected = "4 values are no whole samples of 3")]
    fn half_a_sample_is_refused() {
        Batch::pack(&[0.0; 4], vector(3));
    }
}
