//! Batches of Hermitian matrices: how they are formed, and their products with vectors.

use iresnet_kernels::{Leveled, dispatch};
use num_traits::Float;

use super::entry::{Entry, LANES, Lane, each, fma};
use crate::scratch::{Keep, Scratch};

/// Lower triangles of Hermitian matrices, row by row.
#[derive(Clone)]
pub struct Batch<T = f64, const N: usize = LANES>
where
    Entry<T, N>: Keep,
{
    pub(super) side: usize,
    pub(super) entries: Scratch<Entry<T, N>>,
}

/// Where row `r` of a lower triangle begins.
pub(super) fn row(r: usize) -> usize {
    r * (r + 1) / 2
}

impl<T: Float, const N: usize> Batch<T, N>
where
    Entry<T, N>: Keep,
{
    /// Matrices of the given side, with whatever values there are.
    pub fn new(side: usize) -> Self {
        Batch { side, entries: Scratch::of(row(side)) }
    }

    /// Sets the lower triangles: `shift I - P_0 - sum_d (cos_d P_d - i sin_d Q_d)`.
    ///
    /// `parts` holds, entry after entry of the lower triangle row by row, `P_0` and then `P_d, Q_d` for every `d`;
    /// `waves` the cosines and sines of every `d`.
    pub fn combine(&mut self, parts: &[T], waves: &[(Lane<T, N>, Lane<T, N>)], shift: T) {
        dispatch(Combine { batch: self, parts, waves, shift });
    }

    /// Row, column, real and imaginary part of every entry of one matrix's lower triangle.
    pub fn each_of(&self, lane: usize, mut visit: impl FnMut(usize, usize, T, T)) {
        for (r, c) in (0..self.side).flat_map(|r| (0..=r).map(move |c| (r, c))) {
            let entry = self.entries[row(r) + c];
            visit(r, c, entry.re[lane], entry.im[lane]);
        }
    }

    /// `image = A x` for the leading `side` rows and columns.
    ///
    /// Two rows at a time, so that one sum does not wait for another.
    #[inline(always)]
    pub(super) fn multiply<const FUSED: bool>(&self, side: usize, x: &[Entry<T, N>], image: &mut [Entry<T, N>]) {
        let pairs = side & !1;
        for r in (0..pairs).step_by(2) {
            let (upper, lower) = self.entries[row(r)..row(r + 2)].split_at(r + 1);
            let [x0, x1] = [x[r], x[r + 1]];
            let mut sums = [Entry::default(); 2];
            let columns = upper[..r].iter().zip(lower).zip(x).zip(image.iter_mut());
            for (((a, b), from), to) in columns {
                sums[0] = sums[0].add::<FUSED>(*a, *from);
                sums[1] = sums[1].add::<FUSED>(*b, *from);
                *to = to.add_conjugate::<FUSED>(*a, x0).add_conjugate::<FUSED>(*b, x1);
            }
            let corner = lower[r];
            image[r] = sums[0].add::<FUSED>(upper[r], x0).add_conjugate::<FUSED>(corner, x1);
            image[r + 1] = sums[1].add::<FUSED>(corner, x0).add::<FUSED>(lower[r + 1], x1);
        }
        if pairs < side {
            let entries = &self.entries[row(pairs)..][..side];
            let (last, mut sum) = (x[pairs], Entry::default());
            for ((a, from), to) in entries[..pairs].iter().zip(x).zip(image.iter_mut()) {
                sum = sum.add::<FUSED>(*a, *from);
                *to = to.add_conjugate::<FUSED>(*a, last);
            }
            image[pairs] = sum.add::<FUSED>(entries[pairs], last);
        }
    }
}

/// [`Batch::combine`]
struct Combine<'a, T, const N: usize>
where
    Entry<T, N>: Keep,
{
    batch: &'a mut Batch<T, N>,
    parts: &'a [T],
    waves: &'a [(Lane<T, N>, Lane<T, N>)],
    shift: T,
}

impl<T: Float, const N: usize> Leveled for Combine<'_, T, N>
where
    Entry<T, N>: Keep,
{
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Combine { batch, parts, waves, shift } = self;
        let len = 1 + 2 * waves.len();
        // Four entries at a time take each wave from memory once.
        let (fours, rest) = batch.entries.as_chunks_mut::<4>();
        let (parts, last) = parts.split_at(fours.len() * 4 * len);
        for (entries, parts) in fours.iter_mut().zip(parts.chunks_exact(4 * len)) {
            combine_entries::<T, FUSED, N, 4>(entries, parts, waves);
        }
        for (entry, parts) in rest.iter_mut().zip(last.chunks_exact(len)) {
            combine_entries::<T, FUSED, N, 1>(std::array::from_mut(entry), parts, waves);
        }
        for r in 0..batch.side {
            let diagonal = &mut batch.entries[row(r) + r];
            *diagonal = Entry { re: diagonal.re.map(|x| x + shift), im: [T::zero(); N] };
        }
    }
}

/// The sums of [`Batch::combine`] for some entries at once, without the shift.
#[inline(always)]
fn combine_entries<T: Float, const FUSED: bool, const N: usize, const ENTRIES: usize>(
    entries: &mut [Entry<T, N>; ENTRIES],
    parts: &[T],
    waves: &[(Lane<T, N>, Lane<T, N>)],
) {
    let of: [&[T]; ENTRIES] = std::array::from_fn(|e| &parts[e * (1 + 2 * waves.len())..]);
    // As many pairs as waves, which spares the loop a check an entry.
    let pairs = of.map(|of| &of[1..].as_chunks::<2>().0[..waves.len()]);
    let mut sums: [Entry<T, N>; ENTRIES] = std::array::from_fn(|e| Entry { re: [-of[e][0]; N], im: [T::zero(); N] });
    for (i, (cos, sin)) in waves.iter().enumerate() {
        for (sum, pairs) in sums.iter_mut().zip(&pairs) {
            let [p, q] = pairs[i];
            sum.re = each(|l| fma::<T, FUSED>(-cos[l], p, sum.re[l]));
            sum.im = each(|l| fma::<T, FUSED>(sin[l], q, sum.im[l]));
        }
    }
    *entries = sums;
}
