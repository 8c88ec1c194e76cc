//! Values near zero, where the derivative of ReLU jumps.

use crate::lane::{LANES, V, vectors};
use crate::level::{Level, leveled};
use crate::simd::Simd;

/// Places and values of the first `lanes` lanes of a pack below `relative` times the root mean square of all of these in
/// magnitude.
///
/// Who recovers activations only to within round-off wants these exactly: a value that changes sides of zero changes a
/// derivative from 0 to 1, however little it moved.
pub fn near_zero(values: &[f32], lanes: usize, relative: f32) -> Vec<(u32, f32)> {
    assert!(u32::try_from(values.len()).is_ok(), "places that 32 bits can number, not {}", values.len());
    let mut found = Vec::new();
    search(Level::current(), vectors(values), lanes, relative, &mut found);
    found
}

#[inline(always)]
fn search_inner<S: Simd>(values: &[V], lanes: usize, relative: f32, found: &mut Vec<(u32, f32)>) {
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
            let near = vector[..lanes].iter().enumerate().filter(|(_, value)| value.abs() < threshold);
            found.extend(near.map(|(l, value)| ((i * LANES + l) as u32, *value)));
        }
    }
}
leveled!(fn search = search_inner(values: &[V], lanes: usize, relative: f32, found: &mut Vec<(u32, f32)>));
