//! The command line as a user meets it: results, exit codes, and messages for everything that can go wrong.

mod reproduce;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn iresnet(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iresnet"));
    command.args(args).env_remove("IRESNET_DATA");
    command
}

fn run(args: &[&str]) -> Output {
    iresnet(args).output().unwrap()
}

/// Exit code, standard output, standard error.
fn parts(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[track_caller]
fn succeeds(args: &[&str]) -> String {
    let (code, out, err) = parts(&run(args));
    assert_eq!(code, 0, "{args:?}\n{out}\n{err}");
    out
}

/// The command fails with `code` and a message that holds all `words`; it never panics.
#[track_caller]
fn fails(args: &[&str], code: i32, words: &[&str]) {
    let (found, out, err) = parts(&run(args));
    assert_eq!(found, code, "{args:?}\n{out}\n{err}");
    assert!(!err.contains("panicked"), "{err}");
    for word in words {
        assert!(err.contains(word), "{args:?} should say {word:?}:\n{err}");
    }
}

/// A small network that trains in a moment.
const SMALL: [&str; 6] = ["--set", "model.blocks=[1,1]", "--set", "train.shift=0", "--batch", "128"];

/// A training that brings the norms of all layers to their bounds, or far above 1 without any, within seconds.
const UNCLIPPED: [&str; 6] = ["--epochs", "3", "--set", "train.clip_norm=0", "--set", "train.muon_rate=0"];

fn train<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "--out", out][..], &SMALL, more].concat()
}

fn path(dir: &tempfile::TempDir, name: &str) -> String {
    dir.path().join(name).to_str().unwrap().into()
}

fn wait_for(path: &Path) {
    let begun = Instant::now();
    while !path.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{} never came", path.display());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_killed_or_stopped_run_ends_with_the_same_weights() {
    let dir = tempfile::tempdir().unwrap();
    let options = ["--epochs", "40", "--norm", "spectral"];
    let whole = path(&dir, "whole");
    succeeds(&train(&whole, &options));
    let expected = fs::read(Path::new(&whole).join("last.safetensors")).unwrap();
    let metrics = fs::read_to_string(Path::new(&whole).join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 40);
    for signal in ["KILL", "INT"] {
        let out = path(&dir, signal);
        let arguments = train(&out, &options);
        let mut child = iresnet(&arguments).stderr(Stdio::null()).spawn().unwrap();
        // After the first epoch, whose checkpoint may be there or not.
        wait_for(&Path::new(&out).join("metrics.jsonl"));
        let sent = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let status = child.wait().unwrap();
        if signal == "INT" {
            assert_eq!(status.code(), Some(130), "Ctrl-C stops cleanly: {status}");
        }
        let done = fs::read_to_string(Path::new(&out).join("metrics.jsonl")).unwrap().lines().count();
        assert!(done < 40, "{signal} came in the middle, after {done} epochs");
        succeeds(&[&arguments[..], &["--resume"]].concat());
        let resumed = fs::read(Path::new(&out).join("last.safetensors")).unwrap();
        assert!(resumed == expected, "weights after {signal} and --resume, bit for bit");
    }
}

