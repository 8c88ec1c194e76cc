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

use super::lanes::{Batch, LANES, Lane};
use super::positive::{factorises, norm_bound};
use super::taps::Taps;

/// Powers of the matrix that a starting guess and a better one take.
const GUESS: [usize; 2] = [5, 40];

/// Highest values of the symbol on one grid that other grids are looked at around.
const PEAKS: usize = 8;

/// Largest matrices that are factorised side by side: four of them just fit a core's own cache. Larger ones take faer's
/// blocked algorithm, one by one.
pub(super) const SIDE_BY_SIDE: usize = 160;

/// A frequency: numerators over twice the grid's height and width.
pub(super) type Frequency = (usize, usize);

/// The frequencies of a torus, `2 pi (j + 1/2) / n` where an axis is twisted, else `2 pi j / n`.
///
/// Twisted, an image that leaves one side comes back on the other with its sign changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub sides: [usize; 2],
    pub twisted: [bool; 2],
}

impl Grid {
    /// All four twists of a torus.
    ///
    /// A grid that has the largest value of the symbol between its points, not on one, sees less of it: so does the
    /// image, which holds no wave that is as long as the torus.
    pub fn twists(sides: [usize; 2]) -> [Grid; 4] {
        [[false, false], [false, true], [true, false], [true, true]].map(|twisted| Grid { sides, twisted })
    }

    /// The untwisted one.
    pub fn of(sides: [usize; 2]) -> Self {
        Grid { sides, twisted: [false, false] }
    }

    /// The frequencies of this twist of a torus that are next to some of another twist of it.
    fn near(&self, frequencies: &[Frequency], other: &Grid) -> Vec<Frequency> {
        let next = |at: usize, axis: usize| match (self.twisted[axis] == other.twisted[axis], 2 * self.sides[axis]) {
            (true, _) => vec![at],
            (false, turn) => vec![(at + 1) % turn, (at + turn - 1) % turn],
        };
        let around =
            |&(y, x): &Frequency| next(y, 0).into_iter().flat_map(move |y| next(x, 1).into_iter().map(move |x| (y, x)));
        frequencies.iter().flat_map(around).collect()
    }

    /// Every frequency up to conjugation, and how many it stands for: the weights are real, so `F(-w)` is the conjugate
    /// of `F(w)` and has the same singular values.
    pub fn frequencies(&self) -> Vec<(Frequency, usize)> {
        let numerators = |axis: usize| {
            let twist = usize::from(self.twisted[axis]);
            (0..self.sides[axis]).map(move |at| 2 * at + twist)
        };
        let [height, width] = self.sides.map(|n| 2 * n);
        numerators(0)
            .flat_map(|y| numerators(1).map(move |x| (y, x)))
            .filter_map(|(y, x)| {
                let mirror = ((height - y) % height, (width - x) % width);
                match (y, x).cmp(&mirror) {
                    std::cmp::Ordering::Less => Some(((y, x), 2)),
                    std::cmp::Ordering::Equal => Some(((y, x), 1)),
                    std::cmp::Ordering::Greater => None,
                }
            })
            .collect()
    }
}

