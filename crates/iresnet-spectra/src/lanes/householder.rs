//! All eigenvalues: Householder's reduction to tridiagonal form, then implicit QL.

use iresnet_kernels::{Leveled, dispatch};
use num_traits::Float;

use super::batch::{Batch, row};
use super::entry::{Entry, Lane, double, each, fma, number, plus};
use crate::scratch::Keep;
use crate::tridiagonal::eigenvalues;

impl<T: Float, const N: usize> Batch<T, N>
where
    Entry<T, N>: Keep,
{
    /// All eigenvalues of every matrix in rising order: Householder's reduction to tridiagonal form, which is left in
    /// place of the matrices, then implicit QL. `None` if that did not converge.
    pub fn eigenvalues(mut self) -> Option<[Vec<f64>; N]> {
        let (diagonal, side) = dispatch(Tridiagonalise(&mut self));
        let mut all = [const { Vec::new() }; N];
        for (lane, values) in all.iter_mut().enumerate() {
            let pick = |from: &[Lane<T, N>]| -> Vec<f64> { from.iter().map(|x| double(x[lane])).collect() };
            *values = eigenvalues(&pick(&diagonal), &pick(&side))?;
        }
        Some(all)
    }
}

/// Diagonal and moduli beside it of similar tridiagonal matrices.
///
/// From the last row up: a reflection of the leading rows and columns turns all of a row but its last entry beside the
/// diagonal to zero; the rest of the work concerns a smaller leading matrix, which is a prefix of the storage.
struct Tridiagonalise<'a, T, const N: usize>(&'a mut Batch<T, N>)
where
    Entry<T, N>: Keep;

impl<T: Float, const N: usize> Leveled for Tridiagonalise<'_, T, N>
where
    Entry<T, N>: Keep,
{
    type Output = (Vec<Lane<T, N>>, Vec<Lane<T, N>>);

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> Self::Output {
        let Tridiagonalise(batch) = self;
        let m = batch.side;
        let mut beside = vec![[T::zero(); N]; m.saturating_sub(1)];
        let (mut v, mut p) = (vec![Entry::default(); m], vec![Entry::default(); m]);
        for n in (1..m).rev() {
            // The column above the diagonal, conjugate of the row.
            for (v, a) in v.iter_mut().zip(&batch.entries[row(n)..][..n]) {
                *v = a.conjugate();
            }
            let v = &mut v[..n];
            let square = v.iter().fold([T::zero(); N], |sum, z| plus(sum, z.square()));
            let length = square.map(T::sqrt);
            beside[n - 1] = length;
            // v = u + phase |u| e with the phase of u's last entry; H = I - v v^H / (|u|^2 + |u_last| |u|).
            let last = v[n - 1];
            let size = last.square().map(T::sqrt);
            let stretch: Lane<T, N> =
                each(|l| if size[l] > T::zero() { T::one() + length[l] / size[l] } else { T::zero() });
            v[n - 1] = Entry {
                re: each(|l| if size[l] > T::zero() { last.re[l] * stretch[l] } else { length[l] }),
                im: each(|l| last.im[l] * stretch[l]),
            };
            let tau: Lane<T, N> = each(|l| {
                let norm = square[l] + size[l] * length[l];
                if norm > T::zero() { norm.recip() } else { T::zero() }
            });
            let p = &mut p[..n];
            p.fill(Entry::default());
            batch.multiply::<FUSED>(n, v, p);
            let mut along = [T::zero(); N];
            for (p, v) in p.iter_mut().zip(v.iter()) {
                *p = p.times(tau);
                along = each(|l| along[l] + (p.re[l] * v.re[l] + p.im[l] * v.im[l]));
            }
            let half: Lane<T, N> = each(|l| number::<T>(-0.5) * tau[l] * along[l]);
            for (p, v) in p.iter_mut().zip(v.iter()) {
                *p = Entry {
                    re: each(|l| fma::<T, FUSED>(half[l], v.re[l], p.re[l])),
                    im: each(|l| fma::<T, FUSED>(half[l], v.im[l], p.im[l])),
                };
            }
            for r in 0..n {
                let (vr, pr) = (v[r], p[r]);
                let entries = &mut batch.entries[row(r)..][..r + 1];
                for ((a, v), p) in entries.iter_mut().zip(v.iter()).zip(p.iter()) {
                    *a = a.subtract_conjugate::<FUSED>(vr, *p).subtract_conjugate::<FUSED>(pr, *v);
                }
            }
        }
        ((0..m).map(|r| batch.entries[row(r) + r].re).collect(), beside)
    }
}
