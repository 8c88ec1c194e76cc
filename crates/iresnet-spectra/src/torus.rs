//! The largest singular value of a circular convolution over all frequencies of a grid, from above.
//!
//! `F(w) F(w)^H` is a trigonometric polynomial with the coefficients `G_d = sum_(a - b = d) K_a K_b^T`. These are formed
//! once; at each frequency the matrix is a combination of them, and one Cholesky factorisation ([`crate::positive`])
//! decides whether its largest eigenvalue is below a common shift: in float32, with a shift lowered by all that rounding
//! can do, at the many frequencies that are far from the largest, and in float64 at the others.

use faer::complex::Complex;
use faer::{Accum, Mat, Par};
use num_traits::Float;
use rayon::prelude::*;

use crate::correlation;
use crate::grid::{Frequency, Grid, Turns};
use crate::lanes::{Batch, Entry, LANES, Lane, SINGLES, number};
use crate::positive::{factorises, norm_bound, single_shift};
use crate::scratch::{Keep, Matrix, Scratch};
use crate::taps::Taps;

/// Powers of the matrix that a starting guess and a better one take.
const GUESS: [usize; 2] = [5, 40];

/// Highest values of the symbol on one grid that other grids are looked at around.
const PEAKS: usize = 3;

/// Largest matrices that are factorised side by side: four of them just fit a core's own cache. Larger ones take faer's
/// blocked algorithm, one by one.
pub(crate) const SIDE_BY_SIDE: usize = 160;

/// Smallest matrices of which fewer products are faster than more.
const WORTH_SAVING: usize = 96;

/// `F(w) F(w)^H` for any `w`.
pub(crate) struct Symbols {
    side: usize,
    /// The `d` that are not the mirror image of another, without 0.
    offsets: Vec<(isize, isize)>,
    /// For each entry of the lower triangle, row by row: `G_0`, then `G_d + G_d^T` and `G_d - G_d^T` for each offset.
    parts: Scratch<f64>,
    /// The same in float32, in units of `unit`, for guesses and for what is far from the largest.
    singles: Scratch<f32>,
    unit: f64,
    /// How far `F F^H` can be from the true one in spectral norm, and by how much more when it is formed in float32.
    rounding: f64,
    single_rounding: f64,
}

impl Symbols {
    /// Forms the coefficients as directly as can be.
    pub fn of(taps: &Taps) -> Self {
        let (m, k) = (taps.side, taps.kernel as isize);
        let coefficient = |dy: isize, dx: isize| {
            let mut sum = Matrix::new(m, m);
            let mut accum = Accum::Replace;
            for (by, bx) in (0..k).flat_map(|y| (0..k).map(move |x| (y, x))) {
                let (ay, ax) = (by + dy, bx + dx);
                if (0..k).contains(&ay) && (0..k).contains(&ax) {
                    taps.product((ay * k + ax) as usize, (by * k + bx) as usize, sum.as_mut(), accum, Par::Seq);
                    accum = Accum::Add;
                }
            }
            sum
        };
        let offsets = offsets(k);
        let all = [&[(0, 0)], offsets.as_slice()].concat();
        let coefficients: Vec<Matrix> = all.par_iter().map(|&(y, x)| coefficient(y, x)).collect();
        Symbols::from(taps, offsets, &coefficients.iter().collect::<Vec<_>>(), taps.rounding())
    }

    /// Forms the coefficients in fewer products, which cost digits that bounds within a thousandth do not need.
    pub fn for_bounds(taps: &Taps) -> Self {
        if taps.kernel != 3 || taps.side < WORTH_SAVING {
            return Symbols::of(taps);
        }
        let rows = correlation::coefficients(taps);
        let offsets = offsets(3);
        let at = |&(y, x): &(isize, isize)| &rows[y as usize][(x + 2) as usize];
        let coefficients: Vec<&Matrix> = std::iter::once(at(&(0, 0))).chain(offsets.iter().map(at)).collect();
        Symbols::from(taps, offsets, &coefficients, correlation::GROWTH * taps.rounding())
    }