#[test]
fn a_run_is_evaluated_inverted_audited_and_certified() {
    let dir = tempfile::tempdir().unwrap();
    let normalized = path(&dir, "normalized");
    succeeds(&train(&normalized, &["--epochs", "3", "--coeff", "0.7"]));
    let evaluation = json(&succeeds(&["evaluate", &normalized, "--json"]));
    assert!(evaluation["error_percent"].as_f64().unwrap() < 90.0);
    assert!(evaluation["normed_l2"].as_f64().unwrap() < 1e-6, "{evaluation}");
    assert_eq!(evaluation["certified"], true);
    assert_eq!(evaluation["tolerance_on"], "error");

    let images = path(&dir, "images");
    let report = succeeds(&["invert", &normalized, "--out", &images, "--tolerance", "1e-5", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["images"].as_array().unwrap().len(), 16);
    for image in report["images"].as_array().unwrap() {
        let (error, bar) = (image["normed_l2"].as_f64().unwrap(), image["relative_error_bar"].as_f64().unwrap());
        assert!(error <= bar, "{image}");
    }
    for file in ["sheet.png", "0015-reconstruction.png", "0015-difference.png", "report.json"] {
        assert!(Path::new(&images).join(file).is_file(), "{file}");
    }
    // Its own reconstruction is a PNG of the right size, so it can be inverted in turn.
    let again = path(&dir, "again");
    succeeds(&["invert", &normalized, "--images", &format!("{images}/0000-reconstruction.png"), "--out", &again]);
    // Latents come back as the images that they are of, from a file as well.
    let latents = path(&dir, "latents.safetensors");
    let classes = json(&succeeds(&["encode", &normalized, "--out", &latents, "--json"]));
    assert_eq!(classes.as_array().unwrap().len(), 16);
    let logits = tensor(&latents, "logits");
    for (classified, logits) in classes.as_array().unwrap().iter().zip(logits.chunks(10)) {
        let best = (0..10).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
        let sum: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
        assert_eq!(classified["class"], best.to_string());
        let probability = f64::from(logits[best]).exp() / sum;
        assert!((classified["probability"].as_f64().unwrap() - probability).abs() < 1e-5, "{classified} {probability}");
    }
    let decoded = path(&dir, "decoded");
    assert!(succeeds(&["invert", &normalized, "--latents", &latents, "--out", &decoded]).contains("latent 15"));
    for file in ["0003-reconstruction.png", "0015-reconstruction.png"] {
        assert_eq!(fs::read(format!("{images}/{file}")).unwrap(), fs::read(format!("{decoded}/{file}")).unwrap());
    }
    // Others are of no image.
    let mut bytes = fs::read(&latents).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[header..].as_chunks_mut::<4>().0.iter_mut().for_each(|value| {
        *value = (f32::from_le_bytes(*value) + 1.0).to_le_bytes();
    });
    let changed = path(&dir, "changed.safetensors");
    fs::write(&changed, bytes).unwrap();
    let text = succeeds(&["invert", &normalized, "--latents", &changed, "--out", &decoded]);
    assert!(text.contains("16 of 16 latents are of no image"), "{text}");
    fails(
        &["encode", &normalized, "--out", &format!("{latents}/file")],
        1,
        &["cannot write", "latents.safetensors/file"],
    );
    fails(&["invert", &normalized, "--images", &images, "--data", "digits", "--out", &again], 2, &["--data"]);
    let weights = format!("{normalized}/last.safetensors");
    fails(&["invert", &normalized, "--latents", &weights, "--out", &decoded], 1, &["holds no latents", "F32 [n, "]);
    // Every picture of a folder and of the folders in it; the sheet is of another size.
    fails(&["invert", &normalized, "--images", dir.path().to_str().unwrap(), "--out", &again], 2, &["sheet.png is"]);
    let (code, text, _) = parts(&run(&["invert", &normalized, "--out", &again, "--max-iterations", "1"]));
    assert!(code == 3 && text.contains("out of iterations"), "{code} {text}");
    assert!(text.contains("16 of 16 images were not inverted"), "{text}");

    let plot = path(&dir, "spectrum.svg");
    let spectrum = succeeds(&["spectrum", &normalized, "--json", "--plot", &plot]);
    let spectrum: serde_json::Value = serde_json::from_str(&spectrum).unwrap();
    for layer in spectrum["layers"].as_array().unwrap() {
        let (lower, upper) = (layer["norm"]["lower"].as_f64().unwrap(), layer["norm"]["upper"].as_f64().unwrap());
        assert!(lower <= upper && upper < lower * 1.01, "{}: {lower} {upper}", layer["name"]);
    }
    assert!(fs::read_to_string(&plot).unwrap().starts_with("<svg"));
    let effective = path(&dir, "effective.safetensors");
    let one = ["spectrum", &normalized, "--plot", &plot, "--layer", "3", "--export-effective", &effective];
    assert!(succeeds(&one).contains("zero-padded operator"));
    assert!(fs::read_to_string(&plot).unwrap().contains("stages.0.blocks.0.conv3"));
    // The exported network is the same one, without its power iterations' vectors.
    let folded = path(&dir, "folded");
    fs::create_dir(&folded).unwrap();
    fs::copy(format!("{normalized}/config.json"), format!("{folded}/config.json")).unwrap();
    fs::copy(&effective, format!("{folded}/last.safetensors")).unwrap();
    let [theirs, ours] = [&normalized, &folded].map(|run| {
        let mut found = json(&succeeds(&["evaluate", run, "--invert-samples", "4", "--json"]));
        found["run"].take();
        found
    });
    assert_eq!(theirs, ours);
    let both = succeeds(&["spectrum", &normalized, &normalized, "--json", "--plot", &plot]);
    assert_eq!(json(&both)[1]["layers"], json(&both)[0]["layers"]);
    assert!(fs::read_to_string(&plot).unwrap().contains(&format!("c = 0.7 ({normalized})")), "labels that differ");
    fails(&["spectrum", &normalized, "--plot", &plot, "--layer", "9"], 2, &["--layer 9", "stages.0.blocks.0.conv1"]);
    fails(&["spectrum"], 2, &["required"]);
    assert!(succeeds(&["certify", &normalized]).contains("certified: the inverse exists everywhere"));
    assert!(succeeds(&["summary", &normalized]).contains("parameters"));

    for norm in ["none", "batch"] {
        let out = path(&dir, norm);
        succeeds(&train(&out, &[&UNCLIPPED[..], &["--norm", norm]].concat()));
        let (code, text, _) = parts(&run(&["certify", &out]));
        assert_eq!(code, 3, "{text}");
        assert!(text.contains("not certified") && text.contains(".blocks.0: Lip(h g)"), "{text}");
        // Whether it inverts or not, that is a result.
        succeeds(&["evaluate", &out, "--json"]);
        let (_, text, _) = parts(&run(&["invert", &out, "--out", &again]));
        assert!(!text.contains("latents are of no image"), "these are images: {text}");
    }
}

/// The values of a float32 tensor in a `.safetensors` file.
fn tensor(file: &str, name: &str) -> Vec<f32> {
    let bytes = fs::read(file).unwrap();
    let (len, rest) = bytes.split_at(8);
    let (header, data) = rest.split_at(u64::from_le_bytes(len.try_into().unwrap()) as usize);
    let header: serde_json::Value = serde_json::from_slice(header).unwrap();
    let at = |i: usize| header[name]["data_offsets"][i].as_u64().unwrap() as usize;
    data[at(0)..at(1)].as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect()
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_certificate_is_checked_against_weights_and_image_size() {
    let dir = tempfile::tempdir().unwrap();
    let good = path(&dir, "good");
    succeeds(&train(&good, &UNCLIPPED));
    fails(&["certify", &good, "--verify"], 1, &["cannot read", "No such file", "makes a certificate"]);
    let printed = json(&succeeds(&["certify", &good, "--json", "--tolerance", "1e-3"]));
    let file = Path::new(&good).join("certificate.json");
    let saved = json(&fs::read_to_string(&file).unwrap());
    assert_eq!(printed, saved);
    assert_eq!((&saved["certified"], &saved["image"]), (&true.into(), &serde_json::json!([1, 8, 8])));
    for block in saved["blocks"].as_array().unwrap() {
        let lipschitz = block["lipschitz"].as_f64().unwrap();
        assert!(
            lipschitz < 1.0 && block["lipschitz_training"] == block["lipschitz"] && block["step"] == 1.0,
            "{block}"
        );
        assert!(block["layers"].as_array().unwrap().iter().all(|l| l["norm"].is_f64() && l["method"].is_string()));
    }
    // L^k / (1 - L) <= 1e-3 for L = 0.733, c^3 and the surplus of its bounds, takes 27 iterations.
    let most = saved["iterations"].as_array().unwrap().iter().map(|k| k.as_u64().unwrap()).max();
    assert!((20..40).contains(&most.unwrap()), "{most:?}");
    let verified = succeeds(&["certify", &good, "--verify"]);
    assert!(verified.contains("certified: the inverse exists everywhere"), "{verified}");
    assert!(verified.contains("verified: ") && verified.contains(saved["weights_sha256"].as_str().unwrap()));

    // Other weights under the same configuration.
    let other = path(&dir, "other");
    succeeds(&train(&other, &["--epochs", "1"]));
    let tampered = copy_run(&good, &path(&dir, "tampered"));
    fs::copy(&file, tampered.join("certificate.json")).unwrap();
    fs::copy(Path::new(&other).join("last.safetensors"), tampered.join("last.safetensors")).unwrap();
    let name = tampered.to_str().unwrap();
    fails(
        &["certify", name, "--verify"],
        3,
        &["tampered/certificate.json is for weights with checksum", "were changed"],
    );
    let elsewhere = format!("--verify={}", file.display());
    fails(&["certify", name, &elsewhere], 3, &["good/certificate.json", "were changed"]);
    assert_eq!(
        json(&fs::read_to_string(tampered.join("certificate.json")).unwrap()),
        saved,
        "verifying writes nothing"
    );

    // A better bound than the proof's, and text that is no certificate.
    let forged = path(&dir, "forged.json");
    let mut lie = saved.clone();
    lie["lipschitz_forward"] = serde_json::json!(1.5);
    fs::write(&forged, lie.to_string()).unwrap();
    fails(&["certify", &good, &format!("--verify={forged}")], 3, &["says lipschitz_forward", "a new proof gives"]);
    fs::write(&forged, "{}").unwrap();
    fails(&["certify", &good, &format!("--verify={forged}")], 1, &["forged.json is not a certificate", "image"]);

    // The same vanilla weights on larger images.
    let vanilla = path(&dir, "vanilla");
    succeeds(&train(&vanilla, &[&UNCLIPPED[..], &["--norm", "none"]].concat()));
    assert_eq!(parts(&run(&["certify", &vanilla])).0, 3);
    assert_eq!(parts(&run(&["certify", &vanilla, "--verify"])).0, 3, "confirmed, and still no inverse");
    let larger = copy_run(&vanilla, &path(&dir, "larger"));
    fs::copy(Path::new(&vanilla).join("certificate.json"), larger.join("certificate.json")).unwrap();
    let config = fs::read_to_string(larger.join("config.json")).unwrap();
    let config = config.replace("\"height\": 8", "\"height\": 16").replace("\"width\": 8", "\"width\": 16");
    fs::write(larger.join("config.json"), config).unwrap();
    fails(&["certify", larger.to_str().unwrap(), "--verify"], 3, &["is for images of [1, 8, 8]", "takes [1, 16, 16]"]);
}

#[test]
fn an_uncertified_network_is_finalized_beside_its_run() {
    let dir = tempfile::tempdir().unwrap();
    let out = path(&dir, "vanilla");
    succeeds(&train(&out, &[&UNCLIPPED[..], &["--norm", "none"]].concat()));
    let (code, text, _) = parts(&run(&["certify", &out]));
    assert!(code == 3 && text.contains("times what would do") && text.contains("--finalize"), "{text}");
    let before = fs::read(Path::new(&out).join("last.safetensors")).unwrap();
    let report = json(&succeeds(&["certify", &out, "--finalize", "--json"]));
    assert!(fs::read(Path::new(&out).join("last.safetensors")).unwrap() == before, "the trained weights stay");
    assert_eq!(report["certified"], false);
    let finalized = &report["finalized"];
    assert!(!finalized["layers"].as_array().unwrap().is_empty());
    assert!(
        finalized["error_percent"].as_array().unwrap().iter().all(|e| (0.0..=100.0).contains(&e.as_f64().unwrap()))
    );
    let new = format!("{out}/finalized");
    let certificate = json(&fs::read_to_string(Path::new(&new).join("certificate.json")).unwrap());
    assert_eq!(certificate["weights_sha256"], finalized["weights_sha256"]);
    assert!(certificate["blocks"].as_array().unwrap().iter().all(|b| b["lipschitz"].as_f64().unwrap() <= 0.99));
    // It is a run like any other: certified, invertible, with nothing left to do.
    assert!(succeeds(&["certify", &new, "--verify"]).contains("certified: the inverse exists everywhere"));
    assert!(succeeds(&["certify", &new, "--finalize"]).contains("nothing to finalize"));
    let evaluation = json(&succeeds(&["evaluate", &new, "--json", "--invert-samples", "50"]));
    assert_eq!(evaluation["certified"], true);
    assert_eq!(evaluation["error_percent"], finalized["error_percent"][1]);
    fails(&["certify", &out, "--finalize", "--target", "1"], 2, &["--target 1", "strictly between 0 and 1"]);
    fails(&["certify", &out, "--finalize", "--verify"], 2, &["cannot be used with"]);
}

#[test]
fn margins_are_certified_for_every_image() {
    let dir = tempfile::tempdir().unwrap();
    let out = path(&dir, "run");
    succeeds(&train(&out, &["--epochs", "4", "--coeff", "0.5"]));
    let error =
        json(&succeeds(&["evaluate", &out, "--json", "--invert-samples", "1"]))["error_percent"].as_f64().unwrap();
    let report = json(&succeeds(&["certify", &out, "--radii", "0,0.05,100", "--json"]));
    let margins = &report["margins"];
    let accuracy: Vec<f64> =
        margins["certified_accuracy"].as_array().unwrap().iter().map(|a| a["accuracy"].as_f64().unwrap()).collect();
    // At radius 0 it is the accuracy itself; nothing holds 100 away, ten times the length of a white image.
    assert!((accuracy[0] - (1.0 - error / 100.0)).abs() < 1e-9, "{accuracy:?} {error}");
    assert!(accuracy[1] <= accuracy[0] && accuracy[2] == 0.0, "{accuracy:?}");
    let images = margins["images"].as_array().unwrap();
    assert_eq!(images.len(), 364);
    assert!(images.iter().any(|image| image["radius"].as_f64().unwrap() > 0.0));
    assert!(Path::new(&out).join("margins.json").is_file());
    fails(&["certify", &out, "--radii", "-1"], 2, &["--radii"]);
    let other = succeeds(&["certify", &out, "--margin", "--data", "digits", "--json"]);
    assert_eq!(json(&other)["margins"], json(&succeeds(&["certify", &out, "--margin", "--json"]))["margins"]);
    fails(&["certify", &out, "--tolerance", "0"], 2, &["--tolerance 0 must be positive"]);
}

/// A batch that does not fit the address space in standard mode trains in reversible mode.
#[test]
#[cfg(target_os = "linux")]
fn reversible_steps_fit_where_standard_ones_do_not() {
    let step = |memory: &str| {
        let options = "bench step --preset paper-cifar10 --blocks 16 16 16 --repeat 1 --memory";
        let command = format!("ulimit -v 420000; exec {} {options} {memory}", env!("CARGO_BIN_EXE_iresnet"));
        parts(&Command::new("bash").args(["-c", &command]).output().unwrap())
    };
    let (code, out, err) = step("reversible");
    assert_eq!(code, 0, "{out}\n{err}");
    let (code, _, err) = step("standard");
    assert!(code != 0 && err.contains("memory allocation"), "{err}");
}

#[test]
fn memory_modes_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let out = path(&dir, "out");
    fails(&train(&out, &["--memory", "little"]), 2, &["standard, checkpoint=K", "or auto"]);
    fails(&train(&out, &["--memory", "reversible", "--norm", "none"]), 2, &["need not have", "checkpoint=K"]);
    let epoch = ["--epochs", "1", "--set", "model.blocks=[2,2]"];
    for memory in ["reversible", "checkpoint=2"] {
        let out = path(&dir, memory);
        succeeds(&train(&out, &[&epoch[..], &["--memory", memory]].concat()));
        let metrics = fs::read_to_string(Path::new(&out).join("metrics.jsonl")).unwrap();
        assert!(metrics.contains(&format!("\"memory\":\"{memory}\"")), "{metrics}");
    }
    let summary = succeeds(&["summary", "--preset", "paper-cifar10", "--batch", "64"]);
    assert!(summary.contains("training step of 64 images") && summary.contains("MiB reversible"), "{summary}");
}

#[test]
fn wrong_use_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let out = path(&dir, "out");
    fails(&train(&out, &["--preset", "huge"]), 2, &["preset = huge", "one of digits, small-mnist"]);
    fails(&train(&out, &["--set", "model.depth=3"]), 2, &["unknown key depth", "known are"]);
    fails(&train(&out, &["--set", "model.dropout=2"]), 2, &["model.dropout = 2", "probability"]);
    fails(&train(&out, &["--set", "nonsense"]), 2, &["key=value"]);
    fails(&train(&out, &["--set", "model.norm={kind=\"batch\"}"]), 2, &["model.norm=", "--norm and --coeff"]);
    fails(&train(&out, &["--resume"]), 1, &["is not a run folder", "config.json is missing"]);
    for coeff in ["0", "1", "1.5", "nan"] {
        fails(&train(&out, &["--coeff", coeff]), 2, &["model.norm.coeff", "strictly between 0 and 1"]);
    }
    fails(&train(&out, &["--epochs", "0"]), 2, &["train.epochs = 0", "at least 1"]);
    fails(
        &["train", "--out", &out, "--set", "model.blocks=[1,1,1,1,1]"],
        2,
        &["stage 5 would downsample 1x1", "divide by 16"],
    );
    fails(&train(&out, &["--data", "nowhere"]), 1, &["--data nowhere is neither"]);
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
    for (kind, option) in [
        ("forward", ["--solver", "anderson"]),
        ("forward", ["--memory", "reversible"]),
        ("step", ["--iterations", "3"]),
        ("inverse", ["--channels", "7"]),
        ("block", ["--preset", "digits"]),
        ("norm", ["--bottleneck", "7"]),
        ("norms", ["--batch", "7"]),
        ("spectrum", ["--data", "digits"]),
    ] {
        fails(&["bench", kind, option[0], option[1]], 2, &[option[0], "means nothing to bench", kind]);
    }
    fails(&["certify", &out, "--data", "digits"], 2, &["--data is for --finalize, --margin and --radii"]);
    fails(&["bench", "forward", "--batch", "100000000"], 2, &["--batch from 1 to 65536"]);
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
    fails(&["bench", "inverse", "--device", "vulkan"], 2, &["bench inverse works on the CPU only"]);
    let reversible = ["bench", "step", "--memory", "reversible", "--device", "vulkan"];
    fails(&reversible, 2, &["--memory reversible works on the CPU only"]);
    assert!(!Path::new(&out).exists(), "nothing was made");
    let help = succeeds(&["train", "--help"]);
    assert!(help.contains("--device <cpu|vulkan>") && help.contains("certificates stay on the CPU"), "{help}");
}

