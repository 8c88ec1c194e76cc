//! The frequencies of a torus, and the waves at them.

use std::f64::consts::TAU;

use faer::complex::Complex;

/// A frequency: numerators over twice the grid's height and width.
pub(crate) type Frequency = (usize, usize);

/// The frequencies of a torus, `2 pi (j + 1/2) / n` where an axis is twisted, else `2 pi j / n`.
///
/// Twisted, an image that leaves one side comes back on the other with its sign changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
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
    pub fn near(&self, frequencies: &[Frequency], other: &Grid) -> Vec<Frequency> {
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

/// `exp(i t)` for all `t` of a grid's axes, height and width.
pub(crate) struct Turns([Vec<Complex<f64>>; 2]);

impl Turns {
    pub fn of(grid: [usize; 2]) -> Self {
        Turns(grid.map(|n| {
            let angle = |at: usize| TAU * at as f64 / (2 * n) as f64;
            (0..2 * n).map(|at| Complex::new(angle(at).cos(), angle(at).sin())).collect()
        }))
    }

    /// `exp(i w.d)`; whole turns are dropped before anything is rounded.
    pub fn wave(&self, (dy, dx): (isize, isize), (y, x): Frequency) -> Complex<f64> {
        let turn = |axis: &[Complex<f64>], d: isize, at: usize| {
            axis[(d * at as isize).rem_euclid(axis.len() as isize) as usize]
        };
        turn(&self.0[0], dy, y) * turn(&self.0[1], dx, x)
    }
}
