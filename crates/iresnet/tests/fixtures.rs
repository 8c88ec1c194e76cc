//! One training step of tiny networks against PyTorch: `reference/make_fixtures.py` made the files and says what is in
//! them. Values there are float64 results of float32 inputs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use iresnet::model::{Dropout, IResNet, Input, ModelConfig};
use iresnet::train::{Sgd, TrainConfig};
use safetensors::{Dtype, SafeTensors};

/// What the JSON beside each file says.
#[derive(serde::Deserialize)]
struct Description {
    input: Input,
    model: ModelConfig,
    batch: usize,
    optimizer: Optimizer,
}

#[derive(serde::Deserialize)]
struct Optimizer {
    learning_rate: f64,
    momentum: f64,
    weight_decay: f64,
}

struct Fixture {
    name: String,
    description: Description,
    tensors: HashMap<String, Vec<f64>>,
    shapes: HashMap<String, Vec<usize>>,
    labels: Vec<u32>,
}

fn fixtures() -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../reference/fixtures");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "json"));
    paths.sort();
    paths.iter().map(|p| load(p)).collect()
}

fn load(json: &Path) -> Fixture {
    let bytes = std::fs::read(json.with_extension("safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (mut tensors, mut shapes, mut labels) = (HashMap::new(), HashMap::new(), Vec::new());
    for (name, view) in file.tensors() {
        shapes.insert(name.clone(), view.shape().to_vec());
        let data = view.data();
        match view.dtype() {
            Dtype::F32 => {
                let values = data.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect();
                tensors.insert(name, values);
            }
            Dtype::F64 => {
                tensors.insert(name, data.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect());
            }
            Dtype::I64 if name == "labels" => {
                labels = data.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as u32).collect();
            }
            _ => {}
        }
    }
    Fixture {
        name: json.file_stem().unwrap().to_str().unwrap().into(),
        description: serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap(),
        tensors,
        shapes,
        labels,
    }
}

impl Fixture {
    /// The tensors under `prefix` as the bytes of a weight file.
    fn weights(&self, prefix: &str) -> Vec<u8> {
        let of =
            |name: &str| -> Vec<u8> { self.tensors[name].iter().flat_map(|v| (*v as f32).to_le_bytes()).collect() };
        let mut names: Vec<&String> = self.tensors.keys().filter(|n| n.starts_with(prefix)).collect();
        names.sort();
        let bytes: Vec<Vec<u8>> = names.iter().map(|n| of(n)).collect();
        let views = names.iter().zip(&bytes).map(|(name, bytes)| {
            let view = safetensors::tensor::TensorView::new(Dtype::F32, self.shapes[*name].clone(), bytes).unwrap();
            (name[prefix.len()..].to_string(), view)
        });
        safetensors::serialize(views, None).unwrap()
    }

    fn network(&self) -> IResNet {
        let mut model = self.description.model.init(self.description.input, 0).unwrap();
        model.load_safetensors(&self.weights("initial."), Path::new(&self.name)).unwrap();
        model
    }

    fn dropout(&self) -> Option<Dropout> {
        let n = self.description.batch;
        let mask = |block: usize| self.tensors.get(&format!("mask.{block}"));
        mask(0)?;
        let bits = (0..)
            .map_while(mask)
            .map(|mask| {
                let positions = mask.len() / n;
                let mut bits = vec![0u16; n.div_ceil(16) * positions];
                for (at, value) in mask.iter().enumerate() {
                    let (sample, position) = (at / positions, at % positions);
                    if *value > 0.0 {
                        bits[sample / 16 * positions + position] |= 1 << (sample % 16);
                    }
                }
                bits
            })
            .collect();
        let scale = (1.0 / (1.0 - self.description.model.dropout)) as f32;
        Some(Dropout::Given { bits: Arc::new(bits), scale })
    }

    fn images(&self) -> Vec<f32> {
        self.tensors["images"].iter().map(|v| *v as f32).collect()
    }

    fn gradient_norm(&self) -> f64 {
        let gradients =
            self.tensors.iter().filter(|(name, _)| name.starts_with("gradient.") && *name != "gradient.images");
        gradients.flat_map(|(_, values)| values).map(|v| v * v).sum::<f64>().sqrt()
    }

    #[track_caller]
    fn close(&self, name: &str, ours: &[f32], tolerance: f64) {
        let theirs = &self.tensors[name];
        assert_eq!(ours.len(), theirs.len(), "{}: {name}", self.name);
        let difference: f64 = ours.iter().zip(theirs).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum::<f64>().sqrt();
        let size: f64 = theirs.iter().map(|b| b * b).sum::<f64>().sqrt();
        // Biases in front of a BatchNorm have no gradient: what is left of it is the rounding of hundreds of terms that
        // cancel, relative to the whole gradient.
        let whole = if name.starts_with("gradient.") { self.gradient_norm() } else { 0.0 };
        assert!(difference <= tolerance * size + 1e-5 * whole, "{}: {name} off by {:e}", self.name, difference / size);
    }
}

/// Calls `check(name, values)` for the tensors of a weight file.
fn each_tensor(bytes: &[u8], mut check: impl FnMut(&str, Vec<f32>)) {
    for (name, view) in SafeTensors::deserialize(bytes).unwrap().tensors() {
        if view.dtype() == Dtype::F32 {
            check(&name, view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect());
        }
    }
}

/// float32 through at most 12 convolutions: sums of up to 432 terms whose errors of half a unit each add up like a random
/// walk, some 20 units in the last place a layer.
const TOLERANCE: f64 = 2e-5;

#[test]
fn evaluation_agrees() {
    for fixture in fixtures() {
        let mut model = fixture.network();
        model.update_norms(1);
        let images = fixture.images();
        let output = model.forward(model.layout().view(&images));
        fixture.close("latent.eval", output.latent.as_slice().unwrap(), TOLERANCE);
        fixture.close("logits.eval", output.logits.as_slice().unwrap(), TOLERANCE);
    }
}

#[test]
fn power_iteration_agrees() {
    for fixture in fixtures() {
        for iterations in [1, 5] {
            let mut model = fixture.network();
            model.update_norms(iterations);
            let layout = model.layout().clone();
            for (conv, power) in layout.convs().zip(&model.state().power) {
                let name = |what: &str| format!("power.{iterations}.{}.{what}", conv.name);
                fixture.close(&name("u"), &power.u, TOLERANCE);
                fixture.close(&name("v"), &power.v, TOLERANCE);
                fixture.close(&name("sigma"), &[power.sigma], 1e-6);
            }
        }
    }
}

#[test]
fn a_training_step_agrees() {
    for fixture in fixtures() {
        let mut model = fixture.network();
        model.update_norms(1);
        let (images, dropout) = (fixture.images(), fixture.dropout());
        let result = model.differentiate(model.layout().view(&images), &fixture.labels, dropout.as_ref());
        fixture.close("logits.train", &result.logits, TOLERANCE);
        fixture.close("loss", &[result.loss], TOLERANCE);
        // The gradients take the names of the parameters by standing in their places.
        let mut gradients = model.clone();
        let [trunk, head] = gradients.parameters_mut();
        trunk.copy_from_slice(&result.gradients.trunk);
        head.copy_from_slice(&result.gradients.head);
        let mut checked = 0;
        each_tensor(&gradients.to_safetensors(), |name, values| {
            let name = format!("gradient.{name}");
            if fixture.tensors.contains_key(&name) {
                fixture.close(&name, &values, 1e-4);
                checked += 1;
            }
        });
        let expected = fixture.tensors.keys().filter(|n| n.starts_with("gradient.") && *n != "gradient.images").count();
        assert_eq!(checked, expected, "{}: every gradient is compared", fixture.name);
        let optimizer = &fixture.description.optimizer;
        let config = TrainConfig {
            epochs: 1,
            batch_size: fixture.description.batch,
            learning_rate: optimizer.learning_rate,
            momentum: optimizer.momentum,
            weight_decay: optimizer.weight_decay,
            clip_norm: 0.0,
            muon_rate: 0.0,
            milestones: vec![],
            decay: 1.0,
            shift: 0,
            flip: false,
            validation: 0,
        };
        let mut sgd = Sgd::new(&model);
        sgd.step(&mut model, &result.gradients, &config, optimizer.learning_rate);
        model.track(&result);
        each_tensor(&model.to_safetensors(), |name, values| {
            fixture.close(&format!("after.{name}"), &values, TOLERANCE);
        });
    }
}