fn copy_run(from: &str, to: &str) -> PathBuf {
    fs::create_dir_all(to).unwrap();
    for file in ["config.json", "last.safetensors"] {
        fs::copy(Path::new(from).join(file), Path::new(to).join(file)).unwrap();
    }
    PathBuf::from(to)
}

#[test]
fn damaged_runs_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let good = path(&dir, "good");
    succeeds(&train(&good, &["--epochs", "1"]));
    fails(&train(&good, &["--epochs", "1"]), 1, &["holds a run already", "--resume"]);
    fails(
        &train(&good, &["--epochs", "2", "--resume"]),
        1,
        &["is a run with train.epochs = 1", "asks for 2", "choose another --out"],
    );
    fails(&train(&good, &["--epochs", "1", "--seed", "3", "--resume"]), 1, &["is a run with seed = 0", "asks for 3"]);

    let weights = fs::read(Path::new(&good).join("last.safetensors")).unwrap();
    let broken = copy_run(&good, &path(&dir, "broken"));
    let name = broken.to_str().unwrap();
    fs::write(broken.join("last.safetensors"), &weights[..weights.len() / 2]).unwrap();
    fails(&["evaluate", name], 1, &["last.safetensors is not a complete .safetensors file"]);

    // A NaN in the last value of the last tensor.
    let mut poisoned = weights.clone();
    let end = poisoned.len();
    poisoned[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(broken.join("last.safetensors"), &poisoned).unwrap();
    fails(&["evaluate", name], 1, &["holds NaN at position", "weights must be finite"]);

    let other = path(&dir, "other");
    succeeds(&["train", "--out", &other, "--epochs", "1", "--set", "model.blocks=[2,1]", "--set", "train.shift=0"]);
    fs::copy(Path::new(&other).join("last.safetensors"), broken.join("last.safetensors")).unwrap();
    fails(&["evaluate", name], 1, &["stages.0.blocks.1", "belong to another network"]);
    let wide = path(&dir, "wide");
    succeeds(&train(&wide, &["--epochs", "1", "--set", "model.padding={extra=1}"]));
    fs::copy(Path::new(&wide).join("last.safetensors"), broken.join("last.safetensors")).unwrap();
    fails(&["evaluate", name], 1, &["conv1.weight", "this network needs"]);

    fs::write(broken.join("last.safetensors"), &weights).unwrap();
    let config = fs::read_to_string(broken.join("config.json")).unwrap();
    fs::write(broken.join("config.json"), config.replacen("\"seed\"", "\"sead\"", 1)).unwrap();
    fails(&["evaluate", name], 1, &["config.json", "unknown field `sead`"]);
    fs::write(broken.join("config.json"), config.replace("\"coeff\": 0.9", "\"coeff\": 1.9")).unwrap();
    fails(&["evaluate", name], 1, &["model.norm.coeff = 1.9"]);
    let mut fewer: serde_json::Value = serde_json::from_str(&config).unwrap();
    fewer["classes"].as_array_mut().unwrap().pop();
    fs::write(broken.join("config.json"), fewer.to_string()).unwrap();
    fails(&["evaluate", name], 1, &["config.json", "classes has 9 entries where input has 10"]);
    fs::write(broken.join("config.json"), config.replacen("\"data\": \"digits\"", "\"data\": \"/gone\"", 1)).unwrap();
    let images = path(&dir, "images");
    fails(&["invert", name, "--out", &images], 2, &["are not in the folder /gone", "--data FOLDER"]);
}

#[test]
fn the_official_sets_are_explained_without_a_network() {
    let dir = tempfile::tempdir().unwrap();
    let data = path(&dir, "data");
    // No proxy answers on this port of this machine, so nothing leaves it.
    let output = iresnet(&["data", "fetch", "mnist", "--data-dir", &data])
        .env("https_proxy", "http://127.0.0.1:9")
        .env("HTTPS_PROXY", "http://127.0.0.1:9")
        .env("ALL_PROXY", "http://127.0.0.1:9")
        .output()
        .unwrap();
    let (code, _, err) = parts(&output);
    assert_eq!(code, 1);
    for word in ["mnist could not be fetched", "train-images-idx3-ubyte.gz", "6bbc9ace898e44ae57da46a324031adb", &data]
    {
        assert!(err.contains(word), "{err}");
    }
    fails(&["data", "verify", "mnist", "--data-dir", &data], 1, &["the files are not there"]);
    assert!(succeeds(&["data", "list", "--data-dir", &data]).contains("digits"));
}
