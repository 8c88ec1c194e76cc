//! `iresnet certify`

mod finalize;
mod margin;

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use clap::Args;
use iresnet::certificate::{Certificate, Refused};
use iresnet::model::IResNet;
use iresnet::train::{RunDir, RunError, write_atomically};
use serde_json::json;

use super::Verdict;
use crate::args::{RunData, UsageError};
use crate::terminal::bar;

#[derive(Args, Debug)]
pub struct CertifyArgs {
    /// Run folder; the certificate is written to its certificate.json
    run: PathBuf,
    /// Count the iterations of Picard's method down to this part of a block's first step
    #[arg(long, default_value_t = 1e-6, allow_negative_numbers = true)]
    tolerance: f64,
    /// Check a certificate against the run instead: prove it again, write nothing [default FILE: RUN/certificate.json]
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, conflicts_with_all = ["finalize", "margin", "radii"])]
    verify: Option<Option<PathBuf>>,
    /// Scale the layers of blocks above --target, no others, into the certified run RUN/finalized
    #[arg(long)]
    finalize: bool,
    /// Bound of Lip(h g) that --finalize brings blocks down to
    #[arg(long, default_value_t = 0.99, requires = "finalize", allow_negative_numbers = true)]
    target: f64,
    /// Within which L2 radius each test image keeps its class for certain, into RUN/margins.json
    #[arg(long)]
    margin: bool,
    /// Certified accuracy at these radii, pixels from 0 to 1, separated by commas; implies --margin
    #[arg(long, value_name = "R,...", value_delimiter = ',', allow_negative_numbers = true)]
    radii: Vec<f64>,
    #[command(flatten)]
    data: RunData,
    /// Print the certificate, and what else was asked for, as one JSON object
    #[arg(long)]
    json: bool,
}

/// The certificate in a run folder.
const FILE: &str = "certificate.json";

/// The certificate of `model`, with a bar while it is made.
pub fn certify(model: &IResNet) -> Certificate {
    let progress = bar(3 * model.layout().num_blocks() as u64, "certifying");
    let certificate = Certificate::of(model, |done, _| progress.set_position(done as u64));
    progress.finish_and_clear();
    certificate
}

/// Writes the certificate into the folder `dir`.
fn save(certificate: &Certificate, tolerance: f64, dir: &Path) -> Result<(), RunError> {
    write_atomically(&dir.join(FILE), format!("{:#}", certificate.to_json(tolerance)).as_bytes())
}

pub fn run(args: CertifyArgs) -> Result<Verdict> {
    args.check()?;
    let dir = RunDir::open(&args.run)?;
    let (record, model) = dir.load()?;
    let verified = args.verify.as_ref().map(|file| file.clone().unwrap_or_else(|| dir.path().join(FILE)));
    let (certificate, saved) = match &verified {
        Some(file) => (verify(file, &model)?, Ok(())),
        None => {
            let certificate = certify(&model);
            let saved = save(&certificate, args.tolerance, dir.path());
            (certificate, saved)
        }
    };
    let mut value = certificate.to_json(args.tolerance);
    // Shown first: a folder that cannot be written loses nobody the proof.
    if !args.json {
        println!("{} of {}", record.model.norm.label(), args.run.display());
        show(&certificate, args.tolerance);
        if let Some(file) = &verified {
            println!(
                "verified: {} says the same, of weights with SHA-256 {}",
                file.display(),
                certificate.weights_sha256
            );
        }
    }
    saved?;
    let mut holds = certificate.certified;
    if args.finalize {
        let report = finalize::run(&args, &dir, &record, &model, &certificate)?;
        holds |= report.is_some();
        value["finalized"] = json!(report);
    } else if !(args.json || holds) {
        println!("`iresnet certify {} --finalize` makes a copy that is certified", args.run.display());
    }
    if let Some(radii) = args.margins() {
        value["margins"] = json!(margin::run(&args, &radii, &dir, &record, &model, &certificate)?);
    }
    if args.json {
        println!("{value}");
    }
    Ok(if holds { Verdict::Done } else { Verdict::ClaimFails })
}

/// A certificate in a file that is not true of the weights in use.
#[derive(Debug)]
pub struct RefusedFile {
    path: PathBuf,
    refused: Refused,
}

impl std::fmt::Display for RefusedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.path.display(), self.refused)
    }
}

impl std::error::Error for RefusedFile {}

/// Proves again what the certificate at `path` says of `model`.
fn verify(path: &Path, model: &IResNet) -> Result<Certificate> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        anyhow!("cannot read {}: {error}; `iresnet certify` without --verify makes a certificate", path.display())
    })?;
    let progress = bar(3 * model.layout().num_blocks() as u64, "verifying");
    let verified = Certificate::verify(&text, model, |done, _| progress.set_position(done as u64));
    progress.finish_and_clear();
    verified.map_err(|refused| match refused {
        Refused::Format { .. } => anyhow!("{} {refused}", path.display()),
        refused => RefusedFile { path: path.into(), refused }.into(),
    })
}

fn show(certificate: &Certificate, tolerance: f64) {
    println!("largest Lip(h g) of a block   at most {:.6}", certificate.largest_block_lipschitz());
    let training = certificate.blocks.iter().map(|b| b.lipschitz_training.map_or(f64::INFINITY, |l| l.value()));
    let training = training.fold(0.0, f64::max);
    if training.is_infinite() {
        println!("in training                   no bound: batches have deviations of their own");
    } else if training > certificate.largest_block_lipschitz() * (1.0 + 1e-9) {
        println!("in training, with dropout     at most {training:.6}");
    }
    println!("Lip(F)                        at most {:.4e}", certificate.lipschitz_forward);
    let Some(inverse) = certificate.lipschitz_inverse else {
        println!("not certified: {} of {} blocks fail", certificate.reasons.len(), certificate.blocks.len());
        certificate.reasons.iter().for_each(|reason| println!("  {reason}"));
        return;
    };
    println!("Lip(F^-1)                     at most {inverse:.4e}");
    let iterations: Vec<usize> = certificate.iterations(tolerance).into_iter().flatten().collect();
    println!(
        "Picard's iterations           at most {} in a block, {} in all, to {tolerance:e} of its first step",
        iterations.iter().max().unwrap_or(&0),
        iterations.iter().sum::<usize>()
    );
    println!("certified: the inverse exists everywhere");
}

impl CertifyArgs {
    /// Radii that were asked for, if margins were.
    fn margins(&self) -> Option<Vec<f64>> {
        match self.radii.is_empty() {
            true => self.margin.then(|| margin::RADII.to_vec()),
            false => Some(self.radii.clone()),
        }
    }

    fn check(&self) -> Result<(), UsageError> {
        if self.data.data.is_some() && !self.finalize && self.margins().is_none() {
            return Err(UsageError("--data is for --finalize, --margin and --radii; a proof needs no images".into()));
        }
        if !(self.tolerance > 0.0 && self.tolerance.is_finite()) {
            return Err(UsageError(format!("--tolerance {} must be positive, such as 1e-6", self.tolerance)));
        }
        if !(self.target > 0.0 && self.target < 1.0) {
            return Err(UsageError(format!("--target {} must be strictly between 0 and 1", self.target)));
        }
        if let Some(radius) = self.radii.iter().find(|r| !(**r >= 0.0 && r.is_finite())) {
            return Err(UsageError(format!("--radii {radius} must be zero or positive, such as 0.01,0.1")));
        }
        Ok(())
    }
}