/// `F(w) F(w)^H` for any `w`.
pub(super) struct Symbols {
    side: usize,
    /// The `d` that are not the mirror image of another, without 0.
    offsets: Vec<(isize, isize)>,
    /// For each entry of the lower triangle, row by row: `G_0`, then `G_d + G_d^T` and `G_d - G_d^T` for each offset.
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
        let all = [&[(0, 0)], offsets.as_slice()].concat();
        let coefficients: Vec<Mat<f64>> = all.par_iter().map(|&(y, x)| coefficient(y, x)).collect();
        let mut parts = Vec::with_capacity((1 + 2 * offsets.len()) * m * (m + 1) / 2);
        for r in 0..m {
            for c in 0..=r {
                parts.push(coefficients[0][(r, c)]);
                parts.extend(coefficients[1..].iter().flat_map(|g| [g[(r, c)] + g[(c, r)], g[(r, c)] - g[(c, r)]]));
            }
        }
        Symbols { side: m, offsets, parts, rounding: taps.rounding() }
    }

    /// `shift I - F(w) F(w)^H` at up to [`LANES`] frequencies; the last one fills the lanes that are left.
    fn shifted(&self, batch: &mut Batch, frequencies: &[Frequency], grid: [usize; 2], shift: f64) {
        let at = |lane: usize| frequencies[lane.min(frequencies.len() - 1)];
        let waves = |d: &(isize, isize)| {
            let angle: Lane = std::array::from_fn(|lane| angle(*d, at(lane), grid));
            (angle.map(f64::cos), angle.map(f64::sin))
        };
        let waves: Vec<(Lane, Lane)> = self.offsets.iter().map(waves).collect();
        batch.combine(&self.parts, &waves, shift);
    }

    /// Eigenvalues of `F(w) F(w)^H` in falling order at each of some frequencies, `None` where they were not found.
    pub fn eigenvalues(&self, frequencies: &[Frequency], grid: [usize; 2]) -> Vec<Option<Vec<f64>>> {
        let chunk = |f: &[Frequency]| {
            let mut batch = Batch::zeros(self.side);
            self.shifted(&mut batch, f, grid, 0.0);
            let values = batch.eigenvalues();
            // Those of the negative, in rising order.
            let of = |lane: usize| values.as_ref().map(|v| v[lane].iter().map(|x| -x).collect());
            (0..f.len()).map(of).collect::<Vec<_>>()
        };
        frequencies.par_chunks(LANES).flat_map_iter(chunk).collect()
    }

    /// Largest eigenvalues at some frequencies, about: Rayleigh quotients after some powers.
    fn guesses(&self, frequencies: &[Frequency], grid: [usize; 2], powers: usize) -> Vec<f64> {
        let chunk = |batch: &mut Batch, f: &[Frequency]| {
            self.shifted(batch, f, grid, 0.0);
            batch.powers(powers)[..f.len()].to_vec()
        };
        frequencies.par_chunks(LANES).map_init(|| Batch::zeros(self.side), chunk).flatten_iter().collect()
    }

    /// Those frequencies at which `shift` is not shown to be above all eigenvalues.
    fn undecided(&self, frequencies: &[Frequency], grid: [usize; 2], shift: f64) -> Vec<Frequency> {
        let chunk = |batch: &mut Batch, f: &[Frequency]| -> Vec<Frequency> {
            self.shifted(batch, f, grid, shift);
            let positive = match self.side <= SIDE_BY_SIDE {
                true => batch.factorise(),
                false => std::array::from_fn(|l| l < f.len() && factorises(self.matrix(batch, l).as_mut(), Par::Seq)),
            };
            f.iter().zip(positive).filter_map(|(f, positive)| (!positive).then_some(*f)).collect()
        };
        frequencies.par_chunks(LANES).map_init(|| Batch::zeros(self.side), chunk).flatten_iter().collect()
    }

    /// The lower triangle of one matrix of a batch.
    fn matrix(&self, batch: &Batch, lane: usize) -> Mat<Complex<f64>> {
        let mut matrix = Mat::zeros(self.side, self.side);
        batch.each_of(lane, |r, c, re, im| matrix[(r, c)] = Complex::new(re, im));
        matrix
    }

    /// Bound of `||F(w)||` over that one of `grids`, twists of one torus, where it is smallest, about; above it by about
    /// the relative `surplus`.
    ///
    /// `known` is what the norm is at least, or 0.
    ///
    /// # Panics
    /// Without a grid.
    pub fn bound(&self, grids: &[Grid], surplus: f64, known: f64) -> f64 {
        let sides = grids[0].sides;
        let all = grids[0].frequencies();
        let first: Vec<Frequency> = all.into_iter().map(|(f, _)| f).collect();
        let peaks = highest(&first, &self.guesses(&first, sides, GUESS[0]), PEAKS);
        let largest = |values: Vec<f64>| values.into_iter().fold(0.0, f64::max);
        let raised = |eigenvalue: f64, surplus: f64| eigenvalue * (1.0 + surplus) * (1.0 + surplus);
        // What a grid sees of the peaks of the first one: its frequencies next to them.
        let seen = grids.iter().map(|grid| {
            let near = grid.near(&peaks, &grids[0]);
            let rough = self.guesses(&near, sides, GUESS[0]);
            (grid, highest(&near, &rough, LANES), largest(rough))
        });
        let (grid, best, _) = seen.min_by(|a, b| a.2.total_cmp(&b.2)).expect("at least one grid");
        let frequencies: Vec<Frequency> = grid.frequencies().into_iter().map(|(f, _)| f).collect();
        // Positive, so that raising it ends.
        let found = largest(self.guesses(&best, sides, GUESS[1])).max(known * known).max(self.rounding);
        let (mut shift, mut surplus) = (raised(found, surplus), surplus);
        let mut open = self.undecided(&frequencies, sides, shift);
        while !open.is_empty() {
            surplus *= 2.0;
            shift = raised(largest(self.guesses(&open, sides, GUESS[1])).max(found), surplus).max(shift);
            open = self.undecided(&open, sides, shift);
        }
        norm_bound(shift, self.side, self.rounding)
    }
}

/// The `count` frequencies with the largest values.
fn highest(frequencies: &[Frequency], values: &[f64], count: usize) -> Vec<Frequency> {
    let mut order: Vec<usize> = (0..frequencies.len()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    order.into_iter().take(count).map(|i| frequencies[i]).collect()
}

/// `w . d`; whole turns are dropped before anything is rounded.
fn angle((dy, dx): (isize, isize), (y, x): Frequency, [height, width]: [usize; 2]) -> f64 {
    let turn = |d: isize, at: usize, n: usize| (d * at as isize).rem_euclid(2 * n as isize) as f64 / (2 * n) as f64;
    TAU * (turn(dy, y, height) + turn(dx, x, width))
}
