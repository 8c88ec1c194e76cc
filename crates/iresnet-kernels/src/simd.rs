//! Sixteen lanes as the registers of each level hold them: one AVX-512 register, two of AVX2, or an array.
//!
//! Kernels are generic over [`Simd`] and compiled once a level by `leveled!`; arrays alone would leave it
//! to the optimiser whether sums stay in registers.

use crate::lane::{LANES, V};

/// Arithmetic on [`LANES`] float32 lanes.
///
/// Implementations for an instruction set may only be used inside a function compiled for it; `leveled!` is the only
/// place that names them.
pub(crate) trait Simd: Copy {
    /// Positions of a register tile of four channels that fit the registers.
    const TILE: usize;

    fn splat(value: f32) -> Self;
    fn load(from: &V) -> Self;
    fn store(self, to: &mut V);
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// `self * factor + addend`, fused where the level can.
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// `a b + c` in float64, fused where the level can.
    #[inline(always)]
    fn fused(a: f64, b: f64, c: f64) -> f64 {
        a.mul_add(b, c)
    }
    /// `max(self, 0)`; NaN stays NaN.
    fn relu(self) -> Self;
    /// 1 where `self > 0`, else 0.
    fn is_positive(self) -> Self;
    fn div(self, other: Self) -> Self;
    /// `max(self, bound)`; NaN stays NaN.
    fn max(self, bound: Self) -> Self;
    /// The nearest whole number, ties to even.
    fn round(self) -> Self;
    /// `self 2^n` for whole `n` from -126 to 127.
    fn times_power_of_two(self, n: Self) -> Self;
    /// `yes` where `condition > 0`, else `no`.
    fn if_positive(condition: Self, yes: Self, no: Self) -> Self;
    /// The lanes whose bit is set, 0 in the others.
    fn keep(self, bits: u16) -> Self;
    /// Bit l says whether lane l is below the bound.
    fn below(values: [u32; LANES], bound: u32) -> u16;
    /// Sixteen vectors as the rows of a matrix, transposed.
    fn transpose(rows: [Self; LANES]) -> [Self; LANES];

    /// Sum of the lanes in a fixed order.
    #[inline(always)]
    fn sum(self) -> f32 {
        self.array().iter().sum()
    }

    #[inline(always)]
    fn array(self) -> V {
        let mut array = [0.0; LANES];
        self.store(&mut array);
        array
    }
}

/// `x . y` in two times sixteen partial sums.
#[inline(always)]
pub(crate) fn dot<S: Simd>(x: &[f32], y: &[f32]) -> f32 {
    let (x_vectors, x_rest) = x.as_chunks::<LANES>();
    let (y_vectors, y_rest) = y.as_chunks::<LANES>();
    let mut sums = [S::splat(0.0); 2];
    for (i, (x, y)) in x_vectors.iter().zip(y_vectors).enumerate() {
        sums[i % 2] = S::load(x).mul_add(S::load(y), sums[i % 2]);
    }
    sums[0].add(sums[1]).sum() + x_rest.iter().zip(y_rest).map(|(x, y)| x * y).sum::<f32>()
}

