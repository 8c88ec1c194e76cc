//! `iresnet train`

use anyhow::Result;
use iresnet::Device;
use iresnet::train::{Ended, RunDir, train};

use crate::Verdict;
use crate::args::TrainArgs;
use crate::terminal::{self, TrainingProgress};

use super::data::load;

pub fn run(args: TrainArgs) -> Result<Verdict> {
    let config = args.config()?;
    terminal::set_threads(args.threads)?;
    let loaded = load(&args.data, &args.data_dir)?;
    let record = loaded.record(&args.preset_name(), config, args.seed);
    let dir = RunDir::create(&args.out, &record, args.resume)?;
    let stop = terminal::stop_flag()?;
    let mut progress = TrainingProgress::new(record.model.norm.label());
    let (_, state, ended) = train(&dir, &record, &loaded.split, &Device::flex(), &stop, &mut progress)?;
    let path = dir.path().display();
    match ended {
        Ended::Finished => {
            let last = state.epochs.last().map_or(f64::NAN, |e| e.test_error_percent);
            eprintln!("done: test error {last:.2} %; weights in {path}/last.safetensors");
        }
        Ended::Stopped => eprintln!(
            "stopped in epoch {}, step {}; go on with the same command and --resume",
            state.epoch + 1,
            state.batch
        ),
    }
    Ok(Verdict::Done)
}
