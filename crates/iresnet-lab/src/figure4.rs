//! Figure 4: reconstruction error against iterations, for every network and both solvers, and what it says of c.

use iresnet::data::Split;
use iresnet::measure::Measure;
use iresnet::solve::{Anderson, Picard, Solver};
use serde::{Deserialize, Serialize};

use crate::chart::{Chart, Colour, Series, Stroke};
use crate::figure3::COUNTS;
use crate::networks::Network;
use crate::progress::tell;
use crate::round_trip::RoundTrip;
use crate::{LabError, Progress};

/// Errors whose price is given.
pub const TARGETS: [f64; 3] = [1e-2, 1e-4, 1e-6];

/// Test images that are inverted.
pub const SAMPLES: usize = 100;

/// One network and solver.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Curve {
    /// Label of the model.
    pub model: String,
    /// Coefficient of its spectral normalisation.
    pub coeff: Option<f64>,
    /// `picard` or `anderson`.
    pub solver: String,
    /// For each of [`COUNTS`] the mean of `||x - x^|| / ||x||`.
    pub errors: Vec<Measure>,
    /// For each of [`TARGETS`] the fewest iterations a block (each is one evaluation of `g`) that reach it on average
    /// over the images, if 100 do.
    pub evaluations: Vec<Option<usize>>,
    /// The same with fractions, from a straight line on the logarithmic scale between the two neighbouring counts, and no more:
    /// between counts far apart the line lies above the errors, which end at round-off.
    pub interpolated: Vec<Option<f64>>,
}

/// All of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure4 {
    /// Iterations a block.
    pub counts: Vec<usize>,
    /// Images inverted.
    pub samples: usize,
    /// Networks, and for each both solvers.
    pub curves: Vec<Curve>,
    /// For each of [`TARGETS`] the factor by which iterations shrink for 0.2 less of c.
    pub factors: Vec<Option<f64>>,
}

/// Both solvers' curves for one network.
///
/// # Errors
/// A refuted certificate.
pub fn curves(network: &Network, data: &Split, progress: Progress<'_>) -> Result<Vec<Curve>, LabError> {
    let trip = RoundTrip::new(network, &data.test.spread(SAMPLES));
    let all: usize = COUNTS.iter().sum();
    Ok(vec![
        curve(network, &trip, "picard", &Picard, |done| tell(progress, done, 2 * all))?,
        curve(network, &trip, "anderson", &Anderson::default(), |done| tell(progress, all + done, 2 * all))?,
    ])
}

fn curve<S: Solver<f32>>(
    network: &Network,
    trip: &RoundTrip,
    name: &str,
    solver: &S,
    progress: impl Fn(usize),
) -> Result<Curve, LabError> {
    let error = |count: usize| -> Result<f64, LabError> { Ok(trip.invert(solver, count)?.mean_error()) };
    let (mut errors, mut done) = (Vec::new(), 0);
    for count in COUNTS {
        errors.push(error(count)?);
        done += count;
        progress(done);
    }
    let mut evaluations = Vec::new();
    for target in TARGETS {
        let Some(at) = errors.iter().position(|error| *error <= target) else {
            evaluations.push(None);
            continue;
        };
        // The fewest need not be among the counts.
        let mut fewest = COUNTS[at];
        while at > 0 && fewest > COUNTS[at - 1] + 1 && error(fewest - 1)? <= target {
            fewest -= 1;
        }
        evaluations.push(Some(fewest));
    }
    Ok(Curve {
        model: network.label(),
        coeff: network.coeff(),
        solver: name.into(),
        interpolated: TARGETS.iter().map(|target| crossing(&COUNTS, &errors, *target)).collect(),
        errors: errors.into_iter().map(Measure).collect(),
        evaluations,
    })
}

/// Where the straight lines between `(count, ln error)` first come down to `target`.
fn crossing(counts: &[usize], errors: &[f64], target: f64) -> Option<f64> {
    let at = errors.iter().position(|error| *error <= target)?;
    if at == 0 {
        return Some(counts[0] as f64);
    }
    let (from, to) = (counts[at - 1] as f64, counts[at] as f64);
    let (high, low) = (errors[at - 1], errors[at]);
    // An exact zero has no logarithm, and an infinite error no line.
    if low <= 0.0 || !high.is_finite() {
        return Some(to);
    }
    Some(from + (to - from) * (high / target).ln() / (high / low).ln())
}

impl Figure4 {
    /// Puts the curves together and fits the factors.
    pub fn of(mut curves: Vec<Curve>, samples: usize) -> Self {
        for curve in &mut curves {
            for (with_fractions, whole) in curve.interpolated.iter_mut().zip(&curve.evaluations) {
                *with_fractions =
                    with_fractions.zip(*whole).map(|(with_fractions, whole)| with_fractions.min(whole as f64));
            }
        }
        let factor = |target: usize| {
            let certified = curves.iter().filter(|curve| curve.solver == "picard" && curve.coeff.is_some());
            let points: Option<Vec<(f64, f64)>> =
                certified.map(|curve| Some((curve.coeff?, curve.interpolated[target]?))).collect();
            factor_for_less(&points?, 0.2)
        };
        let factors = (0..TARGETS.len()).map(factor).collect();
        Figure4 { counts: COUNTS.to_vec(), samples, curves, factors }
    }

