//! The largest singular value of a circular convolution over all frequencies of a grid, from above.
//!
//! `F(w) F(w)^H` is a trigonometric polynomial with the coefficients `G_d = sum_(a - b = d) K_a K_b^T`. These are formed
//! once; at each frequency the matrix is a combination of them, and one Cholesky factorisation ([`super::positive`])
//! decides whether its largest eigenvalue is below a common shift. Nothing else has to be computed at the many
//! frequencies that are far from the largest.

use std::f64::consts::TAU;

use faer::complex::Complex;
use faer::{Mat, Par};
use rayon::prelude::*;

use super::positive::{factorises, norm_bound};
use super::taps::Taps;

/// Frequencies whose matrices are formed together, so that a column of the coefficients is read once for all.
const TOGETHER: usize = 4;

/// Powers of the matrix that a starting guess and a better one take.
const GUESS: [usize; 2] = [6, 40];

/// A frequency: numerators over the grid's height and width.
type Frequency = (usize, usize);

/// `F(w) F(w)^H` for any `w`.
pub(super) struct Symbols {
    side: usize,
    /// The `d` that are not the mirror image of another, without 0.
    offsets: Vec<(isize, isize)>,
    /// Lower triangles by column: `G_0`, then `G_d + G_d^T` and `G_d - G_d^T` for each offset.
    parts: Vec<f64>,
    rounding: f64,
}

impl Symbols {
    /// Forms the coefficients.
    pub fn of(taps: &Taps) -> Self {
        let (m, k) = (taps.side, taps.kernel as isize);
        let offsets: Vec<(isize, isize)> =
            (0..k).flat_map(|y| (1 - k..k).map(move |x| (y, x))).filter(|&(y, x)| y > 0 || x > 0).collect();
        let coefficient = |dy: isize, dx: isize| {
            let mut sum = Mat::zeros(m, m);
            for (by, bx) in (0..k).flat_map(|y| (0..k).map(move |x| (y, x))) {
                let (ay, ax) = (by + dy, bx + dx);
                if (0..k).contains(&ay) && (0..k).contains(&ax) {
                    taps.add_product((ay * k + ax) as usize, (by * k + bx) as usize, &mut sum, Par::Seq);
                }
            }
            sum
        };
        let middle = coefficient(0, 0);
        let coefficients: Vec<Mat<f64>> = offsets.par_iter().map(|&(y, x)| coefficient(y, x)).collect();
        let mut parts = Vec::with_capacity((1 + 2 * offsets.len()) * m * (m + 1) / 2);
        for c in 0..m {
            parts.extend((c..m).map(|r| middle[(r, c)]));
            for g in &coefficients {
                parts.extend((c..m).map(|r| g[(r, c)] + g[(c, r)]));
                parts.extend((c..m).map(|r| g[(r, c)] - g[(c, r)]));
            }
        }
        Symbols { side: m, offsets, parts, rounding: taps.rounding() }
    }

    /// Lower triangles of `shift I - F(w) F(w)^H` at some frequencies.
    fn shifted(&self, frequencies: &[Frequency], grid: [usize; 2], shift: f64) -> Vec<Mat<Complex<f64>>> {
        let m = self.side;
        let waves: Vec<Vec<(f64, f64)>> = frequencies.iter().map(|f| self.waves(*f, grid)).collect();
        let mut matrices = vec![Mat::zeros(m, m); frequencies.len()];
        let (mut real, mut imaginary) = (vec![0.0; m], vec![0.0; m]);
        let mut rest = self.parts.as_slice();
        for c in 0..m {
            let len = m - c;
            let (column, after) = rest.split_at((1 + 2 * self.offsets.len()) * len);
            rest = after;
            let (middle, others) = column.split_at(len);
            for (matrix, waves) in matrices.iter_mut().zip(&waves) {
                let (re, im) = (&mut real[..len], &mut imaginary[..len]);
                re.iter_mut().zip(middle).for_each(|(re, g)| *re = -g);
                re[0] += shift;
                im.fill(0.0);
                for (pair, (cos, sin)) in others.chunks_exact(2 * len).zip(waves) {
                    let (even, odd) = pair.split_at(len);
                    re.iter_mut().zip(even).for_each(|(re, g)| *re -= cos * g);
                    im.iter_mut().zip(odd).for_each(|(im, g)| *im += sin * g);
                }
                let to = matrix.col_mut(c).subrows_mut(c, len);
                to.iter_mut().zip(re.iter().zip(im.iter())).for_each(|(z, (re, im))| *z = Complex::new(*re, *im));
            }
        }
        matrices
    }

    /// Cosine and sine of `w . d` for every offset; whole turns are dropped before anything is rounded.
    fn waves(&self, (y, x): Frequency, [height, width]: [usize; 2]) -> Vec<(f64, f64)> {
        let turn = |d: isize, at: usize, n: usize| (d * at as isize).rem_euclid(n as isize) as f64 / n as f64;
        let angle = |&(dy, dx): &(isize, isize)| TAU * (turn(dy, y, height) + turn(dx, x, width));
        self.offsets.iter().map(|d| (angle(d).cos(), angle(d).sin())).collect()
    }

