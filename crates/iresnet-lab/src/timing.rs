//! How long a forward pass and inverses take, for 100 images.

use std::time::Instant;

use iresnet::data::Split;
use iresnet::solve::Picard;
use serde::{Deserialize, Serialize};

use crate::Progress;
use crate::networks::Network;
use crate::progress::tell;
use crate::round_trip::RoundTrip;

/// Images a call.
const IMAGES: usize = 100;
/// Timed calls, after one that is not.
const CALLS: usize = 3;
/// Iterations a block.
const ITERATIONS: [usize; 4] = [5, 10, 20, 100];

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// `forward`, or `5 iterations` and so on.
    pub what: String,
    /// Seconds of the fastest call.
    pub best_seconds: f64,
    /// Seconds of the median call.
    pub median_seconds: f64,
}

/// The timing table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Timing {
    /// Label of the model; all take the same time.
    pub model: String,
    /// Images a call.
    pub images: usize,
    /// Timed calls.
    pub calls: usize,
    /// The lines.
    pub rows: Vec<Call>,
}

/// Seconds of `calls` calls, the fastest first, after one that is not counted.
pub fn seconds(calls: usize, mut call: impl FnMut()) -> Vec<f64> {
    call();
    let mut seconds: Vec<f64> = (0..calls)
        .map(|_| {
            let begun = Instant::now();
            call();
            begun.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds
}

/// Times the trunk of `network` forward, and Picard's method with every iteration made, converged or not.
pub fn timing(network: &Network, data: &Split, progress: Progress<'_>) -> Timing {
    let trip = RoundTrip::new(network, &data.test.spread(IMAGES));
    let time = |what: String, call: &dyn Fn()| {
        let seconds = seconds(CALLS, call);
        Call { what, best_seconds: seconds[0], median_seconds: seconds[CALLS / 2] }
    };
    let mut rows = vec![time("forward".into(), &|| trip.forward())];
    for iterations in ITERATIONS {
        rows.push(time(format!("{iterations} iterations"), &|| trip.iterate(&Picard, iterations)));
        tell(progress, rows.len() - 1, ITERATIONS.len());
    }
    Timing { model: network.label(), images: trip.samples(), calls: CALLS, rows }
}
