//! `iresnet certify --finalize`

use std::path::PathBuf;

use anyhow::Result;
use iresnet::certificate::{RescaledLayer, finalize};
use iresnet::evaluate::error_percent;
use iresnet::model::{Examined, IResNet};
use iresnet::train::{RunDir, RunRecord, write_atomically};
use serde::Serialize;

use super::args::CertifyArgs;
use super::proof::{save, show};
use crate::inputs::load_for_run;
use crate::output::out;
use crate::terminal::{at, bar};

/// What `rescaling.json` holds.
#[derive(Serialize)]
pub struct Report {
    /// The new run folder.
    folder: PathBuf,
    /// Bound of `Lip(h g)` that blocks above it were brought to.
    target: f64,
    /// Error on the test set in percent, before and after.
    error_percent: [f64; 2],
    /// Layers that were scaled; the others are as they were.
    layers: Vec<RescaledLayer>,
    weights_sha256: String,
}

/// Makes `RUN/finalized`, a run folder with new weights and their certificate; `None` if there is nothing to do.
pub fn run(
    args: &CertifyArgs,
    dir: &RunDir,
    record: &RunRecord,
    model: &IResNet,
    examined: &Examined,
) -> Result<Option<Report>> {
    let certificate = examined.certificate();
    if certificate.certified && certificate.largest_block_lipschitz() <= args.target {
        if !args.json {
            out!("nothing to finalize: every block is at most {}", args.target);
        }
        return Ok(None);
    }
    // Data that cannot be loaded is said before any work.
    let loaded = load_for_run(record, &args.data)?;
    let progress = bar(3 * model.layout().num_blocks() as u64, "finalizing");
    let finalized = finalize(model, examined, args.target, Some(&at(&progress)));
    progress.finish_and_clear();
    let finalized = finalized?;
    let test = &loaded.split.test;
    let error = |model: &IResNet| {
        let progress = bar(test.len() as u64, "classifying");
        let error = error_percent(model, test, &record.normalization, Some(&at(&progress)));
        progress.finish_and_clear();
        error
    };
    let error_percent = [error(model), error(&finalized.model)];
    let folder = RunDir::create(&dir.path().join("finalized"), record, true)?;
    let weights = finalized.model.to_safetensors();
    write_atomically(&folder.path().join("last.safetensors"), &weights)?;
    save(finalized.examined.certificate(), args.tolerance, folder.path())?;
    let report = Report {
        folder: folder.path().into(),
        target: args.target,
        error_percent,
        layers: finalized.layers,
        weights_sha256: finalized.examined.certificate().weights_sha256.clone(),
    };
    write_atomically(&folder.path().join("rescaling.json"), serde_json::to_string_pretty(&report)?.as_bytes())?;
    if !args.json {
        let all = 3 * model.layout().num_blocks();
        out!("finalized: {} of {all} layers scaled, blocks at most {}", report.layers.len(), args.target);
        for layer in &report.layers {
            out!("  {:<28} norm at most {:>9.4}, times {:.6}", layer.name, layer.norm.value(), layer.factor);
        }
        let [before, after] = report.error_percent;
        out!("test error                    {before:.2} % before, {after:.2} % after");
        show(finalized.examined.certificate(), args.tolerance);
        out!("the new network is the run {}", report.folder.display());
    }
    Ok(Some(report))
}
