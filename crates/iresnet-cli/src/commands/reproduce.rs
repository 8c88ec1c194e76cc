//! `iresnet reproduce`

use anyhow::{Context, Result};
use iresnet::train::{RunConfig, write_atomically};
use iresnet_lab::{report, table1};

use crate::Verdict;
use crate::args::{ReproduceArgs, UsageError, default_preset};
use crate::terminal::{self, TrainingProgress};

use super::data::load;

/// Test images that are inverted.
const INVERTED: usize = 1000;
const PARTS: [&str; 1] = ["table1"];

pub fn run(args: ReproduceArgs) -> Result<Verdict> {
    if let Some(unknown) = args.only.iter().find(|part| !PARTS.contains(&part.as_str())) {
        return Err(UsageError(format!("--only {unknown} is unknown; there is {}", PARTS.join(", "))).into());
    }
    let preset = args.preset.clone().unwrap_or_else(|| default_preset(&args.data).into());
    let mut config = RunConfig::preset(&preset).map_err(|e| UsageError(e.to_string()))?;
    config.train.epochs = args.epochs.unwrap_or(config.train.epochs);
    config.validate().map_err(|e| UsageError(e.to_string()))?;
    let loaded = load(&args.data, &args.data_dir)?;
    let name = &loaded.split.name;
    let out = args.out.unwrap_or_else(|| format!("runs/reproduce-{}", name.trim_end_matches(" (image folder)")).into());
    // The place of the results is opened before hours of work go into them.
    std::fs::create_dir_all(&out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    let record = loaded.record(&preset, config, args.seed);
    let stop = terminal::stop_flag()?;
    let observer = |norm: iresnet::model::Norm| TrainingProgress::new(format!("{:<10}", norm.label()));
    let Some(table) = table1::table1(&record, &loaded.split, &out, INVERTED, &stop, observer)? else {
        anyhow::bail!("stopped; the same command goes on where it was");
    };
    let json = serde_json::to_string_pretty(&table.rows)?;
    let files = [
        ("table1.json", json.clone()),
        ("report.md", report::markdown(&table)),
        ("report.html", report::html(&table)),
        ("report.json", serde_json::to_string_pretty(&table)?),
    ];
    for (file, content) in &files {
        write_atomically(&out.join(file), content.as_bytes())?;
    }
    if args.json {
        println!("{}", serde_json::to_string(&table)?);
    } else {
        print!("{}", report::text(&table));
        println!("\nreport: {}", out.join("report.html").display());
    }
    Ok(Verdict::Done)
}
