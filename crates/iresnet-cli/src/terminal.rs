//! Progress bars, Ctrl-C and threads: what concerns the terminal and the process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Result;
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use iresnet::train::{BatchReport, EpochRecord, Observer};

use crate::error::UsageError;
use crate::output::say;

/// Set on the first Ctrl-C; the second one ends the process at once.
pub fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = stop.clone();
    ctrlc::set_handler(move || {
        if seen.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        say!("\nstopping once what is at hand is done and saved; Ctrl-C again stops at once");
    })?;
    Ok(stop)
}

/// A bar on a terminal, nothing elsewhere; a terminal that is gone is not an error to it.
pub fn bar(len: u64, what: &str) -> ProgressBar {
    let bar = styled(len, what, "{prefix} {wide_bar} {pos}/{len} {msg} {eta} left");
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

fn styled(len: u64, what: &str, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(len), ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template(template).expect("a valid template"));
    bar.set_prefix(what.to_string());
    bar
}

/// Moves a bar to the units that are done.
pub fn at(bar: &ProgressBar) -> impl Fn(usize, usize) + Sync {
    |done, _| bar.set_position(done as u64)
}

/// A bar for the data set `name`, once something of it is downloaded.
pub fn download_bar(name: &str) -> impl Fn(usize, usize) + Sync {
    let bar = OnceLock::new();
    move |done, total| {
        let template = "{prefix} {wide_bar} {bytes}/{total_bytes} {eta} left";
        let bar = bar.get_or_init(|| styled(total as u64, name, template));
        bar.set_position(done as u64);
    }
}

/// Shows a training run: one bar over all epochs on a terminal, a plain line an epoch everywhere.
pub struct TrainingProgress {
    bar: Option<ProgressBar>,
    label: String,
    later_epochs: usize,
}

impl TrainingProgress {
    /// `label` begins every line; `later_epochs` of other runs come after this one and count as time left.
    pub fn new(label: impl Into<String>, later_epochs: usize) -> Self {
        TrainingProgress { bar: None, label: label.into(), later_epochs }
    }
}

impl Observer for TrainingProgress {
    fn batch(&mut self, report: &BatchReport) {
        let position = ((report.epoch - 1) * report.batches + report.batch) as u64;
        let bar = self.bar.get_or_insert_with(|| {
            let bar = bar((report.epochs * report.batches) as u64, &self.label);
            // A resumed run has not done its first part in this time.
            bar.set_position(position);
            bar.reset_eta();
            bar
        });
        bar.set_position(position);
        bar.set_message(format!("loss {:.3} error {:.1} %", report.loss, report.error_percent));
    }

    fn epoch(&mut self, record: &EpochRecord, epochs: usize) {
        let line = format!(
            "{} epoch {}/{epochs}: loss {:.4}, training error {:.2} %, {}test error {:.2} %, rate {:.4}, {:.1} s, peak {} MiB{}, about {} of training left",
            self.label,
            record.epoch,
            record.train_loss,
            record.train_error_percent,
            record.validation_error_percent.map_or(String::new(), |error| format!("validation error {error:.2} %, ")),
            record.test_error_percent,
            record.learning_rate,
            record.seconds,
            record.peak_resident_bytes >> 20,
            match record.recomputed_blocks {
                0 => String::new(),
                n => format!(", {n} blocks not invertible"),
            },
            HumanDuration(Duration::from_secs_f64(
                record.seconds * (epochs.saturating_sub(record.epoch) + self.later_epochs) as f64
            ))
        );
        match &self.bar {
            Some(bar) if !bar.is_hidden() => bar.println(line),
            _ => say!("{line}"),
        }
        if record.epoch == epochs
            && let Some(bar) = self.bar.take()
        {
            bar.finish_and_clear();
        }
    }
}

/// More than any machine this is meant for has cores.
const MOST_THREADS: usize = 1024;

/// Sizes the thread pool that all kernels share.
pub fn set_threads(threads: Option<usize>) -> Result<()> {
    if let Some(threads) = threads {
        if !(1..=MOST_THREADS).contains(&threads) {
            return Err(UsageError(format!("--threads {threads} must be from 1 to {MOST_THREADS}")).into());
        }
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    }
    Ok(())
}
