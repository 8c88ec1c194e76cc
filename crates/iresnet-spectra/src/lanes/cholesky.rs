//! Cholesky factorisations.

use iresnet_kernels::{Leveled, dispatch};
use num_traits::Float;

use super::batch::{Batch, row};
use super::entry::{Entry, Lane};
use crate::scratch::Keep;

impl<T: Float, const N: usize> Batch<T, N>
where
    Entry<T, N>: Keep,
{
    /// Which matrices the Cholesky factorisation shows to be positive; it is left in their place.
    ///
    /// Row by row, two rows and two columns at a time: sums of products in order, then a difference, a quotient or a
    /// root, as Higham's bound on its rounding wants them ([`crate::positive`]).
    pub fn factorise(&mut self) -> [bool; N] {
        dispatch(Factorise(self))
    }
}

/// [`Batch::factorise`]
struct Factorise<'a, T, const N: usize>(&'a mut Batch<T, N>)
where
    Entry<T, N>: Keep;

impl<T: Float, const N: usize> Leveled for Factorise<'_, T, N>
where
    Entry<T, N>: Keep,
{
    type Output = [bool; N];

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> [bool; N] {
        let Factorise(Batch { side, entries }) = self;
        let side = *side;
        let mut positive = [true; N];
        // Reciprocals of the diagonal of the factor.
        let mut inverse = vec![[T::zero(); N]; side];
        let mut first = 0;
        while first + 1 < side {
            let (above, here) = entries.split_at_mut(row(first));
            let (upper, rest) = here.split_at_mut(first + 1);
            let lower = &mut rest[..first + 2];
            for j in (0..first).step_by(2) {
                let columns = [&above[row(j)..][..j + 1], &above[row(j + 1)..][..j + 2]];
                let mut sums = [[upper[j], upper[j + 1]], [lower[j], lower[j + 1]]];
                for k in 0..j {
                    let (left, right) = ([upper[k], lower[k]], [columns[0][k], columns[1][k]]);
                    for r in 0..2 {
                        for c in 0..2 {
                            sums[r][c] = sums[r][c].subtract_conjugate::<FUSED>(left[r], right[c]);
                        }
                    }
                }
                for [one, two] in &mut sums {
                    *one = one.times(inverse[j]);
                    *two = two.subtract_conjugate::<FUSED>(*one, columns[1][j]).times(inverse[j + 1]);
                }
                [upper[j], upper[j + 1]] = sums[0];
                [lower[j], lower[j + 1]] = sums[1];
            }
            // The corner: two diagonal entries and one below them.
            let [mut a, mut b, mut c] = [upper[first], lower[first], lower[first + 1]];
            for k in 0..first {
                a = a.subtract_conjugate::<FUSED>(upper[k], upper[k]);
                b = b.subtract_conjugate::<FUSED>(lower[k], upper[k]);
                c = c.subtract_conjugate::<FUSED>(lower[k], lower[k]);
            }
            inverse[first] = pivot(a.re, &mut positive);
            b = b.times(inverse[first]);
            c = c.subtract_conjugate::<FUSED>(b, b);
            inverse[first + 1] = pivot(c.re, &mut positive);
            lower[first] = b;
            if positive == [false; N] {
                return positive;
            }
            first += 2;
        }
        if first < side {
            let (above, here) = entries.split_at_mut(row(first));
            for j in 0..first {
                let column = &above[row(j)..];
                let sum = (0..j).fold(here[j], |sum, k| sum.subtract_conjugate::<FUSED>(here[k], column[k]));
                here[j] = sum.times(inverse[j]);
            }
            let sum = (0..first).fold(here[first], |sum, k| sum.subtract_conjugate::<FUSED>(here[k], here[k]));
            pivot(sum.re, &mut positive);
        }
        positive
    }
}

/// `1 / sqrt(pivot)`; a lane whose pivot is not positive is no longer positive.
#[inline(always)]
fn pivot<T: Float, const N: usize>(pivot: Lane<T, N>, positive: &mut [bool; N]) -> Lane<T, N> {
    std::array::from_fn(|l| {
        positive[l] &= pivot[l] > T::zero();
        if positive[l] { pivot[l].sqrt().recip() } else { T::zero() }
    })
}
