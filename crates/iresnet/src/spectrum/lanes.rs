//! Hermitian matrices four at a time, in float32 eight: every number is a vector with one lane a matrix.
//!
//! The symbols of a convolution are hundreds of small matrices of one size. Side by side in the lanes of a vector, each
//! step of a factorisation is the same instruction for all of them, without the short loops and the shuffles that one
//! small complex matrix costs.

use num_traits::Float;
use pulp::{Arch, Simd, WithSimd};

use super::scratch::{Keep, Scratch, keep};
use super::tridiagonal::eigenvalues;

/// Matrices of a batch in float64.
pub(super) const LANES: usize = 4;

/// Matrices of a batch in float32, as wide a vector.
pub(super) const SINGLES: usize = 8;

/// A number of every matrix.
pub(super) type Lane<T = f64, const N: usize = LANES> = [T; N];

/// A complex number of every matrix.
#[derive(Clone, Copy)]
pub(super) struct Entry<T = f64, const N: usize = LANES> {
    pub re: Lane<T, N>,
    pub im: Lane<T, N>,
}

impl<T: Float, const N: usize> Default for Entry<T, N> {
    fn default() -> Self {
        Entry { re: [T::zero(); N], im: [T::zero(); N] }
    }
}

keep!(Entry, Entry<f32, SINGLES>);

/// Lower triangles of Hermitian matrices, row by row.
#[derive(Clone)]
pub(super) struct Batch<T = f64, const N: usize = LANES>
where
    Entry<T, N>: Keep,
{
    side: usize,
    entries: Scratch<Entry<T, N>>,
}

/// Where row `r` of a lower triangle begins.
fn row(r: usize) -> usize {
    r * (r + 1) / 2
}

