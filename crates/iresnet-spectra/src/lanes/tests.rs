//! Each operation against faer's on one matrix.

use faer::complex::Complex;
use faer::{Mat, Side};

use super::batch::row;
use super::{Batch, Entry, LANES};

/// Four Hermitian matrices, with and without structure.
fn batch(side: usize) -> Batch {
    let mut batch = Batch::new(side);
    for r in 0..side {
        for c in 0..=r {
            let value =
                |l: usize, s: usize| (((r * 31 + c * 17 + l * 7 + s * 3) * 2_654_435_761) % 1009) as f64 / 504.5 - 1.0;
            let im = if r == c { [0.0; LANES] } else { [value(0, 1), 0.0, value(2, 1), 0.0] };
            batch.entries[row(r) + c] = Entry { re: [value(0, 0), value(1, 0), 0.0, f64::from(u8::from(r == c))], im };
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
