//! Running the program, and small networks to run it on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

pub fn iresnet(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iresnet"));
    command.args(args).env_remove("IRESNET_DATA");
    command
}

pub fn run(args: &[&str]) -> Output {
    iresnet(args).output().unwrap()
}

/// Exit code, standard output, standard error.
pub fn parts(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[track_caller]
pub fn succeeds(args: &[&str]) -> String {
    let (code, out, err) = parts(&run(args));
    assert_eq!(code, 0, "{args:?}\n{out}\n{err}");
    out
}

/// The command fails with `code` and a message that holds all `words`; it never panics.
#[track_caller]
pub fn fails(args: &[&str], code: i32, words: &[&str]) {
    let (found, out, err) = parts(&run(args));
    assert_eq!(found, code, "{args:?}\n{out}\n{err}");
    assert!(!err.contains("panicked"), "{err}");
    for word in words {
        assert!(err.contains(word), "{args:?} should say {word:?}:\n{err}");
    }
}

/// A small network that trains in a moment.
pub const SMALL: [&str; 6] = ["--set", "model.blocks=[1,1]", "--set", "train.shift=0", "--batch", "128"];

/// A training that brings the norms of all layers to their bounds, or far above 1 without any, within seconds.
pub const UNCLIPPED: [&str; 6] = ["--epochs", "3", "--set", "train.clip_norm=0", "--set", "train.muon_rate=0"];

pub fn train<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "--out", out][..], &SMALL, more].concat()
}

pub fn path(dir: &tempfile::TempDir, name: &str) -> String {
    dir.path().join(name).to_str().unwrap().into()
}

pub fn wait_for(path: &Path) {
    let begun = Instant::now();
    while !path.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{} never came", path.display());
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

/// The values of a float32 tensor in a `.safetensors` file.
pub fn tensor(file: &str, name: &str) -> Vec<f32> {
    let bytes = fs::read(file).unwrap();
    let (len, rest) = bytes.split_at(8);
    let (header, data) = rest.split_at(u64::from_le_bytes(len.try_into().unwrap()) as usize);
    let header: serde_json::Value = serde_json::from_slice(header).unwrap();
    let at = |i: usize| header[name]["data_offsets"][i].as_u64().unwrap() as usize;
    data[at(0)..at(1)].as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect()
}

pub fn copy_run(from: &str, to: &str) -> PathBuf {
    fs::create_dir_all(to).unwrap();
    for file in ["config.json", "last.safetensors"] {
        fs::copy(Path::new(from).join(file), Path::new(to).join(file)).unwrap();
    }
    PathBuf::from(to)
}