    /// From `G_0` and `G_d` for each offset.
    fn from(taps: &Taps, offsets: Vec<(isize, isize)>, coefficients: &[&Matrix], rounding: f64) -> Self {
        let m = taps.side;
        let mut parts = Scratch::of((1 + 2 * offsets.len()) * m * (m + 1) / 2);
        let mut entries = parts.chunks_exact_mut(1 + 2 * offsets.len());
        for (r, c) in (0..m).flat_map(|r| (0..=r).map(move |c| (r, c))) {
            let parts = entries.next().expect("one for each entry");
            let at = |g: &Matrix| (g.values[c * m + r], g.values[r * m + c]);
            parts[0] = at(coefficients[0]).0;
            for (pair, g) in parts[1..].as_chunks_mut::<2>().0.iter_mut().zip(&coefficients[1..]) {
                let (below, above) = at(g);
                *pair = [below + above, below - above];
            }
        }
        // Squares of the smallest weights would be lost.
        let unit = coefficients[0].values.iter().step_by(m + 1).fold(f64::MIN_POSITIVE, |top, x| top.max(*x));
        let mut singles = Scratch::of(parts.len());
        singles.iter_mut().zip(parts.iter()).for_each(|(single, part)| *single = (part / unit) as f32);
        // Sums of `2 offsets + 1` numbers and products, each of them rounded, and the parts and the waves before. Real and
        // imaginary parts, whose errors add up to at most 2^(1/2) times the larger, hold all `|G_d|` once each, and those
        // are below `sum_a |K_a| sum_b |K_b|^T`. Five times what that comes to, which leaves room for underflow.
        let terms = 2.0 * (2 * offsets.len() + 4) as f64;
        let spread = (taps.kernel * taps.kernel) as f64 * taps.frobenius * taps.frobenius;
        let single_rounding = terms * f64::from(f32::EPSILON) * spread;
        Symbols { side: m, offsets, parts, singles, unit, rounding, single_rounding }
    }

    /// `shift I - F(w) F(w)^H` at up to `N` frequencies; the last one fills the lanes that are left.
    fn shifted<T: Float, const N: usize>(
        &self,
        batch: &mut Batch<T, N>,
        parts: &[T],
        frequencies: &[Frequency],
        turns: &Turns,
        shift: f64,
    ) where
        Entry<T, N>: Keep,
    {
        let at = |lane: usize| frequencies[lane.min(frequencies.len() - 1)];
        let waves = |d: &(isize, isize)| {
            let wave: [Complex<f64>; N] = std::array::from_fn(|lane| turns.wave(*d, at(lane)));
            (wave.map(|z| number(z.re)), wave.map(|z| number(z.im)))
        };
        let waves: Vec<(Lane<T, N>, Lane<T, N>)> = self.offsets.iter().map(waves).collect();
        batch.combine(parts, &waves, number(shift));
    }

    /// Eigenvalues of `F(w) F(w)^H` in falling order at each of some frequencies, `None` where they were not found.
    pub fn eigenvalues(&self, frequencies: &[Frequency], grid: [usize; 2]) -> Vec<Option<Vec<f64>>> {
        let turns = Turns::of(grid);
        let chunk = |f: &[Frequency]| {
            let mut batch = Batch::new(self.side);
            self.shifted(&mut batch, &self.parts, f, &turns, 0.0);
            let values = batch.eigenvalues();
            // Those of the negative, in rising order.
            let of = |lane: usize| values.as_ref().map(|v| v[lane].iter().map(|x| -x).collect());
            (0..f.len()).map(of).collect::<Vec<_>>()
        };
        frequencies.par_chunks(LANES).flat_map_iter(chunk).collect()
    }

    /// Largest eigenvalues at some frequencies in units of `parts`, about: Rayleigh quotients after some powers.
    fn guesses<T: Float + Sync + Send, const N: usize>(
        &self,
        parts: &[T],
        frequencies: &[Frequency],
        grid: [usize; 2],
        powers: usize,
    ) -> Vec<T>
    where
        Entry<T, N>: Keep,
    {
        let turns = Turns::of(grid);
        let chunk = |batch: &mut Batch<T, N>, f: &[Frequency]| {
            self.shifted(batch, parts, f, &turns, 0.0);
            batch.powers(powers)[..f.len()].to_vec()
        };
        frequencies.par_chunks(N).map_init(|| Batch::new(self.side), chunk).flatten_iter().collect()
    }

    /// The largest eigenvalue at any of a few frequencies, about, in float64: certificates repeat it to nine digits.
    fn largest(&self, frequencies: &[Frequency], grid: [usize; 2]) -> f64 {
        let values = self.guesses::<f64, LANES>(&self.parts, frequencies, grid, GUESS[1]);
        values.into_iter().fold(0.0, f64::max)
    }

    /// Those frequencies at which `shift` is not shown to be above all eigenvalues.
    fn undecided(&self, frequencies: &[Frequency], grid: [usize; 2], shift: f64) -> Vec<Frequency> {
        let turns = Turns::of(grid);
        if self.side > SIDE_BY_SIDE {
            return self.failing(frequencies, |batch: &mut Batch, f| {
                self.shifted(batch, &self.parts, f, &turns, shift);
                std::array::from_fn(|l| l < f.len() && factorises(self.matrix(batch, l).as_mut(), Par::Seq))
            });
        }
        // Most are far enough below for float32 to tell.
        let single = single_shift(shift, self.side, self.rounding + self.single_rounding) / self.unit;
        let near = match frequencies.len() > LANES && single > 0.0 {
            true => self.failing(frequencies, |batch: &mut Batch<f32, SINGLES>, f| {
                self.shifted(batch, &self.singles, f, &turns, single);
                batch.factorise()
            }),
            false => frequencies.to_vec(),
        };
        self.failing(&near, |batch: &mut Batch, f| {
            self.shifted(batch, &self.parts, f, &turns, shift);
            batch.factorise()
        })
    }

