//! Makes the report: trains what is missing, makes the parts of it that are named, and saves every result as soon as it
//! is there.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use iresnet::data::Split;
use iresnet::train::{RunConfig, RunRecord};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::figure2::Figure2;
use crate::figure3::Figure3;
use crate::figure4::Figure4;
use crate::networks::{Network, Networks, networks};
use crate::report::Report;
use crate::result_cache::ResultCache;
use crate::table1::{self, PaperData};
use crate::watcher::Watcher;
use crate::{LabError, Progress, figure1, figure2, figure3, figure4, timing};

/// A part of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Errors, reconstruction errors and guarantees of the six networks.
    Table1,
    /// Trajectories on the line.
    Figure1,
    /// Norms of all convolutions.
    Figure2,
    /// Images and reconstructions.
    Figure3,
    /// Reconstruction error against iterations.
    Figure4,
    /// Seconds of a forward pass and of inverses.
    Timing,
}

impl Part {
    /// All of them, in the order of the report.
    pub const ALL: [Part; 6] = [Part::Table1, Part::Figure1, Part::Figure2, Part::Figure3, Part::Figure4, Part::Timing];

    /// Whether it is of the six networks; Figure 1 has its own.
    pub fn needs_networks(self) -> bool {
        self != Part::Figure1
    }

    /// `table1`, `figure1` and so on.
    pub fn name(self) -> &'static str {
        match self {
            Part::Table1 => "table1",
            Part::Figure1 => "figure1",
            Part::Figure2 => "figure2",
            Part::Figure3 => "figure3",
            Part::Figure4 => "figure4",
            Part::Timing => "timing",
        }
    }
}

/// Test images that are inverted for the table.
pub const INVERTED: usize = 1000;

/// Trains the networks of `record` (its normalisation does not matter) in `out` where they are missing and one of `parts`
/// needs them, and makes `parts`; results are saved in `out/parts`, so that a call that was stopped goes on where it was.
///
/// # Errors
/// A `train.validation` that leaves no images, files that cannot be read or written, a folder with another run, a
/// refuted certificate, or [`LabError::Stopped`] once `stop` is set.
pub fn reproduce(
    record: &RunRecord,
    data: &Split,
    out: &Path,
    parts: &[Part],
    stop: &AtomicBool,
    watcher: &impl Watcher,
) -> Result<Report, LabError> {
    let mut report = Report {
        data: data.name.clone(),
        paper: PaperData::of(record),
        preset: record.preset.clone(),
        seed: record.seed,
        epochs: record.train.epochs,
        version: record.version.clone(),
        device: record.device.clone(),
        threads: rayon::current_num_threads(),
        max_iterations: table1::ITERATIONS,
        ..Report::default()
    };
    let cache = ResultCache::open(&out.join("parts"))?;
    let work = Work { cache, stop, record, data, test: data.test.sha256(), parts, watcher };
    if parts.contains(&Part::Figure1) {
        let settings = figure1::settings(record.seed);
        report.figure1 = Some(work.one("figure1", "figure1", json!(settings), |_| figure1::figure1(settings))?);
    }
    if !parts.iter().any(|part| part.needs_networks()) {
        return Ok(report);
    }
    let Networks { trained, diverged } = networks(record, data, out, stop, watcher)?;
    report.diverged = diverged;
    report.networks = trained.iter().map(Network::label).collect();
    report.config = Some(RunConfig { model: record.model.clone(), train: record.train.clone() });
    if !trained.is_empty() {
        work.add_parts(&mut report, &trained)?;
    }
    Ok(report)
}

/// Work whose results are saved.
struct Work<'a, W> {
    cache: ResultCache,
    stop: &'a AtomicBool,
    record: &'a RunRecord,
    data: &'a Split,
    /// Checksum of the test images and labels.
    test: String,
    parts: &'a [Part],
    watcher: &'a W,
}

impl<W: Watcher> Work<'_, W> {
    /// Makes the parts that are of `trained` networks.
    fn add_parts(&self, report: &mut Report, trained: &[Network]) -> Result<(), LabError> {
        let data = self.data;
        let wanted = |part: Part| self.parts.contains(&part);
        if wanted(Part::Table1) {
            let row = |network: &Network, progress: Progress<'_>| table1::row(network, data, INVERTED, progress);
            report.rows = self.each(trained, Part::Table1, Value::Null, row)?;
        }
        if wanted(Part::Figure2) {
            let norms = |network: &Network, progress: Progress<'_>| Ok(figure2::norms(network, progress));
            report.figure2 = Some(Figure2 { networks: self.each(trained, Part::Figure2, Value::Null, norms)? });
        }
        if wanted(Part::Figure3) {
            let make = |network: &Network, progress: Progress<'_>| figure3::reconstructions(network, data, progress);
            let networks = self.each(trained, Part::Figure3, Value::Null, make)?;
            report.figure3 = Some(Figure3 { networks, ..figure3::originals(self.record, data) });
        }
        if wanted(Part::Figure4) {
            let make = |network: &Network, progress: Progress<'_>| figure4::curves(network, data, progress);
            let curves = self.each(trained, Part::Figure4, Value::Null, make)?;
            report.figure4 = Some(Figure4::of(curves.concat(), data.test.len().min(figure4::SAMPLES)));
        }
        // One will do: the normalised networks differ in their weights only.
        let timed = trained.iter().find(|network| network.coeff().is_some());
        if let Some(network) = timed.filter(|_| wanted(Part::Timing)) {
            let make = |network: &Network, progress: Progress<'_>| Ok(timing::timing(network, data, progress));
            let threads = json!(report.threads);
            report.timing = self.each(std::slice::from_ref(network), Part::Timing, threads, make)?.pop();
        }
        Ok(())
    }

    /// One result a network, saved as `<part>-<network>`.
    fn each<T: Serialize + DeserializeOwned>(
        &self,
        networks: &[Network],
        part: Part,
        settings: Value,
        make: impl Fn(&Network, Progress<'_>) -> Result<T, LabError>,
    ) -> Result<Vec<T>, LabError> {
        let one = |(i, network): (usize, &Network)| {
            let key = json!([network.file_sha256, self.test, settings]);
            let name = format!("{}-{}", part.name(), network.name());
            let what = format!("{} {}/{}, {}", part.name(), i + 1, networks.len(), network.label());
            self.one(&name, &what, key, |progress| make(network, progress))
        };
        networks.iter().enumerate().map(one).collect()
    }

    /// The result saved as `name`, which is made, with word of how far it is, if it is not there.
    fn one<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        what: &str,
        key: Value,
        make: impl FnOnce(Progress<'_>) -> Result<T, LabError>,
    ) -> Result<T, LabError> {
        // Devices round differently, and so do levels of a CPU's instructions, which are part of the device's name.
        self.cache.get_or(name, json!([self.record.device, key]), || {
            if self.stop.load(Ordering::Relaxed) {
                return Err(LabError::Stopped);
            }
            self.watcher.work(what, 0, 1);
            let made = make(Some(&|done, all| self.watcher.work(what, done, all)))?;
            self.watcher.made(what);
            Ok(made)
        })
    }
}