/// `a b + c`, in one instruction where there is one.
#[inline(always)]
fn fma<T: Float, const FUSED: bool>(a: T, b: T, c: T) -> T {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

#[inline(always)]
fn each<T, const N: usize>(mut lane: impl FnMut(usize) -> T) -> Lane<T, N> {
    std::array::from_fn(&mut lane)
}

/// Operations that are compiled once for each set of vector instructions, and once for machines that do not multiply and
/// add at once. (A closure would not be: it is compiled apart from the function that has the instructions.)
macro_rules! vectorised {
    ($name:ident { $($field:ident: $type:ty),* } => $output:ty, $batch:ident.$method:ident($($argument:ident),*)) => {
        struct $name<'a, T, const N: usize>
        where
            Entry<T, N>: Keep,
        {
            $($field: $type),*
        }

        impl<T: Float, const N: usize> WithSimd for $name<'_, T, N>
        where
            Entry<T, N>: Keep,
        {
            type Output = $output;

            #[inline(always)]
            fn with_simd<S: Simd>(self, _: S) -> $output {
                match fused() {
                    true => self.$batch.$method::<true>($(self.$argument),*),
                    false => self.$batch.$method::<false>($(self.$argument),*),
                }
            }
        }
    };
}

vectorised!(Combine { batch: &'a mut Batch<T, N>, parts: &'a [T], waves: &'a [(Lane<T, N>, Lane<T, N>)], shift: T } => (),
    batch.combine_by(parts, waves, shift));
vectorised!(Factorise { batch: &'a mut Batch<T, N> } => [bool; N], batch.factorise_by());
vectorised!(Powers { batch: &'a Batch<T, N>, powers: usize } => Lane<T, N>, batch.powers_by(powers));
vectorised!(Tridiagonalise { batch: &'a mut Batch<T, N> } => (Vec<Lane<T, N>>, Vec<Lane<T, N>>),
    batch.tridiagonalise_by());

impl<T: Float, const N: usize> Entry<T, N> {
    /// `self + a b`
    #[inline(always)]
    fn add<const FUSED: bool>(self, a: Self, b: Self) -> Self {
        Entry {
            re: each(|l| fma::<T, FUSED>(-a.im[l], b.im[l], fma::<T, FUSED>(a.re[l], b.re[l], self.re[l]))),
            im: each(|l| fma::<T, FUSED>(a.im[l], b.re[l], fma::<T, FUSED>(a.re[l], b.im[l], self.im[l]))),
        }
    }

    /// `self - a conj(b)`
    #[inline(always)]
    fn subtract_conjugate<const FUSED: bool>(self, a: Self, b: Self) -> Self {
        Entry {
            re: each(|l| fma::<T, FUSED>(-a.im[l], b.im[l], fma::<T, FUSED>(-a.re[l], b.re[l], self.re[l]))),
            im: each(|l| fma::<T, FUSED>(-a.im[l], b.re[l], fma::<T, FUSED>(a.re[l], b.im[l], self.im[l]))),
        }
    }

    /// `self + conj(a) b`
    #[inline(always)]
    fn add_conjugate<const FUSED: bool>(self, a: Self, b: Self) -> Self {
        Entry {
            re: each(|l| fma::<T, FUSED>(a.im[l], b.im[l], fma::<T, FUSED>(a.re[l], b.re[l], self.re[l]))),
            im: each(|l| fma::<T, FUSED>(-a.im[l], b.re[l], fma::<T, FUSED>(a.re[l], b.im[l], self.im[l]))),
        }
    }

    #[inline(always)]
    fn conjugate(self) -> Self {
        Entry { re: self.re, im: self.im.map(|x| -x) }
    }

    #[inline(always)]
    fn times(self, factor: Lane<T, N>) -> Self {
        Entry { re: each(|l| self.re[l] * factor[l]), im: each(|l| self.im[l] * factor[l]) }
    }

    /// `|z|^2`
    #[inline(always)]
    fn square(self) -> Lane<T, N> {
        each(|l| self.re[l] * self.re[l] + self.im[l] * self.im[l])
    }
}

#[inline(always)]
fn plus<T: Float, const N: usize>(a: Lane<T, N>, b: Lane<T, N>) -> Lane<T, N> {
    each(|l| a[l] + b[l])
}

/// Whether this machine multiplies and adds in one instruction; elsewhere it would be a slow function.
fn fused() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    return cfg!(target_arch = "aarch64");
}

/// A constant.
#[inline(always)]
pub(super) fn number<T: Float>(value: f64) -> T {
    T::from(value).expect("a number of either precision")
}

fn double<T: Float>(value: T) -> f64 {
    value.to_f64().expect("every number is one in float64")
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
        Arch::new().dispatch(Combine { batch: self, parts, waves, shift });
    }

    #[inline(always)]
    fn combine_by<const FUSED: bool>(&mut self, parts: &[T], waves: &[(Lane<T, N>, Lane<T, N>)], shift: T) {
        let len = 1 + 2 * waves.len();
        // Four entries at a time take each wave from memory once.
        let (fours, rest) = self.entries.as_chunks_mut::<4>();
        let (parts, last) = parts.split_at(fours.len() * 4 * len);
        for (entries, parts) in fours.iter_mut().zip(parts.chunks_exact(4 * len)) {
            combine_entries::<T, FUSED, N, 4>(entries, parts, waves);
        }
        for (entry, parts) in rest.iter_mut().zip(last.chunks_exact(len)) {
            combine_entries::<T, FUSED, N, 1>(std::array::from_mut(entry), parts, waves);
        }
        for r in 0..self.side {
            let diagonal = &mut self.entries[row(r) + r];
            *diagonal = Entry { re: diagonal.re.map(|x| x + shift), im: [T::zero(); N] };
        }
    }

    /// Row, column, real and imaginary part of every entry of one matrix's lower triangle.
    pub fn each_of(&self, lane: usize, mut visit: impl FnMut(usize, usize, T, T)) {
        for (r, c) in (0..self.side).flat_map(|r| (0..=r).map(move |c| (r, c))) {
            let entry = self.entries[row(r) + c];
            visit(r, c, entry.re[lane], entry.im[lane]);
        }
    }

    /// Which matrices the Cholesky factorisation shows to be positive; it is left in their place.
    ///
    /// Row by row, two rows and two columns at a time: sums of products in order, then a difference, a quotient or a
    /// root, as Higham's bound on its rounding wants them ([`super::positive`]).
    pub fn factorise(&mut self) -> [bool; N] {
        Arch::new().dispatch(Factorise { batch: self })
    }

    #[inline(always)]
    fn factorise_by<const FUSED: bool>(&mut self) -> [bool; N] {
        let mut positive = [true; N];
        // Reciprocals of the diagonal of the factor.
        let mut inverse = vec![[T::zero(); N]; self.side];
        let mut first = 0;
        while first + 1 < self.side {
            let (above, here) = self.entries.split_at_mut(row(first));
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
        if first < self.side {
            let (above, here) = self.entries.split_at_mut(row(first));
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

    /// Rayleigh quotients of minus the matrices after some powers.
    pub fn powers(&self, powers: usize) -> Lane<T, N> {
        Arch::new().dispatch(Powers { batch: self, powers })
    }

    #[inline(always)]
    fn powers_by<const FUSED: bool>(&self, powers: usize) -> Lane<T, N> {
        let start = |i: usize| Entry {
            re: [number(1.0 + ((i * 7919) % 1009) as f64 / 1009.0); N],
            im: [number(((i * 104_729) % 997) as f64 / 997.0); N],
        };
        let mut x: Vec<Entry<T, N>> = (0..self.side).map(start).collect();
        let mut image = vec![Entry::default(); self.side];
        let mut quotient = [T::zero(); N];
        for _ in 0..powers {
            let size = x.iter().fold([T::zero(); N], |sum, z| plus(sum, z.square()));
            let factor = size.map(|s| if s > T::zero() { s.sqrt().recip() } else { T::zero() });
            x.iter_mut().for_each(|z| *z = z.times(factor));
            self.multiply::<FUSED>(self.side, &x, &mut image);
            quotient = [T::zero(); N];
            for (a, b) in x.iter().zip(&image) {
                quotient = each(|l| quotient[l] - (a.re[l] * b.re[l] + a.im[l] * b.im[l]));
            }
            std::mem::swap(&mut x, &mut image);
        }
        quotient
    }

    /// `image = A x` for the leading `side` rows and columns.
    ///
    /// Two rows at a time, so that one sum does not wait for another.
    #[inline(always)]
    fn multiply<const FUSED: bool>(&self, side: usize, x: &[Entry<T, N>], image: &mut [Entry<T, N>]) {
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

    /// All eigenvalues of every matrix in rising order: Householder's reduction to tridiagonal form, which is left in
    /// place of the matrices, then implicit QR. `None` if that did not converge.
    pub fn eigenvalues(mut self) -> Option<[Vec<f64>; N]> {
        let (diagonal, side) = Arch::new().dispatch(Tridiagonalise { batch: &mut self });
        let mut all = [const { Vec::new() }; N];
        for (lane, values) in all.iter_mut().enumerate() {
            let pick = |from: &[Lane<T, N>]| -> Vec<f64> { from.iter().map(|x| double(x[lane])).collect() };
            *values = eigenvalues(&pick(&diagonal), &pick(&side))?;
        }
        Some(all)
    }

    /// Diagonal and moduli beside it of similar tridiagonal matrices.
    ///
    /// From the last row up: a reflection of the leading rows and columns turns all of a row but its last entry beside
    /// the diagonal to zero; the rest of the work concerns a smaller leading matrix, which is a prefix of the storage.
    #[inline(always)]
    fn tridiagonalise_by<const FUSED: bool>(&mut self) -> (Vec<Lane<T, N>>, Vec<Lane<T, N>>) {
        let m = self.side;
        let mut beside = vec![[T::zero(); N]; m.saturating_sub(1)];
        let (mut v, mut p) = (vec![Entry::default(); m], vec![Entry::default(); m]);
        for n in (1..m).rev() {
            // The column above the diagonal, conjugate of the row.
            for (v, a) in v.iter_mut().zip(&self.entries[row(n)..][..n]) {
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
            self.multiply::<FUSED>(n, v, p);
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
                let entries = &mut self.entries[row(r)..][..r + 1];
                for ((a, v), p) in entries.iter_mut().zip(v.iter()).zip(p.iter()) {
                    *a = a.subtract_conjugate::<FUSED>(vr, *p).subtract_conjugate::<FUSED>(pr, *v);
                }
            }
        }
        ((0..m).map(|r| self.entries[row(r) + r].re).collect(), beside)
    }
}

/// The sums of [`Batch::combine`] for some entries at once, without the shift.
#[inline(always)]
fn combine_entries<T: Float, const FUSED: bool, const N: usize, const ENTRIES: usize>(
    entries: &mut [Entry<T, N>; ENTRIES],
    parts: &[T],
    waves: &[(Lane<T, N>, Lane<T, N>)],
) {
    let len = 1 + 2 * waves.len();
    let of: [&[T]; ENTRIES] = std::array::from_fn(|e| &parts[e * len..][..len]);
    let mut sums: [Entry<T, N>; ENTRIES] = std::array::from_fn(|e| Entry { re: [-of[e][0]; N], im: [T::zero(); N] });
    for (i, (cos, sin)) in waves.iter().enumerate() {
        for (sum, of) in sums.iter_mut().zip(&of) {
            let (p, q) = (of[1 + 2 * i], of[2 + 2 * i]);
            sum.re = each(|l| fma::<T, FUSED>(-cos[l], p, sum.re[l]));
            sum.im = each(|l| fma::<T, FUSED>(sin[l], q, sum.im[l]));
        }
    }
    *entries = sums;
}

/// `1 / sqrt(pivot)`; a lane whose pivot is not positive is no longer positive.
#[inline(always)]
fn pivot<T: Float, const N: usize>(pivot: Lane<T, N>, positive: &mut [bool; N]) -> Lane<T, N> {
    std::array::from_fn(|l| {
        positive[l] &= pivot[l] > T::zero();
        if positive[l] { pivot[l].sqrt().recip() } else { T::zero() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::complex::Complex;
    use faer::{Mat, Side};

    /// Four Hermitian matrices, with and without structure.
    fn batch(side: usize) -> Batch {
        let mut batch = Batch::new(side);
        for r in 0..side {
            for c in 0..=r {
                let value = |l: usize, s: usize| {
                    (((r * 31 + c * 17 + l * 7 + s * 3) * 2_654_435_761) % 1009) as f64 / 504.5 - 1.0
                };
                let im = if r == c { [0.0; LANES] } else { [value(0, 1), 0.0, value(2, 1), 0.0] };
                batch.entries[row(r) + c] =
                    Entry { re: [value(0, 0), value(1, 0), 0.0, f64::from(u8::from(r == c))], im };
            }
        }
        batch
    }

    fn dense(batch: &Batch, lane: usize) -> Mat<Complex<f64>> {
        let lower = |r: usize, c: usize| {
            let z = batch.entries[row(r) + c];
            Complex::new(z.re[lane], z.im[lane])
        };
        Mat::from_fn(batch.side, batch.side, |r, c| if r >= c { lower(r, c) } else { lower(c, r).conj() })
    }

    #[test]
    fn eigenvalues_are_those_of_each_matrix() {
        for side in [1, 2, 3, 4, 7, 16, 33] {
            let batch = batch(side);
            let values = batch.clone().eigenvalues().unwrap();
            for (lane, values) in values.iter().enumerate() {
                let expected = dense(&batch, lane).self_adjoint_eigenvalues(Side::Lower).unwrap();
                for (a, b) in values.iter().zip(&expected) {
                    // A modest multiple of eps times the norm, which is at most the side.
                    assert!((a - b).abs() < 1e-14 * side as f64, "{side} {lane}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn factorisation_decides_each_matrix() {
        for side in [1, 2, 3, 4, 7, 16, 33] {
            let lowest: Vec<f64> = (0..LANES)
                .map(|lane| dense(&batch(side), lane).self_adjoint_eigenvalues(Side::Lower).unwrap()[0])
                .collect();
            for (shifted, above) in [(0usize, 1e-9), (1, 1e-9), (2, 1e-9), (0, -1e-9), (1, -1e-9), (2, -1e-9)] {
                let mut batch = batch(side);
                let shift = above - lowest[shifted];
                for r in 0..side {
                    let diagonal = &mut batch.entries[row(r) + r];
                    diagonal.re = diagonal.re.map(|x| x + shift);
                }
                let positive = batch.factorise();
                for lane in 0..LANES {
                    // Eigenvalues within 1e-10 of zero could be decided either way.
                    if (lowest[lane] + shift).abs() > 1e-10 {
                        assert_eq!(positive[lane], lowest[lane] + shift > 0.0, "{side} {lane} {shift}");
                    }
                }
            }
        }
    }

    #[test]
    fn powers_find_the_largest_eigenvalue_of_minus_the_matrix() {
        let batch = batch(16);
        let found = batch.powers(2000);
        for lane in [0, 1] {
            let values = dense(&batch, lane).self_adjoint_eigenvalues(Side::Lower).unwrap();
            // Powers find the eigenvalue of the largest modulus.
            let extreme = if -values[0] > values[15] { -values[0] } else { -values[15] };
            assert!((found[lane] - extreme).abs() < 1e-6 * extreme.abs(), "{lane}: {} {extreme}", found[lane]);
        }
    }
}
