//! Arithmetic of numbers with one lane a matrix.

use num_traits::Float;

use crate::scratch::keep;

/// Matrices of a batch in float64.
pub const LANES: usize = 4;

/// Matrices of a batch in float32, as wide a vector.
pub const SINGLES: usize = 8;

/// A number of every matrix.
pub type Lane<T = f64, const N: usize = LANES> = [T; N];

/// A complex number of every matrix.
#[derive(Clone, Copy)]
pub struct Entry<T = f64, const N: usize = LANES> {
    pub re: Lane<T, N>,
    pub im: Lane<T, N>,
}

impl<T: Float, const N: usize> Default for Entry<T, N> {
    fn default() -> Self {
        Entry { re: [T::zero(); N], im: [T::zero(); N] }
    }
}

keep!(Entry, Entry<f32, SINGLES>);

/// `a b + c`, in one instruction where there is one.
#[inline(always)]
pub fn fma<T: Float, const FUSED: bool>(a: T, b: T, c: T) -> T {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

#[inline(always)]
pub fn each<T, const N: usize>(mut lane: impl FnMut(usize) -> T) -> Lane<T, N> {
    std::array::from_fn(&mut lane)
}

impl<T: Float, const N: usize> Entry<T, N> {
    /// `self + a b`
    #[inline(always)]
    pub fn add<const FUSED: bool>(self, a: Self, b: Self) -> Self {
        Entry {
            re: each(|l| fma::<T, FUSED>(-a.im[l], b.im[l], fma::<T, FUSED>(a.re[l], b.re[l], self.re[l]))),
            im: each(|l| fma::<T, FUSED>(a.im[l], b.re[l], fma::<T, FUSED>(a.re[l], b.im[l], self.im[l]))),
        }
    }

    /// `self - a conj(b)`
    #[inline(always)]
    pub fn subtract_conjugate<const FUSED: bool>(self, a: Self, b: Self) -> Self {
        Entry {
            re: each(|l| fma::<T, FUSED>(-a.im[l], b.im[l], fma::<T, FUSED>(-a.re[l], b.re[l], self.re[l]))),
            im: each(|l| fma::<T, FUSED>(-a.im[l], b.re[l], fma::<T, FUSED>(a.re[l], b.im[l], self.im[l]))),
        }
    }

    /// `self + conj(a) b`
    #[inline(always)]
    pub fn add_conjugate<const FUSED: bool>(self, a: Self, b: Self) -> Self {
        Entry {
            re: each(|l| fma::<T, FUSED>(a.im[l], b.im[l], fma::<T, FUSED>(a.re[l], b.re[l], self.re[l]))),
            im: each(|l| fma::<T, FUSED>(-a.im[l], b.re[l], fma::<T, FUSED>(a.re[l], b.im[l], self.im[l]))),
        }
    }

    #[inline(always)]
    pub fn conjugate(self) -> Self {
        Entry { re: self.re, im: self.im.map(|x| -x) }
    }

    #[inline(always)]
    pub fn times(self, factor: Lane<T, N>) -> Self {
        Entry { re: each(|l| self.re[l] * factor[l]), im: each(|l| self.im[l] * factor[l]) }
    }

    /// `|z|^2`
    #[inline(always)]
    pub fn square(self) -> Lane<T, N> {
        each(|l| self.re[l] * self.re[l] + self.im[l] * self.im[l])
    }
}

#[inline(always)]
pub fn plus<T: Float, const N: usize>(a: Lane<T, N>, b: Lane<T, N>) -> Lane<T, N> {
    each(|l| a[l] + b[l])
}

/// A constant.
#[inline(always)]
pub fn number<T: Float>(value: f64) -> T {
    T::from(value).expect("a number of either precision")
}

pub fn double<T: Float>(value: T) -> f64 {
    value.to_f64().expect("every number is one in float64")
}
