//! Figure 1: trajectories of one-dimensional residual networks, without and with the constraint.
//!
//! Both learn to fold the interval `[-1, 1]`, `x -> 2 |x| - 1`. A map that does so sends two points to every place, with
//! trajectories that cross and meet; one whose branches have Lipschitz constants below 1 keeps the order of its points.

use iresnet::flow::Bijection;
use iresnet::flow::line::{LineTraining, trajectories};
use iresnet::solve::Branch;
use serde::{Deserialize, Serialize};

use crate::LabError;
use crate::chart::{Chart, Colour, Series, Stroke};

/// Points whose trajectories are drawn, which are also the training set.
const POINTS: usize = 21;

/// Starts this far apart should not end at the same place.
pub const APART: f64 = 1.0;

/// One trained network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// `without constraint` or `c = 0.9`.
    pub label: String,
    /// Largest norm of a layer, where it is constrained.
    pub coeff: Option<f64>,
    /// Mean squared error after training.
    pub loss: f64,
    /// Bound of `Lip(g)` of each block.
    pub lipschitz: Vec<f64>,
    /// Whether all are below 1: the inverse exists everywhere.
    pub invertible: bool,
    /// Smallest distance behind the last block of points that started at least [`APART`] from each other.
    pub nearest: f64,
    /// Neighbours that meet or change sides somewhere, of `POINTS - 1` pairs.
    pub crossings: usize,
    /// `[depth][point]`, the starts first.
    pub places: Vec<Vec<f64>>,
}

/// Both networks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure1 {
    /// Residual blocks of each.
    pub blocks: usize,
    /// Hidden values of a block.
    pub hidden: usize,
    /// Full-batch steps of Adam.
    pub steps: usize,
    /// Seed.
    pub seed: u64,
    /// Without and with the constraint.
    pub lines: Vec<Line>,
}

/// Settings of Figure 1 for `seed`; the coefficient is that of the constrained network.
pub fn settings(seed: u64) -> LineTraining {
    LineTraining { seed, ..LineTraining::default() }
}

/// Trains both networks.
///
/// # Errors
/// Settings that cannot be trained with.
pub fn figure1(training: LineTraining) -> Result<Figure1, LabError> {
    let points: Vec<f64> = (0..POINTS).map(|i| 2.0 * i as f64 / (POINTS - 1) as f64 - 1.0).collect();
    let targets: Vec<f64> = points.iter().map(|x| 2.0 * x.abs() - 1.0).collect();
    let line = |coeff: Option<f64>| -> Result<Line, LabError> {
        let trained = LineTraining { coeff, ..training }.train(&points, &targets)?;
        let constants = trained.network.layers().iter().filter_map(|layer| layer.branch.lipschitz());
        let places = trajectories(&trained.network, &points);
        Ok(Line {
            label: coeff.map_or("without constraint".into(), |c| format!("c = {c}")),
            coeff,
            loss: trained.losses.last().copied().unwrap_or(f64::NAN),
            lipschitz: constants.collect(),
            invertible: trained.network.bounds().inverse.is_some(),
            nearest: nearest(&points, &places[places.len() - 1]),
            crossings: crossings(&places),
            places,
        })
    };
    Ok(Figure1 {
        blocks: training.blocks,
        hidden: training.hidden,
        steps: training.steps,
        seed: training.seed,
        lines: vec![line(None)?, line(training.coeff)?],
    })
}

/// Neighbouring points that meet or have changed sides at some depth.
fn crossings(places: &[Vec<f64>]) -> usize {
    let points = places.first().map_or(0, Vec::len);
    (1..points).filter(|&i| places.iter().any(|row| row[i] <= row[i - 1])).count()
}

fn nearest(starts: &[f64], ends: &[f64]) -> f64 {
    let pairs = (0..starts.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
    let far = pairs.filter(|&(i, j)| (starts[i] - starts[j]).abs() >= APART * (1.0 - 1e-9));
    far.map(|(i, j)| (ends[i] - ends[j]).abs()).fold(f64::INFINITY, f64::min)
}

impl Figure1 {
    /// One chart a network.
    pub fn charts(&self) -> Vec<Chart> {
        let extreme = self.lines.iter().flat_map(|line| line.places.iter().flatten());
        let reach = extreme.fold(1.0, |reach: f64, x| reach.max(x.abs())) * 1.05;
        let chart = |line: &Line| {
            let points = line.places.first().map_or(0, Vec::len);
            let series = (0..points).map(|i| Series {
                label: String::new(),
                colour: Colour::Between(i as f64 / (points - 1) as f64),
                stroke: Stroke::Full,
                marks_every: 0,
                points: line.places.iter().enumerate().map(|(depth, row)| (depth as f64, row[i])).collect(),
            });
            Chart {
                title: format!("Trajectories of {POINTS} points, {}", line.label),
                x_label: "blocks passed".into(),
                y_label: "place on the line".into(),
                x: (0.0, self.blocks as f64),
                y: (-reach, reach),
                log_y: false,
                size: (440, 340),
                series: series.collect(),
                rule: None,
            }
        };
        self.lines.iter().map(chart).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_free_network_crosses() {
        let figure = figure1(settings(0)).unwrap();
        let [free, bound] = &figure.lines[..] else { panic!("two networks") };
        assert!(free.crossings > 0 && !free.invertible, "{} {:?}", free.crossings, free.lipschitz);
        assert!(free.loss < bound.loss, "the constraint costs what the task asks for");
        assert_eq!(bound.crossings, 0);
        // The free network sends x and -x to one place but for its training error: a mean square of 7e-4, and 3e-3 between
        // the nearest of them. Each block brings points closer by a factor of at least 1 - L.
        let least: f64 = bound.lipschitz.iter().map(|l| 1.0 - l).product();
        assert!(bound.nearest >= APART * least && free.nearest < 0.01, "{} {}", free.nearest, bound.nearest);
        // Both layers are scaled to norm 0.9 after every step; the proved bound lies 3e-14 above their product.
        assert!(bound.invertible && bound.lipschitz.iter().all(|l| *l < 0.9 * 0.9 + 1e-12), "{:?}", bound.lipschitz);
        assert_eq!((free.places.len(), free.places[0].len()), (figure.blocks + 1, POINTS));
        let svg = figure.charts()[0].svg();
        assert_eq!(svg.matches("<polyline").count(), POINTS);
    }

    #[test]
    fn crossings_are_counted_at_every_depth() {
        assert_eq!(crossings(&[vec![0.0, 1.0, 2.0], vec![1.0, 0.0, 2.0], vec![0.0, 1.0, 2.0]]), 1);
        assert_eq!(crossings(&[vec![0.0, 1.0, 2.0], vec![0.5, 0.5, 0.5]]), 2);
        assert_eq!(crossings(&[vec![0.0, 1.0]]), 0);
        assert_eq!(nearest(&[-1.0, -0.5, 0.0, 1.0], &[5.0, 5.0, 6.0, 9.0]), 1.0);
    }
}
