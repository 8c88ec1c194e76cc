//! How calls are timed, and what is said of them.

use anyhow::Result;
use clap::Args;
use iresnet::device::{Cpu, Device};
use iresnet::model::peak_resident_bytes;
use iresnet_lab::timing::seconds;
use serde::Serialize;

use crate::options::values::at_least_one;
use crate::output::{self, out};
use crate::terminal::set_threads;

/// Options of everything that is timed.
#[derive(Args, Debug)]
pub struct TimingArgs {
    /// Threads [default: all cores]
    #[arg(long)]
    threads: Option<usize>,
    /// Timed calls
    #[arg(long, default_value_t = 10, value_parser = at_least_one)]
    repeat: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What is timed, and what it found.
#[derive(Debug, Default)]
pub struct Case {
    pub kind: &'static str,
    /// Preset or run; empty for one layer or block.
    pub preset: String,
    /// The CPU unless another one is named.
    pub device: Option<String>,
    /// Images a call, if it takes images.
    pub batch: Option<usize>,
    pub iterations: Option<usize>,
    pub memory: Option<String>,
    pub found: Found,
}

/// What an inverse reached: mean of `||x - x^|| / ||x||`, and iterations a block and image.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Found {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normed_l2: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_iterations: Option<f64>,
}

/// What `--json` prints; seconds a call.
#[derive(Serialize)]
struct Timing {
    kind: &'static str,
    preset: String,
    device: String,
    batch: Option<usize>,
    iterations: Option<usize>,
    memory: Option<String>,
    threads: usize,
    repeat: usize,
    best: f64,
    median: f64,
    peak_rss_bytes: u64,
    #[serde(flatten)]
    found: Found,
}

impl TimingArgs {
    /// Starts the threads; comes before anything that uses them.
    pub fn start(&self) -> Result<()> {
        set_threads(self.threads)
    }

    /// Seconds of every call, the fastest first.
    pub fn seconds(&self, call: impl FnMut()) -> Vec<f64> {
        seconds(self.repeat, call)
    }

    /// Prints what `seconds` took.
    pub fn report(&self, case: Case, seconds: &[f64]) -> Result<()> {
        let timing = Timing {
            kind: case.kind,
            preset: case.preset,
            device: case.device.unwrap_or_else(|| Cpu.name()),
            batch: case.batch,
            iterations: case.iterations,
            memory: case.memory,
            threads: rayon::current_num_threads(),
            repeat: self.repeat,
            best: seconds[0],
            median: seconds[seconds.len() / 2],
            peak_rss_bytes: peak_resident_bytes(),
            found: case.found,
        };
        if self.json {
            return output::json(&timing);
        }
        out!(
            "{} {}: best {:.4} s, median {:.4} s, {}{} threads, peak {} MiB",
            timing.kind,
            timing.preset,
            timing.best,
            timing.median,
            timing.batch.map_or(String::new(), |batch| format!("batch {batch}, ")),
            timing.threads,
            timing.peak_rss_bytes >> 20
        );
        if let (Some(error), Some(iterations)) = (timing.found.normed_l2, timing.found.mean_iterations) {
            out!("normed L2 {error:.2e}, {iterations:.2} iterations a block");
        }
        Ok(())
    }
}
