//! Values near zero, where the derivative of ReLU jumps.

use crate::lane::{LANES, V, vectors};
use crate::level::{Level, leveled};
use crate::simd::Simd;

/// The sides of zero on which the values of a pack near zero lie.
///
/// Who recovers activations only to within round-off wants these exactly: a value that changes sides of zero changes a
/// derivative from 0 to 1, however little it moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NearZero {
    /// Vectors of sixteen lanes that hold such values: how many to skip, and either the lanes that are near zero and those
    /// that are positive, or 0, a number of vectors that are near zero in every lane, and the positive lanes of each.
    code: Box<[u16]>,
}

impl NearZero {
    /// Values of the first `lanes` lanes of a pack below `relative` times the root mean square of all of these in magnitude.
    /// `scratch` may hold anything; to use it again spares allocations that would leave holes between what is kept.
    pub fn of(values: &[f32], lanes: usize, relative: f32, scratch: &mut Vec<u16>) -> Self {
        scratch.clear();
        let mut writer = Writer { code: scratch, next: 0, run: None };
        search(Level::current(), vectors(values), lanes, relative, &mut writer);
        NearZero { code: scratch.as_slice().into() }
    }

    /// Puts values that were recovered on the wrong side of zero back to theirs, and as close to it as can be.
    pub fn restore(&self, values: &mut [f32]) {
        let mut code = self.code.iter().copied();
        let mut vectors = values.as_chunks_mut::<LANES>().0.iter_mut();
        let mut skip = 0;
        while let Some(gap) = code.next() {
            skip += usize::from(gap);
            let mut take = || code.next().expect("a whole entry");
            let near = take();
            let count = if near == 0 { take() } else { 1 };
            for _ in 0..count {
                let vector = vectors.nth(std::mem::take(&mut skip)).expect("a vector of the pack");
                put_back(vector, if near == 0 { u16::MAX } else { near }, take());
            }
        }
    }
}

/// Puts the lanes `near` zero on the side that `positive` says.
fn put_back(vector: &mut V, near: u16, positive: u16) {
    for (l, value) in vector.iter_mut().enumerate() {
        let [near, positive] = [near, positive].map(|bits| bits >> l & 1 == 1);
        if near && (*value > 0.0) != positive {
            *value = if positive { f32::MIN_POSITIVE } else { 0.0 };
        }
    }
}

/// What [`NearZero`] holds, as it is found.
struct Writer<'a> {
    code: &'a mut Vec<u16>,
    /// Number of the first vector that no entry speaks of.
    next: usize,
    /// Place of the length of the run that ends there.
    run: Option<usize>,
}

impl Writer<'_> {
    /// Notes vector `i` with the lanes `near` zero, which are `all` or some of the used ones.
    fn push(&mut self, i: usize, near: u16, all: bool, positive: u16) {
        let mut gap = i - self.next;
        self.next = i + 1;
        if let Some(run) = self.run.filter(|run| all && gap == 0 && self.code[*run] < u16::MAX) {
            self.code[run] += 1;
            self.code.push(positive);
            return;
        }
        while gap > usize::from(u16::MAX) {
            self.code.extend([u16::MAX, 0, 0]);
            gap -= usize::from(u16::MAX);
        }
        self.run = all.then_some(self.code.len() + 2);
        match all {
            true => self.code.extend([gap as u16, 0, 1, positive]),
            false => self.code.extend([gap as u16, near, positive]),
        }
    }
}

#[inline(always)]
fn search_inner<S: Simd>(values: &[V], lanes: usize, relative: f32, found: &mut Writer<'_>) {
    let mut squares = S::splat(0.0);
    for value in values {
        let value = S::load(value);
        squares = value.mul_add(value, squares);
    }
    let sum: f64 = squares.array()[..lanes].iter().map(|s| f64::from(*s)).sum();
    let mean = sum / (values.len() * lanes) as f64;
    // Lanes without an image are all zero, and not to be found.
    let used = u16::MAX >> (LANES - lanes);
    let threshold = relative * mean.sqrt() as f32;
    let square = S::splat(threshold * threshold);
    for (i, vector) in values.iter().enumerate() {
        let value = S::load(vector);
        // Positive where the square is below the threshold's; nearly always nowhere.
        if square.sub(value.mul(value)).keep(used).is_positive().sum() > 0.0 {
            let bits = |holds: &dyn Fn(f32) -> bool| (0..lanes).map(|l| u16::from(holds(vector[l])) << l).sum();
            let near = bits(&|value| value.abs() < threshold);
            if near != 0 {
                found.push(i, near, near == used, bits(&|value| value > 0.0));
            }
        }
    }
}
leveled!(fn search = search_inner(values: &[V], lanes: usize, relative: f32, found: &mut Writer<'_>));

#[cfg(test)]
mod tests {
    use super::*;

    const LANES_USED: usize = 13;

    fn sides(values: &[f32]) -> NearZero {
        NearZero::of(values, LANES_USED, 1e-4, &mut vec![7; 3])
    }

    /// One value here and there, a run of vectors that are near zero in every lane, and a gap that 16 bits cannot number.
    #[test]
    fn recovered_values_come_back_to_their_side() {
        let mut values: Vec<f32> = (0..70_100 * LANES).map(|i| 0.01 + (i as f32 * 0.7).sin().abs()).collect();
        let singles = [3, 20, 21, 40, 70_010 * LANES + 2];
        for (i, near) in singles.into_iter().zip([1e-6, -1e-6, 0.0, -0.0, 1e-6]) {
            values[i] = near;
        }
        let run = 69_000 * LANES..69_020 * LANES;
        run.clone().for_each(|i| values[i] = if i % 3 == 0 { 2e-6 } else { -3e-6 });
        // In a lane without an image.
        values[15] = 1e-6;
        let sides = sides(&values);
        assert!(sides.code.len() < 60, "{} numbers for 5 values and a run of 20 vectors", sides.code.len());
        for moved in [3e-5, -3e-5] {
            let mut recovered: Vec<f32> = values.iter().map(|v| v + moved).collect();
            sides.restore(&mut recovered);
            for (i, value) in values.iter().enumerate().filter(|(i, _)| i % LANES < LANES_USED) {
                assert_eq!(recovered[i] > 0.0, *value > 0.0, "{i}");
                assert!((recovered[i] - value).abs() <= 3.2e-5, "{i}");
            }
            let untouched = recovered.iter().zip(&values).filter(|(r, v)| **r == **v + moved).count();
            assert!(untouched > values.len() - 400, "{untouched}");
        }
        let mut unchanged = values.clone();
        sides.restore(&mut unchanged);
        let of_images = |values: &[f32]| values.chunks(LANES).map(|v| v[..LANES_USED].to_vec()).collect::<Vec<_>>();
        assert!(of_images(&unchanged) == of_images(&values));
    }

    #[test]
    fn nothing_is_kept_of_values_far_from_zero() {
        assert_eq!(sides(&[1.0; 4 * LANES]), NearZero::default());
    }
}
