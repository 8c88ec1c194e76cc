//! The certificate of a network: made, verified, saved, shown.

use std::path::Path;

use anyhow::{Result, anyhow};
use iresnet::certificate::{Certificate, Refused};
use iresnet::model::{Examined, IResNet};
use iresnet::train::{RunError, write_atomically};

use crate::error::RefusedFile;
use crate::output::out;
use crate::terminal::{at, bar};

/// The certificate in a run folder.
pub const FILE: &str = "certificate.json";

/// `model` examined, with a bar meanwhile.
pub fn certify(model: &IResNet) -> Examined {
    let progress = bar(3 * model.layout().num_blocks() as u64, "certifying");
    let examined = model.prepare().examine(Some(&at(&progress)));
    progress.finish_and_clear();
    examined
}

/// Writes the certificate into the folder `dir`.
pub fn save(certificate: &Certificate, tolerance: f64, dir: &Path) -> Result<(), RunError> {
    write_atomically(&dir.join(FILE), format!("{:#}", certificate.to_json(tolerance)).as_bytes())
}

/// Proves again what the certificate at `path` says of `model`.
pub fn verify(path: &Path, model: &IResNet) -> Result<Examined> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        anyhow!("cannot read {}: {error}; `iresnet certify` without --verify makes a certificate", path.display())
    })?;
    let progress = bar(3 * model.layout().num_blocks() as u64, "verifying");
    let verified = model.prepare().verify(&text, Some(&at(&progress)));
    progress.finish_and_clear();
    verified.map_err(|refused| match refused {
        Refused::Format { .. } => anyhow!("{} {refused}", path.display()),
        refused => RefusedFile { path: path.into(), refused }.into(),
    })
}

/// Prints what is proved.
pub fn show(certificate: &Certificate, tolerance: f64) {
    out!("largest Lip(h g) of a block   at most {:.6}", certificate.largest_block_lipschitz());
    let training = certificate.blocks.iter().map(|b| b.lipschitz_training.map_or(f64::INFINITY, |l| l.value()));
    let training = training.fold(0.0, f64::max);
    if training.is_infinite() {
        out!("in training                   no bound: batches have deviations of their own");
    } else if training > certificate.largest_block_lipschitz() * (1.0 + 1e-9) {
        out!("in training, with dropout     at most {training:.6}");
    }
    out!("Lip(F)                        at most {:.4e}", certificate.lipschitz_forward);
    let Some(inverse) = certificate.lipschitz_inverse else {
        out!("not certified: {} of {} blocks fail", certificate.reasons.len(), certificate.blocks.len());
        certificate.reasons.iter().for_each(|reason| out!("  {reason}"));
        return;
    };
    out!("Lip(F^-1)                     at most {inverse:.4e}");
    let iterations: Vec<usize> = certificate.iterations(tolerance).into_iter().flatten().collect();
    out!(
        "Picard's iterations           at most {} in a block, {} in all, to {tolerance:e} of its first step",
        iterations.iter().max().unwrap_or(&0),
        iterations.iter().sum::<usize>()
    );
    out!("certified: the inverse exists everywhere");
}
