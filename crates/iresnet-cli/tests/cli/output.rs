//! Readers that go away and disks that fill: the exit code stays the command's own, and nothing is lost.

use std::fs;
use std::io::PipeWriter;
use std::path::Path;
use std::process::Command;

use crate::common::*;

/// A pipe whose reader has gone before anything was written.
fn closed() -> PipeWriter {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer
}

fn code(command: &mut Command) -> Option<i32> {
    // Takes what is not closed.
    command.output().unwrap().status.code()
}

#[test]
fn a_closed_pipe_does_not_change_a_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let (vanilla, certified) = (path(&dir, "vanilla"), path(&dir, "certified"));
    succeeds(&train(&vanilla, &[&UNCLIPPED[..], &["--norm", "none"]].concat()));
    succeeds(&train(&certified, &["--epochs", "1"]));
    for (run, verdict) in [(&vanilla, 3), (&certified, 0)] {
        for more in [&["--json"][..], &[], &["--verify"], &["--verify", "--json"]] {
            let arguments = [&["certify", run], more].concat();
            assert_eq!(code(iresnet(&arguments).stdout(closed())), Some(verdict), "{arguments:?}");
            assert_eq!(code(iresnet(&arguments).stdout(closed()).stderr(closed())), Some(verdict), "{arguments:?}");
        }
        assert!(Path::new(run).join("certificate.json").is_file(), "the proof is saved all the same");
    }
    let forged = path(&dir, "forged.json");
    let mut lie = json(&fs::read_to_string(Path::new(&certified).join("certificate.json")).unwrap());
    lie["lipschitz_forward"] = serde_json::json!(1.5);
    fs::write(&forged, lie.to_string()).unwrap();
    let verify = format!("--verify={forged}");
    let arguments = ["certify", &certified, &verify];
    assert_eq!(code(iresnet(&arguments).stdout(closed())), Some(3));
    assert_eq!(code(iresnet(&arguments).stdout(closed()).stderr(closed())), Some(3));
    // Wrong use stays wrong use, and help is help.
    assert_eq!(code(iresnet(&["certify"]).stdout(closed()).stderr(closed())), Some(2));
    assert_eq!(code(iresnet(&["train", "--help"]).stdout(closed())), Some(0));
}

#[test]
fn training_does_not_need_anybody_to_read_its_progress() {
    let dir = tempfile::tempdir().unwrap();
    let out = path(&dir, "run");
    assert_eq!(code(iresnet(&train(&out, &["--epochs", "2"])).stderr(closed())), Some(0));
    let metrics = fs::read_to_string(Path::new(&out).join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 2);
    assert!(Path::new(&out).join("last.safetensors").is_file());
    // Ctrl-C, too, is heard and not answered.
    let stopped = path(&dir, "stopped");
    let mut child = iresnet(&train(&stopped, &["--epochs", "400"])).stderr(closed()).spawn().unwrap();
    wait_for(&Path::new(&stopped).join("metrics.jsonl"));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(Path::new(&stopped).join("checkpoint.safetensors").is_file());
}

/// A device that refuses every write stands for a full disk.
#[test]
#[cfg(target_os = "linux")]
fn results_that_cannot_be_written_are_an_error() {
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    for arguments in [&["summary", "--list"][..], &["data", "list"], &["--help"], &["bench", "norm", "--channels", "2"]]
    {
        let output = iresnet(arguments).stdout(full()).output().unwrap();
        let (code, _, err) = parts(&output);
        assert_eq!(code, 1, "{arguments:?} {err}");
        assert!(err.contains("cannot write to standard output: No space left on device"), "{arguments:?} {err}");
        assert!(!err.contains("panicked"), "{err}");
    }
    // What was wrong before anything was written stays what is said.
    let output = iresnet(&["summary", "--preset", "huge"]).stdout(full()).output().unwrap();
    assert_eq!(parts(&output).0, 2);
}
