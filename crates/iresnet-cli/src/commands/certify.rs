//! `iresnet certify`

use anyhow::Result;
use iresnet::certificate::Certificate;
use iresnet::model::IResNet;
use iresnet::train::{RunDir, write_atomically};

use crate::Verdict;
use crate::args::CertifyArgs;
use crate::terminal::bar;

/// The certificate of `model`, with a bar while it is made.
pub fn certify(model: &IResNet) -> Certificate {
    let progress = bar(3 * model.layout().num_blocks() as u64, "certifying");
    let certificate = Certificate::of(model, |done, _| progress.set_position(done as u64));
    progress.finish_and_clear();
    certificate
}

pub fn run(args: CertifyArgs) -> Result<Verdict> {
    let dir = RunDir::open(&args.run)?;
    let (record, model) = dir.load()?;
    let certificate = certify(&model);
    let text = serde_json::to_string_pretty(&certificate)?;
    write_atomically(&dir.path().join("certificate.json"), text.as_bytes())?;
    if args.json {
        println!("{}", serde_json::to_string(&certificate)?);
    } else {
        println!("{} of {}", record.model.norm.label(), args.run.display());
        let largest = certificate.largest_block_lipschitz();
        println!("largest Lip(h g) of a block   at most {largest:.6}");
        println!("Lip(F)                        at most {:.4e}", certificate.lipschitz_forward);
        match certificate.lipschitz_inverse {
            Some(inverse) => {
                println!("Lip(F^-1)                     at most {inverse:.4e}");
                println!("certified: the inverse exists everywhere");
            }
            None => {
                println!("not certified: {} of {} blocks fail", certificate.reasons.len(), certificate.blocks.len());
                certificate.reasons.iter().for_each(|reason| println!("  {reason}"));
            }
        }
    }
    Ok(if certificate.certified { Verdict::Done } else { Verdict::ClaimFails })
}
