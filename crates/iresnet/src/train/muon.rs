//! Muon's direction (Jordan et al. 2024, <https://kellerjordan.github.io/posts/muon/>): a gradient whose singular values are
//! made equal.
//!
//! A step along it is the steepest descent for a given spectral norm, where SGD's is for a given Euclidean one. The few
//! singular vectors that dominate a gradient, above all the mean of activations behind a ReLU, then raise a kernel's
//! spectral norm no more than the others. Under spectral normalisation everything is divided by that norm, so that spectra
//! that stay flat pass far more at the same bound.

use faer::{Mat, unzip, zip};

use crate::linear::times;

/// `p(s) = a s + b s^3 + c s^5`, which applied five times takes singular values from 0.01 to 1 to between 0.68 and 1.14.
const COEFFICIENTS: [f32; 3] = [3.4445, -4.7750, 2.0315];
/// Applications of the polynomial.
const ITERATIONS: usize = 5;
/// What a gradient's length is divided by at least: one without gradient shall not be moved by its rounding.
const SHORTEST: f32 = 1e-7;

/// `kernel`, a matrix `[outputs, inputs k k]`, with all singular values near `sqrt(max(1, rows / columns))`; those below a
/// hundredth of its Frobenius norm stay smaller.
///
/// Of a last convolution this is the matrix with more rows than the convolution has singular values at a frequency. The other
/// one, from its few inputs to outputs and taps, costs a fifth and trains much worse (docs/notebook.md).
pub(super) fn direction(kernel: &[f32], outputs: usize) -> Vec<f32> {
    let columns = kernel.len() / outputs;
    let (short, long) = (outputs.min(columns), outputs.max(columns));
    // Lying down, products with its transpose are small.
    let place = |i: usize, j: usize| if outputs <= columns { i * columns + j } else { j * columns + i };
    let length = kernel.iter().map(|g| g * g).sum::<f32>().sqrt().max(SHORTEST);
    let mut x = Mat::from_fn(short, long, |i, j| kernel[place(i, j)] / length);
    let [a, b, c] = COEFFICIENTS;
    for _ in 0..ITERATIONS {
        let gram = times(x.as_ref(), x.transpose());
        let square = times(gram.as_ref(), gram.as_ref());
        let odd = Mat::from_fn(short, short, |i, j| b * gram[(i, j)] + c * square[(i, j)]);
        let rest = times(odd.as_ref(), x.as_ref());
        zip!(&mut x, &rest).for_each(|unzip!(x, rest)| *x = a * *x + rest);
    }
    let scale = (outputs as f32 / columns as f32).max(1.0).sqrt();
    let mut direction = vec![0.0; kernel.len()];
    for j in 0..long {
        for i in 0..short {
            direction[place(i, j)] = scale * x[(i, j)];
        }
    }
    direction
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::MatRef;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn singular_values_become_equal_and_singular_vectors_stay() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for [rows, columns] in [[12, 108], [48, 12], [16, 16], [1, 9], [4, 1]] {
            // Lengths that differ: singular values over more than a decade.
            let value = |i: usize| rng.random_range(-1.0..1.0) / (1 + i / columns + i % columns) as f32;
            let kernel: Vec<f32> = (0..rows * columns).map(value).collect();
            let found = direction(&kernel, rows);
            let [kernel, found] = [&kernel, &found].map(|k| MatRef::from_row_major_slice(k, rows, columns));
            let svd = kernel.thin_svd().unwrap();
            let inner = svd.U().transpose() * found * svd.V();
            for i in 0..inner.nrows() {
                for j in 0..inner.ncols() {
                    let value = inner[(i, j)] / (rows as f32 / columns as f32).max(1.0).sqrt();
                    match i == j {
                        // Rounding to float32 in five iterations.
                        false => assert!(value.abs() < 1e-3, "{rows}x{columns} {i} {j}: {value}"),
                        true if svd.S()[i] < 0.01 * kernel.norm_l2() => assert!((0.0..1.2).contains(&value), "{value}"),
                        true => assert!((0.65..1.2).contains(&value), "{rows}x{columns} {i}: {value}"),
                    }
                }
            }
        }
    }

    #[test]
    fn no_gradient_gives_no_step() {
        assert!(direction(&[0.0; 12], 3).iter().all(|&d| d == 0.0));
        assert!(direction(&[1e-20; 12], 3).iter().all(|&d| d.abs() < 1e-9));
    }
}