impl Simd for V {
    const TILE: usize = 1;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        [value; LANES]
    }
    #[inline(always)]
    fn load(from: &V) -> Self {
        *from
    }
    #[inline(always)]
    fn store(self, to: &mut V) {
        *to = self;
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        std::array::from_fn(|l| self[l] + other[l])
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        std::array::from_fn(|l| self[l] - other[l])
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        std::array::from_fn(|l| self[l] * other[l])
    }
    // Without FMA instructions a fused product would be a library call a lane.
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        std::array::from_fn(|l| self[l] * factor[l] + addend[l])
    }
    #[inline(always)]
    fn fused(a: f64, b: f64, c: f64) -> f64 {
        a * b + c
    }
    #[inline(always)]
    fn relu(self) -> Self {
        self.map(|z| if z <= 0.0 { 0.0 } else { z })
    }
    #[inline(always)]
    fn is_positive(self) -> Self {
        self.map(|z| if z > 0.0 { 1.0 } else { 0.0 })
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        std::array::from_fn(|l| self[l] / other[l])
    }
    #[inline(always)]
    fn max(self, bound: Self) -> Self {
        std::array::from_fn(|l| if self[l] < bound[l] { bound[l] } else { self[l] })
    }
    #[inline(always)]
    fn round(self) -> Self {
        self.map(f32::round_ties_even)
    }
    #[inline(always)]
    fn times_power_of_two(self, n: Self) -> Self {
        std::array::from_fn(|l| self[l] * f32::from_bits(((n[l] as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    fn if_positive(condition: Self, yes: Self, no: Self) -> Self {
        std::array::from_fn(|l| if condition[l] > 0.0 { yes[l] } else { no[l] })
    }
    #[inline(always)]
    fn keep(self, bits: u16) -> Self {
        std::array::from_fn(|l| if bits >> l & 1 == 1 { self[l] } else { 0.0 })
    }
    #[inline(always)]
    fn below(values: [u32; LANES], bound: u32) -> u16 {
        let mut bits = 0;
        for l in 0..LANES {
            bits |= u16::from(values[l] < bound) << l;
        }
        bits
    }
    #[inline(always)]
    fn transpose(rows: [Self; LANES]) -> [Self; LANES] {
        std::array::from_fn(|i| std::array::from_fn(|j| rows[j][i]))
    }
}

/// Transposes through memory, for levels whose shuffles do not reach across a vector.
#[inline(always)]
#[cfg(target_arch = "x86_64")]
fn transpose_arrays<S: Simd>(rows: [S; LANES]) -> [S; LANES] {
    let mut from = [[0.0; LANES]; LANES];
    for i in 0..LANES {
        rows[i].store(&mut from[i]);
    }
    let mut out = rows;
    for i in 0..LANES {
        let mut column = [0.0; LANES];
        for j in 0..LANES {
            column[j] = from[j][i];
        }
        out[i] = S::load(&column);
    }
    out
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Simd;
    use crate::lane::{LANES, V};

    /// Two AVX2 registers.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(__m256, __m256);

    /// One AVX-512 register.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(__m512);

    // SAFETY of every block below: `leveled!` names these types only inside functions compiled for, and only called
    // on processors with, AVX2 and FMA (AVX-512 F); loads and stores are unaligned ones on references to whole arrays.
    impl Simd for Avx512 {
        const TILE: usize = 7;

        #[inline(always)]
        fn splat(value: f32) -> Self {
            Avx512(unsafe { _mm512_set1_ps(value) })
        }
        #[inline(always)]
        fn load(from: &V) -> Self {
            Avx512(unsafe { _mm512_loadu_ps(from.as_ptr()) })
        }
        #[inline(always)]
        fn store(self, to: &mut V) {
            unsafe { _mm512_storeu_ps(to.as_mut_ptr(), self.0) }
        }
        #[inline(always)]
        fn add(self, other: Self) -> Self {
            Avx512(unsafe { _mm512_add_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            Avx512(unsafe { _mm512_sub_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            Avx512(unsafe { _mm512_mul_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn mul_add(self, factor: Self, addend: Self) -> Self {
            Avx512(unsafe { _mm512_fmadd_ps(self.0, factor.0, addend.0) })
        }
        // The second operand is what comes out for NaN.
        #[inline(always)]
        fn relu(self) -> Self {
            Avx512(unsafe { _mm512_max_ps(_mm512_setzero_ps(), self.0) })
        }
        #[inline(always)]
        fn is_positive(self) -> Self {
            Avx512(unsafe {
                let mask = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, _mm512_setzero_ps());
                _mm512_maskz_mov_ps(mask, _mm512_set1_ps(1.0))
            })
        }
        #[inline(always)]
        fn div(self, other: Self) -> Self {
            Avx512(unsafe { _mm512_div_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn max(self, bound: Self) -> Self {
            Avx512(unsafe { _mm512_max_ps(bound.0, self.0) })
        }
        #[inline(always)]
        fn round(self) -> Self {
            Avx512(unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0) })
        }
        #[inline(always)]
        fn times_power_of_two(self, n: Self) -> Self {
            Avx512(unsafe { _mm512_scalef_ps(self.0, n.0) })
        }
        #[inline(always)]
        fn if_positive(condition: Self, yes: Self, no: Self) -> Self {
            Avx512(unsafe {
                let mask = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(condition.0, _mm512_setzero_ps());
                _mm512_mask_blend_ps(mask, no.0, yes.0)
            })
        }
        #[inline(always)]
        fn keep(self, bits: u16) -> Self {
            Avx512(unsafe { _mm512_maskz_mov_ps(bits, self.0) })
        }
        #[inline(always)]
        fn below(values: [u32; LANES], bound: u32) -> u16 {
            unsafe {
                let values = _mm512_loadu_si512(values.as_ptr().cast());
                _mm512_cmplt_epu32_mask(values, _mm512_set1_epi32(bound.cast_signed()))
            }
        }
        // Pairs of rows, then pairs of pairs within 128 bits, then the 128-bit quarters in two steps.
        #[inline(always)]
        fn transpose(rows: [Self; LANES]) -> [Self; LANES] {
            let (mut a, mut b, mut c, mut out) = (rows, rows, rows, rows);
            unsafe {
                for i in 0..8 {
                    a[2 * i].0 = _mm512_unpacklo_ps(rows[2 * i].0, rows[2 * i + 1].0);
                    a[2 * i + 1].0 = _mm512_unpackhi_ps(rows[2 * i].0, rows[2 * i + 1].0);
                }
                for i in 0..8 {
                    let (first, to) = (i / 2 * 4 + i % 2, i / 2 * 4 + i % 2 * 2);
                    let (x, y) = (_mm512_castps_pd(a[first].0), _mm512_castps_pd(a[first + 2].0));
                    b[to].0 = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y));
                    b[to + 1].0 = _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
                }
                for j in 0..4 {
                    c[j].0 = _mm512_shuffle_f32x4::<0x88>(b[j].0, b[4 + j].0);
                    c[4 + j].0 = _mm512_shuffle_f32x4::<0xdd>(b[j].0, b[4 + j].0);
                    c[8 + j].0 = _mm512_shuffle_f32x4::<0x88>(b[8 + j].0, b[12 + j].0);
                    c[12 + j].0 = _mm512_shuffle_f32x4::<0xdd>(b[8 + j].0, b[12 + j].0);
                }
                for j in 0..4 {
                    out[j].0 = _mm512_shuffle_f32x4::<0x88>(c[j].0, c[8 + j].0);
                    out[4 + j].0 = _mm512_shuffle_f32x4::<0x88>(c[4 + j].0, c[12 + j].0);
                    out[8 + j].0 = _mm512_shuffle_f32x4::<0xdd>(c[j].0, c[8 + j].0);
                    out[12 + j].0 = _mm512_shuffle_f32x4::<0xdd>(c[4 + j].0, c[12 + j].0);
                }
            }
            out
        }
    }

    // SAFETY: as above.
    impl Simd for Avx2 {
        const TILE: usize = 1;

        #[inline(always)]
        fn splat(value: f32) -> Self {
            let v = unsafe { _mm256_set1_ps(value) };
            Avx2(v, v)
        }
        #[inline(always)]
        fn load(from: &V) -> Self {
            unsafe { Avx2(_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from[8..].as_ptr())) }
        }
        #[inline(always)]
        fn store(self, to: &mut V) {
            unsafe {
                _mm256_storeu_ps(to.as_mut_ptr(), self.0);
                _mm256_storeu_ps(to[8..].as_mut_ptr(), self.1);
            }
        }
        #[inline(always)]
        fn add(self, other: Self) -> Self {
            unsafe { Avx2(_mm256_add_ps(self.0, other.0), _mm256_add_ps(self.1, other.1)) }
        }
        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            unsafe { Avx2(_mm256_sub_ps(self.0, other.0), _mm256_sub_ps(self.1, other.1)) }
        }
        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            unsafe { Avx2(_mm256_mul_ps(self.0, other.0), _mm256_mul_ps(self.1, other.1)) }
        }
        #[inline(always)]
        fn mul_add(self, factor: Self, addend: Self) -> Self {
            unsafe { Avx2(_mm256_fmadd_ps(self.0, factor.0, addend.0), _mm256_fmadd_ps(self.1, factor.1, addend.1)) }
        }
        #[inline(always)]
        fn relu(self) -> Self {
            unsafe {
                let zero = _mm256_setzero_ps();
                Avx2(_mm256_max_ps(zero, self.0), _mm256_max_ps(zero, self.1))
            }
        }
        #[inline(always)]
        fn is_positive(self) -> Self {
            unsafe {
                let (zero, one) = (_mm256_setzero_ps(), _mm256_set1_ps(1.0));
                let positive = |v| _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(v, zero), one);
                Avx2(positive(self.0), positive(self.1))
            }
        }
        #[inline(always)]
        fn div(self, other: Self) -> Self {
            unsafe { Avx2(_mm256_div_ps(self.0, other.0), _mm256_div_ps(self.1, other.1)) }
        }
        #[inline(always)]
        fn max(self, bound: Self) -> Self {
            unsafe { Avx2(_mm256_max_ps(bound.0, self.0), _mm256_max_ps(bound.1, self.1)) }
        }
        #[inline(always)]
        fn round(self) -> Self {
            const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
            unsafe { Avx2(_mm256_round_ps::<NEAREST>(self.0), _mm256_round_ps::<NEAREST>(self.1)) }
        }
        #[inline(always)]
        fn times_power_of_two(self, n: Self) -> Self {
            unsafe {
                let bias = _mm256_set1_epi32(127);
                let low = _mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_cvtps_epi32(n.0), bias));
                let high = _mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_cvtps_epi32(n.1), bias));
                self.mul(Avx2(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high)))
            }
        }
        #[inline(always)]
        fn if_positive(condition: Self, yes: Self, no: Self) -> Self {
            unsafe {
                let zero = _mm256_setzero_ps();
                let (low, high) =
                    (_mm256_cmp_ps::<_CMP_GT_OQ>(condition.0, zero), _mm256_cmp_ps::<_CMP_GT_OQ>(condition.1, zero));
                Avx2(_mm256_blendv_ps(no.0, yes.0, low), _mm256_blendv_ps(no.1, yes.1, high))
            }
        }
        #[inline(always)]
        fn keep(self, bits: u16) -> Self {
            unsafe {
                let (low, high) = (_mm256_set1_epi32(i32::from(bits)), _mm256_set1_epi32(i32::from(bits) >> 8));
                let places = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
                let low = _mm256_cmpeq_epi32(_mm256_and_si256(low, places), places);
                let high = _mm256_cmpeq_epi32(_mm256_and_si256(high, places), places);
                Avx2(_mm256_and_ps(self.0, _mm256_castsi256_ps(low)), _mm256_and_ps(self.1, _mm256_castsi256_ps(high)))
            }
        }
        #[inline(always)]
        fn below(values: [u32; LANES], bound: u32) -> u16 {
            unsafe {
                // The comparison is of signed numbers.
                let sign = _mm256_set1_epi32(i32::MIN);
                let bound = _mm256_xor_si256(_mm256_set1_epi32(bound.cast_signed()), sign);
                let half = |from: &[u32]| {
                    let values = _mm256_xor_si256(_mm256_loadu_si256(from.as_ptr().cast()), sign);
                    _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(bound, values)))
                };
                (half(&values[..8]) | half(&values[8..]) << 8) as u16
            }
        }
        #[inline(always)]
        fn transpose(rows: [Self; LANES]) -> [Self; LANES] {
            super::transpose_arrays(rows)
        }
    }
}