    /// Those frequencies whose matrices `positive` does not find to be so, `N` at a time.
    fn failing<T: Float + Sync + Send, const N: usize>(
        &self,
        frequencies: &[Frequency],
        positive: impl Fn(&mut Batch<T, N>, &[Frequency]) -> [bool; N] + Sync,
    ) -> Vec<Frequency>
    where
        Entry<T, N>: Keep,
    {
        let chunk = |batch: &mut Batch<T, N>, f: &[Frequency]| -> Vec<Frequency> {
            f.iter().zip(positive(batch, f)).filter_map(|(f, positive)| (!positive).then_some(*f)).collect()
        };
        frequencies.par_chunks(N).map_init(|| Batch::new(self.side), chunk).flatten_iter().collect()
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
        let rough = |f: &[Frequency]| self.guesses::<f32, SINGLES>(&self.singles, f, sides, GUESS[0]);
        let peaks = highest(&first, &rough(&first), PEAKS);
        // What a grid sees of the peaks of the first one: its frequencies next to them.
        let seen = grids.iter().map(|grid| {
            let near = grid.near(&peaks, &grids[0]);
            let values = rough(&near);
            (grid, highest(&near, &values, LANES), values.into_iter().fold(0.0, f32::max))
        });
        let (grid, best, _) = seen.min_by(|a, b| a.2.total_cmp(&b.2)).expect("at least one grid");
        let frequencies: Vec<Frequency> = grid.frequencies().into_iter().map(|(f, _)| f).collect();
        let raised = |eigenvalue: f64, surplus: f64| eigenvalue * (1.0 + surplus) * (1.0 + surplus);
        // Positive, so that raising it ends.
        let found = self.largest(&best, sides).max(known * known).max(self.rounding);
        let (mut shift, mut surplus) = (raised(found, surplus), surplus);
        let mut open = self.undecided(&frequencies, sides, shift);
        while !open.is_empty() {
            surplus *= 2.0;
            shift = raised(self.largest(&open, sides).max(found), surplus).max(shift);
            open = self.undecided(&open, sides, shift);
        }
        norm_bound(shift, self.side, self.rounding)
    }
}

/// The `d` of a kernel of side `k` that are not the mirror image of another, without 0.
fn offsets(k: isize) -> Vec<(isize, isize)> {
    (0..k).flat_map(|y| (1 - k..k).map(move |x| (y, x))).filter(|&(y, x)| y > 0 || x > 0).collect()
}

/// The `count` frequencies with the largest values.
fn highest(frequencies: &[Frequency], values: &[f32], count: usize) -> Vec<Frequency> {
    let mut order: Vec<usize> = (0..frequencies.len()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    order.into_iter().take(count).map(|i| frequencies[i]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::ConvLayer;

    #[test]
    fn float32_decides_nothing_that_float64_would_not() {
        for (out_channels, in_channels, scale) in [(2, 3, 1.0), (24, 24, 1e-18), (100, 40, 1.0), (110, 100, 1e15)] {
            let values = (0..out_channels * in_channels * 9).map(|i| ((i * 7919 + 13) % 1009) as f32 / 504.5 - 1.0);
            let weight: Vec<f32> = values.map(|x| scale * x).collect();
            let name = String::new();
            let layer = ConvLayer { name, weight: &weight, out_channels, in_channels, kernel: 3, height: 5, width: 5 };
            let symbols = Symbols::for_bounds(&Taps::of(&layer, false));
            let frequencies: Vec<Frequency> = Grid::of([6, 6]).frequencies().into_iter().map(|(f, _)| f).collect();
            let found = symbols.eigenvalues(&frequencies, [6, 6]);
            let largest: Vec<f64> = found.into_iter().map(|values| values.expect("they are found")[0]).collect();
            for at in &largest {
                for shift in [at * (1.0 - 1e-9), at * (1.0 + 1e-9)] {
                    let expected = frequencies.iter().zip(&largest).filter(|(_, x)| **x > shift).map(|(f, _)| *f);
                    let open = symbols.undecided(&frequencies, [6, 6], shift);
                    assert_eq!(
                        open,
                        expected.collect::<Vec<_>>(),
                        "{out_channels} {in_channels} {shift:e} {largest:?}"
                    );
                }
            }
        }
    }
}