    /// The finest target with a factor, and the factor.
    pub fn finest_factor(&self) -> Option<(f64, f64)> {
        TARGETS.iter().zip(&self.factors).rev().find_map(|(target, factor)| Some((*target, (*factor)?)))
    }

    /// The count at which all normalised networks have reached the finest target with Picard's method, at least 10.
    fn longest(&self) -> usize {
        let normalised = self.curves.iter().filter(|curve| curve.coeff.is_some() && curve.solver == "picard");
        let needed = normalised.map(|curve| curve.evaluations.last().copied().flatten().unwrap_or(usize::MAX));
        let needed = needed.max().unwrap_or(0).max(10);
        self.counts.iter().copied().find(|count| *count >= needed).or(self.counts.last().copied()).unwrap_or(1)
    }

    /// All curves; Anderson's dashed. Errors beyond the axis lie on its edge.
    pub fn chart(&self) -> Chart {
        let (low, high) = (1e-8, 1e4);
        let mut models: Vec<&str> = self.curves.iter().map(|curve| curve.model.as_str()).collect();
        models.dedup();
        let series = self.curves.iter().map(|curve| {
            let dashed = curve.solver == "anderson";
            let errors =
                curve.errors.iter().map(|error| if error.0.is_nan() { high } else { error.0.clamp(low, high) });
            Series {
                label: if dashed { String::new() } else { curve.model.clone() },
                colour: Colour::Number(models.iter().position(|model| *model == curve.model).unwrap_or(0)),
                stroke: if dashed { Stroke::Dashed } else { Stroke::Full },
                marks_every: usize::from(!dashed),
                points: self.counts.iter().map(|count| *count as f64).zip(errors).collect(),
            }
        });
        Chart {
            title: "Reconstruction error against iterations".into(),
            x_label: "iterations a block".into(),
            y_label: "normed L2".into(),
            x: (0.0, self.longest() as f64),
            y: (low, high),
            log_y: true,
            size: (720, 420),
            series: series.collect(),
            rule: None,
        }
    }
}

/// By what factor iterations shrink for `less` of c, from the least-squares line through `(c, ln iterations)`.
fn factor_for_less(points: &[(f64, f64)], less: f64) -> Option<f64> {
    let n = points.len() as f64;
    if points.len() < 2 || points.iter().any(|(_, iterations)| *iterations <= 0.0) {
        return None;
    }
    let mean = |value: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / n;
    let (c, log) = (mean(&|p| p.0), mean(&|p| p.1.ln()));
    let slope = mean(&|p| (p.0 - c) * (p.1.ln() - log)) / mean(&|p| (p.0 - c).powi(2));
    slope.is_finite().then(|| (-less * slope).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crossings_are_exact_for_geometric_errors() {
        let counts = [0, 1, 2, 5, 10];
        let errors = counts.map(|k| 0.1f64.powi(k as i32));
        // 1e-4 lies on the line between counts 2 and 5; logarithms are good to 1e-15.
        assert!((crossing(&counts, &errors, 1e-4).unwrap() - 4.0).abs() < 1e-12);
        assert_eq!(crossing(&counts, &errors, 2.0), Some(0.0));
        assert_eq!(crossing(&counts, &errors, 1e-11), None);
        assert_eq!(crossing(&counts, &[f64::INFINITY, 0.0, 0.0, 0.0, 0.0], 1e-6), Some(1.0));
    }

    #[test]
    fn fractions_do_not_exceed_whole_iterations() {
        let curve = Curve {
            model: "c = 0.9".into(),
            coeff: Some(0.9),
            solver: "picard".into(),
            errors: Vec::new(),
            evaluations: vec![Some(12), Some(35), None],
            interpolated: vec![Some(11.5), Some(41.1), None],
        };
        assert_eq!(Figure4::of(vec![curve], 1).curves[0].interpolated, [Some(11.5), Some(35.0), None]);
    }

    #[test]
    fn the_factor_of_a_halving_is_found() {
        let halving = [(0.9, 16.0), (0.7, 8.0), (0.5, 4.0), (0.3, 2.0)];
        assert!((factor_for_less(&halving, 0.2).unwrap() - 0.5).abs() < 1e-12);
        assert!((factor_for_less(&[(0.9, 5.0), (0.3, 5.0)], 0.2).unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(factor_for_less(&[(0.9, 5.0)], 0.2), None);
        assert_eq!(factor_for_less(&[(0.9, 5.0), (0.7, 0.0)], 0.2), None);
    }
}
