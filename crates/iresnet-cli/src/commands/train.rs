//! `iresnet train`

use anyhow::Result;
use iresnet::device::DeviceChoice;
use iresnet::model::{Layout, Memory, available_bytes};
use iresnet::train::{Ended, RunDir, RunRecord, train};

use crate::Verdict;
use crate::args::{MemoryChoice, TrainArgs, UsageError, only_on_cpu};
use crate::terminal::{self, TrainingProgress};

use super::data::load;

pub fn run(args: TrainArgs) -> Result<Verdict> {
    let config = args.config()?;
    terminal::set_threads(args.threads)?;
    let device = args.device.open()?;
    let loaded = load(&args.data, &args.data_dir)?;
    let mut record = loaded.record(&args.preset_name(), config, args.seed);
    if args.device.choice == DeviceChoice::Vulkan {
        eprintln!("device: {}", device.name);
    }
    record.device = device.name;
    record.memory = memory(&args, &record)?;
    let dir = RunDir::create(&args.out, &record, args.resume)?;
    let stop = terminal::stop_flag()?;
    let mut progress = TrainingProgress::new(record.model.norm.label(), 0);
    let (_, state, ended) = train(&dir, &record, &loaded.split, &device.device, &stop, &mut progress)?;
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

/// The mode that was asked for, or one that fits; says which, and why.
fn memory(args: &TrainArgs, record: &RunRecord) -> Result<Memory> {
    if args.device.choice == DeviceChoice::Vulkan {
        return match args.memory {
            MemoryChoice::Auto | MemoryChoice::Fixed(Memory::Standard) => Ok(Memory::Standard),
            MemoryChoice::Fixed(other) => Err(only_on_cpu(&format!("--memory {other}"))),
        };
    }
    let layout = Layout::new(&record.model, record.input).map_err(|e| UsageError(e.to_string()))?;
    let predicted = |memory: Memory| memory.predicted_bytes(&layout, record.train.batch_size) >> 20;
    let available = available_bytes();
    let memory = match args.memory {
        MemoryChoice::Fixed(memory) => memory,
        MemoryChoice::Auto => Memory::choose(&record.model, &layout, record.train.batch_size, available),
    };
    memory.check(&record.model).map_err(UsageError)?;
    let available = available.map_or("memory unknown".into(), |bytes| format!("{} MiB available", bytes >> 20));
    eprintln!("memory: {memory}, about {} MiB a step, {available}", predicted(memory));
    Ok(memory)
}