    /// Largest eigenvalues at some frequencies, about: Rayleigh quotients after some powers.
    fn guesses(&self, frequencies: &[Frequency], grid: [usize; 2], powers: usize) -> Vec<f64> {
        let chunk = |f: &[Frequency]| -> Vec<f64> {
            self.shifted(f, grid, 0.0).iter().map(|matrix| largest_eigenvalue(matrix, powers)).collect()
        };
        frequencies.par_chunks(TOGETHER).flat_map_iter(chunk).collect()
    }

    /// Those frequencies at which `shift` is not shown to be above all eigenvalues.
    fn undecided(&self, frequencies: &[Frequency], grid: [usize; 2], shift: f64) -> Vec<Frequency> {
        let chunk = |f: &[Frequency]| -> Vec<Frequency> {
            let mut matrices = self.shifted(f, grid, shift);
            let undecided = |(f, m): (&Frequency, &mut Mat<_>)| (!factorises(m.as_mut(), Par::Seq)).then_some(*f);
            f.iter().zip(&mut matrices).filter_map(undecided).collect()
        };
        frequencies.par_chunks(TOGETHER).flat_map_iter(chunk).collect()
    }

    /// Bound of `||F(w)||` over the `grid`, above the largest by about the relative `surplus`.
    ///
    /// `known` is what the norm is at least, or 0.
    pub fn bound(&self, grid: [usize; 2], surplus: f64, known: f64) -> f64 {
        let frequencies: Vec<Frequency> = half_grid(grid).into_iter().map(|(y, x, _)| (y, x)).collect();
        let coarse: Vec<Frequency> = frequencies.iter().copied().filter(|(y, x)| y % 2 == 0 && x % 2 == 0).collect();
        let rough = self.guesses(&coarse, grid, GUESS[0]);
        let mut order: Vec<usize> = (0..coarse.len()).collect();
        order.sort_by(|a, b| rough[*b].total_cmp(&rough[*a]));
        let best: Vec<Frequency> = order.iter().take(TOGETHER).map(|i| coarse[*i]).collect();
        let largest = |values: Vec<f64>| values.into_iter().fold(0.0, f64::max);
        let raised = |eigenvalue: f64, surplus: f64| eigenvalue * (1.0 + surplus) * (1.0 + surplus);
        // Positive, so that raising it ends.
        let found = largest(self.guesses(&best, grid, GUESS[1])).max(known * known).max(self.rounding);
        let (mut shift, mut surplus) = (raised(found, surplus), surplus);
        let mut open = self.undecided(&frequencies, grid, shift);
        while !open.is_empty() {
            surplus *= 2.0;
            shift = raised(largest(self.guesses(&open, grid, GUESS[1])).max(found), surplus).max(shift);
            open = self.undecided(&open, grid, shift);
        }
        norm_bound(shift, self.side, self.rounding)
    }
}

/// Rayleigh quotient of `-matrix` after some powers; only the lower triangle is read.
fn largest_eigenvalue(matrix: &Mat<Complex<f64>>, powers: usize) -> f64 {
    let m = matrix.nrows();
    let mut x: Vec<Complex<f64>> = (0..m)
        .map(|i| Complex::new(1.0 + ((i * 7919) % 1009) as f64 / 1009.0, ((i * 104_729) % 997) as f64 / 997.0))
        .collect();
    let mut quotient = 0.0;
    for _ in 0..powers {
        let size = x.iter().map(|z| z.re * z.re + z.im * z.im).sum::<f64>().sqrt();
        if size == 0.0 {
            return 0.0;
        }
        x.iter_mut().for_each(|z| *z = Complex::new(z.re / size, z.im / size));
        let mut image = vec![Complex::new(0.0, 0.0); m];
        for c in 0..m {
            let column = matrix.col(c).subrows(c, m - c);
            let (xc, mut sum) = (x[c], Complex::new(0.0, 0.0));
            for ((entry, to), from) in column.iter().zip(&mut image[c..]).zip(&x[c..]) {
                *to = Complex::new(
                    to.re - (entry.re * xc.re - entry.im * xc.im),
                    to.im - (entry.re * xc.im + entry.im * xc.re),
                );
                sum = Complex::new(
                    sum.re + entry.re * from.re + entry.im * from.im,
                    sum.im + entry.re * from.im - entry.im * from.re,
                );
            }
            // The diagonal came twice.
            let diagonal = matrix[(c, c)].re;
            image[c] = Complex::new(image[c].re - sum.re + diagonal * xc.re, image[c].im - sum.im + diagonal * xc.im);
        }
        quotient = x.iter().zip(&image).map(|(a, b)| a.re * b.re + a.im * b.im).sum();
        x = image;
    }
    quotient
}

/// Every frequency of a grid up to conjugation, and how many it stands for: the weights are real, so `F(-w)` is the
/// conjugate of `F(w)` and has the same singular values.
pub(super) fn half_grid([height, width]: [usize; 2]) -> Vec<(usize, usize, usize)> {
    (0..height)
        .flat_map(|y| (0..width).map(move |x| (y, x)))
        .filter_map(|(y, x)| {
            let mirror = ((height - y) % height, (width - x) % width);
            match (y, x).cmp(&mirror) {
                std::cmp::Ordering::Less => Some((y, x, 2)),
                std::cmp::Ordering::Equal => Some((y, x, 1)),
                std::cmp::Ordering::Greater => None,
            }
        })
        .collect()
}
