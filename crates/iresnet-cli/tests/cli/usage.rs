//! Wrong use: exit code 2, and a message that names the option.

use std::fs;
use std::path::Path;

use crate::common::*;

#[test]
fn wrong_use_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let out = path(&dir, "out");
    fails(&train(&out, &["--preset", "huge"]), 2, &["--preset huge: ", "one of digits, small-mnist"]);
    fails(&train(&out, &["--set", "model.depth=3"]), 2, &["--set model.depth=3: unknown key depth", "known are"]);
    fails(&train(&out, &["--set", "model.dropout=[]"]), 2, &["--set model.dropout=[]: invalid type"]);
    fails(&["train", "--out", &out, "--batch", "0"], 2, &["--batch 0: train.batch_size = 0"]);
    fails(
        &train(&out, &["--set", "model.dropout=2"]),
        2,
        &["--set model.dropout=2: ", "model.dropout = 2", "probability"],
    );
    fails(&train(&out, &["--set", "nonsense"]), 2, &["--set nonsense: ", "key=value"]);
    fails(&train(&out, &["--set", "model.norm={kind=\"batch\"}"]), 2, &["model.norm=", "--norm and --coeff"]);
    fails(&train(&out, &["--resume"]), 1, &["is not a run folder", "config.json is missing"]);
    for coeff in ["0", "1", "1.5", "nan"] {
        fails(&train(&out, &["--coeff", coeff]), 2, &["--coeff ", "model.norm.coeff", "strictly between 0 and 1"]);
    }
    fails(&train(&out, &["--epochs", "0"]), 2, &["--epochs 0: train.epochs = 0", "at least 1"]);
    fails(
        &["train", "--out", &out, "--set", "model.blocks=[1,1,1,1,1]"],
        2,
        &["stage 5 would downsample 1x1", "divide by 16"],
    );
    fails(&train(&out, &["--data", "nowhere"]), 1, &["--data nowhere", "is neither digits, mnist"]);
    fails(&["reproduce", "--only", "table9", "--out", &out], 2, &["table9", "possible values: table1, figure1"]);
    fails(&["reproduce", "--set", "model.depth=3", "--out", &out], 2, &["unknown key depth", "known are"]);
    fails(&["reproduce", "--set", "model.norm=none", "--out", &out], 2, &["trains all six"]);
    fails(
        &["reproduce", "--set", "model.blocks=[1,1,1,1,1]", "--out", &out],
        2,
        &["stage 5 would downsample 1x1", "divide by 16"],
    );
    let no_images = &["train.validation = 2000 is not usable: there are 1433 training images"];
    fails(&train(&out, &["--set", "train.validation=2000"]), 2, no_images);
    let held_out = ["reproduce", "--set", "train.validation=1433", "--out", &out];
    fails(&held_out, 2, &["train.validation = 1433 is not usable: there are 1433 training images"]);
    fails(&["reproduce", "--title", "", "--out", &out], 2, &["--title"]);
    fails(&["reproduce", "--threads", "0", "--out", &out], 2, &["--threads 0 must be from 1 to 1024"]);
    fails(&train(&out, &["--threads", "1000000"]), 2, &["--threads 1000000 must be from 1 to 1024"]);
    fails(&train(&out, &["--norm", "none", "--coeff", "0.5"]), 2, &["--coeff belongs to --norm spectral"]);
    fails(&train(&out, &["--set", "train.batch_size=16"]), 2, &["train.batch_size=16", "--batch says it"]);
    fails(&train(&out, &["--epochs", "1", "--set", "train.epochs=3"]), 2, &["train.epochs=3", "--epochs says it"]);
    fails(&["certify", &out, "--data", "digits"], 2, &["--data is for --finalize, --margin and --radii"]);
    let file = path(&dir, "weights.safetensors");
    fs::write(&file, "").unwrap();
    fails(&["evaluate", &file], 1, &["weights.safetensors is a file", "the run folder that holds it"]);
    fails(&["spectrum", &out, "--plot", "norms.png"], 2, &["--plot norms.png must end in .svg"]);
    fails(&["evaluate", &out], 1, &["is not a run folder", "config.json is missing"]);
    fails(&["frobnicate"], 2, &["unrecognized subcommand"]);
    assert!(!Path::new(&out).exists(), "nothing was made");
    // An empty variable names no folder.
    let mut empty = iresnet(&["data", "list"]);
    assert_eq!(parts(&empty.env("IRESNET_DATA", "").output().unwrap()).0, 0);
    let file = path(&dir, "file");
    fs::write(&file, "").unwrap();
    fails(&train(&format!("{file}/run"), &[]), 1, &["cannot write", "file/run"]);
    fails(&["reproduce", "--out", &format!("{file}/r")], 1, &["cannot make the folder", "Not a directory"]);
}

#[test]
fn a_device_that_cannot_be_used_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let out = path(&dir, "out");
    let commands = [train(&out, &[]), vec!["evaluate", &out], vec!["bench", "step"]];
    for command in &commands {
        let with = |device| [&command[..], &["--device", device]].concat();
        fails(&with("tpu"), 2, &["tpu is not cpu or vulkan"]);
        if cfg!(feature = "gpu") {
            // A loader that is pointed at no driver finds none, on machines with a GPU as well.
            let none = path(&dir, "none.json");
            let mut command = iresnet(&with("vulkan"));
            let output = command.env("VK_DRIVER_FILES", &none).env("VK_ICD_FILENAMES", &none).output().unwrap();
            let (code, _, err) = parts(&output);
            assert!(code == 1 && err.contains("no GPU with a Vulkan driver was found"), "{code} {err}");
        } else {
            fails(&with("vulkan"), 2, &["CPU only", "cargo build --release --features gpu"]);
        }
    }
    let reversible = ["bench", "step", "--memory", "reversible", "--device", "vulkan"];
    fails(&reversible, 2, &["--memory reversible works on the CPU only"]);
    assert!(!Path::new(&out).exists(), "nothing was made");
    let help = succeeds(&["train", "--help"]);
    assert!(help.contains("--device <cpu|vulkan>") && help.contains("certificates stay on the CPU"), "{help}");
}
