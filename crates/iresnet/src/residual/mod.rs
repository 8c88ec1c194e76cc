//! Invertible networks of one's own: residual branches composed into a sequence with the same inverse and audit.
//!
//! Any [`Branch`] will do; [`Dense`] blocks for vector data come with it. See `examples/own_branch.rs`.

mod dense;
mod train;

pub use dense::{Dense, DenseScratch};
pub use train::{LineError, LineTraining, TrainedLine, trajectories};

use crate::solve::{
    Branch, Contradiction, LANES, SampleReport, Scalar, Solved, Solver, Stop, network_error_bar, share_tolerance, solve,
};

/// `x -> (x + g_1(x)) -> ... -> z`, invertible where every branch has a Lipschitz bound below 1.
#[derive(Clone, Debug)]
pub struct Sequence<B> {
    /// The branches, first to last.
    pub branches: Vec<B>,
}

/// What is known of a sequence from the bounds of its branches.
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    /// Bound of each branch, where it has one.
    pub lipschitz: Vec<Option<f64>>,
    /// Whether every branch has a bound below 1: the inverse then exists everywhere.
    pub invertible: bool,
    /// `Lip(F) <= prod (1 + L_t)`, if every branch has a bound.
    pub forward: Option<f64>,
    /// `Lip(F^-1) <= prod 1 / (1 - L_t)`, if the inverse exists.
    pub inverse: Option<f64>,
}

/// The inverse of a sequence, and what is known of it.
#[derive(Clone, Debug)]
pub struct Preimages<T> {
    /// Packs, in the order of the samples; unused lanes are zero.
    pub x: Vec<T>,
    /// For each branch, in the order of the inverse (the last branch first), a report for each sample.
    pub blocks: Vec<Vec<SampleReport>>,
    /// For each sample a bound on the distance from its true preimage under the whole sequence, where every branch has
    /// a bound below 1.
    pub error_bars: Vec<Option<f64>>,
}

impl<B> Sequence<B> {
    /// The whole sequence on packs.
    pub fn forward<T: Scalar>(&self, x: &[T]) -> Vec<T>
    where
        B: Branch<T>,
    {
        let mut x = x.to_vec();
        for branch in &self.branches {
            let pack = branch.len() * LANES;
            let (mut g, mut scratch) = (vec![T::ZERO; pack], B::Scratch::default());
            for x in x.chunks_exact_mut(pack) {
                branch.value(x, &mut g, &mut scratch);
                x.iter_mut().zip(&g).for_each(|(x, g)| *x = *x + *g);
            }
        }
        x
    }

    /// The preimages of `samples` samples in the packs `z`.
    ///
    /// Where every branch has a bound below 1, the tolerance is meant for the whole inverse: it is shared out among the
    /// branches by [`share_tolerance`]. Each share is relative to the length of the branch's own `y`, which stands in
    /// for that of the preimage as long as that is not known; the error bars are absolute and need no such guess.
    /// Otherwise every branch gets the tolerance as it is.
    ///
    /// # Errors
    /// Steps that contradict a certified bound.
    pub fn inverse<T: Scalar, S: Solver<T>>(
        &self,
        z: &[T],
        samples: usize,
        solver: &S,
        stop: Stop,
    ) -> Result<Preimages<T>, Contradiction>
    where
        B: Branch<T>,
    {
        let constants: Option<Vec<f64>> = self.branches.iter().rev().map(Branch::lipschitz).collect();
        let shares = constants
            .as_ref()
            .zip(stop.tolerance)
            .and_then(|(constants, tolerance)| share_tolerance(tolerance, constants));
        let mut blocks: Vec<Vec<SampleReport>> = Vec::new();
        let mut y = z.to_vec();
        for (i, branch) in self.branches.iter().rev().enumerate() {
            let tolerance = shares.as_ref().map_or(stop.tolerance, |shares| Some(shares[i]));
            let Solved { x, reports } = solve(branch, &y, samples, solver, Stop { tolerance, ..stop })?;
            y = x;
            blocks.push(reports);
        }
        let error_bar = |sample: usize| {
            let bars: Vec<Option<f64>> = blocks.iter().map(|block| block[sample].error_bar).collect();
            network_error_bar(&bars, constants.as_ref()?)
        };
        let error_bars = (0..samples).map(error_bar).collect();
        Ok(Preimages { x: y, blocks, error_bars })
    }

    /// Products of the branches' bounds.
    pub fn audit<T: Scalar>(&self) -> Audit
    where
        B: Branch<T>,
    {
        let lipschitz: Vec<Option<f64>> = self.branches.iter().map(Branch::lipschitz).collect();
        let invertible = lipschitz.iter().all(|l| l.is_some_and(|l| l < 1.0));
        let forward = lipschitz.iter().map(|l| l.map(|l| 1.0 + l)).product::<Option<f64>>();
        let inverse = lipschitz.iter().map(|l| l.map(|l| 1.0 / (1.0 - l))).product::<Option<f64>>();
        Audit { lipschitz, invertible, forward, inverse: inverse.filter(|_| invertible) }
    }
}

/// Samples, one after the other, as packs.
pub fn pack<T: Scalar>(samples: &[T], len: usize) -> Vec<T> {
    let mut packs = vec![T::ZERO; (samples.len() / len).div_ceil(LANES) * len * LANES];
    for (n, sample) in samples.chunks_exact(len).enumerate() {
        for (i, value) in sample.iter().enumerate() {
            packs[(n / LANES * len + i) * LANES + n % LANES] = *value;
        }
    }
    packs
}

/// The first `samples` samples of `packs`, one after the other.
pub fn unpack<T: Scalar>(packs: &[T], len: usize, samples: usize) -> Vec<T> {
    (0..samples * len)
        .map(|at| {
            let (n, i) = (at / len, at % len);
            packs[(n / LANES * len + i) * LANES + n % LANES]
        })
        .collect()
}

#[cfg(test)]
mod tests;
