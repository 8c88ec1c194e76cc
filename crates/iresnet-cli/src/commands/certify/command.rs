//! `iresnet certify`: prove or verify, then finalize and bound margins if asked.

use anyhow::Result;
use iresnet::train::RunDir;
use serde_json::json;

use super::args::CertifyArgs;
use super::proof::{FILE, certify, save, show, verify};
use super::{finalize, margin};
use crate::commands::verdict::Verdict;
use crate::output::out;

pub fn run(args: CertifyArgs) -> Result<Verdict> {
    args.check()?;
    let dir = RunDir::open(&args.run)?;
    let (record, model) = dir.load()?;
    let verified = args.verify.as_ref().map(|file| file.clone().unwrap_or_else(|| dir.path().join(FILE)));
    let examined = match &verified {
        Some(file) => verify(file, &model)?,
        None => certify(&model),
    };
    let certificate = examined.certificate();
    let saved = if verified.is_some() { Ok(()) } else { save(certificate, args.tolerance, dir.path()) };
    let mut value = certificate.to_json(args.tolerance);
    // Shown first: a folder that cannot be written loses nobody the proof.
    if !args.json {
        out!("{} of {}", record.model.norm.label(), args.run.display());
        show(certificate, args.tolerance);
        if let Some(file) = &verified {
            out!("verified: {} says the same, of weights with SHA-256 {}", file.display(), certificate.weights_sha256);
        }
    }
    saved?;
    let mut holds = certificate.certified;
    if args.finalize {
        let report = finalize::run(&args, &dir, &record, &model, &examined)?;
        holds |= report.is_some();
        value["finalized"] = json!(report);
    } else if !(args.json || holds) {
        out!("`iresnet certify {} --finalize` makes a copy that is certified", args.run.display());
    }
    if let Some(radii) = args.margins() {
        value["margins"] = json!(margin::run(&args, &radii, &dir, &record, &examined)?);
    }
    if args.json {
        out!("{value}");
    }
    Ok(if holds { Verdict::Done } else { Verdict::ClaimFails })
}
