//! The largest eigenvalues by the power method, for guesses.

use iresnet_kernels::{Leveled, dispatch};
use num_traits::Float;

use super::batch::Batch;
use super::entry::{Entry, Lane, each, number, plus};
use crate::scratch::Keep;

impl<T: Float, const N: usize> Batch<T, N>
where
    Entry<T, N>: Keep,
{
    /// Rayleigh quotients of minus the matrices after some powers.
    pub fn powers(&self, powers: usize) -> Lane<T, N> {
        dispatch(Powers { batch: self, powers })
    }
}

/// [`Batch::powers`]
struct Powers<'a, T, const N: usize>
where
    Entry<T, N>: Keep,
{
    batch: &'a Batch<T, N>,
    powers: usize,
}

impl<T: Float, const N: usize> Leveled for Powers<'_, T, N>
where
    Entry<T, N>: Keep,
{
    type Output = Lane<T, N>;

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> Lane<T, N> {
        let Powers { batch, powers } = self;
        let start = |i: usize| Entry {
            re: [number(1.0 + ((i * 7919) % 1009) as f64 / 1009.0); N],
            im: [number(((i * 104_729) % 997) as f64 / 997.0); N],
        };
        let mut x: Vec<Entry<T, N>> = (0..batch.side).map(start).collect();
        let mut image = vec![Entry::default(); batch.side];
        let mut quotient = [T::zero(); N];
        for _ in 0..powers {
            let size = x.iter().fold([T::zero(); N], |sum, z| plus(sum, z.square()));
            let factor = size.map(|s| if s > T::zero() { s.sqrt().recip() } else { T::zero() });
            x.iter_mut().for_each(|z| *z = z.times(factor));
            batch.multiply::<FUSED>(batch.side, &x, &mut image);
            quotient = [T::zero(); N];
            for (a, b) in x.iter().zip(&image) {
                quotient = each(|l| quotient[l] - (a.re[l] * b.re[l] + a.im[l] * b.im[l]));
            }
            std::mem::swap(&mut x, &mut image);
        }
        quotient
    }
}
