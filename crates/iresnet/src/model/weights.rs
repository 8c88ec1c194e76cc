//! Weight files: `.safetensors` with the names and layouts of the PyTorch peer's `state_dict`.
//!
//! The configuration travels in the file's metadata under `iresnet.config`, so that a file says which network it
//! belongs to, or under `iresnet.folded` where the weights have their spectral normalisation in them
//! ([`IResNet::folded`]). Files without it (written by PyTorch) load too, as long as names and shapes fit.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::network::IResNet;
use crate::bytes;

/// Why a weight file was refused.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file could not be read.
    #[error("cannot read the weights {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not a `.safetensors` file, or a damaged one.
    #[error("{path} is not a complete .safetensors file: {message}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        message: String,
    },
    /// A tensor is missing.
    #[error("{path} lacks the tensor {name} {expected:?}; these weights belong to another network ({detail})")]
    Missing {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// The shape that it should have.
        expected: Vec<usize>,
        /// What the file holds.
        detail: String,
    },
    /// A tensor has another shape or type.
    #[error("{path}: {name} is {found}, and this network needs {expected}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// Type and shape in the file.
        found: String,
        /// Type and shape that are right.
        expected: String,
    },
    /// Tensors that this network has no place for.
    #[error("{path} holds {names}, which this network does not have; these weights belong to another network")]
    Unknown {
        /// The file.
        path: PathBuf,
        /// Their names.
        names: String,
    },
    /// A weight is NaN or infinite.
    #[error("{path}: {name} holds {value} at position {position}; weights must be finite")]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// The offending value.
        value: f32,
        /// Its flat position.
        position: usize,
    },
}

/// Where the metadata has the configuration.
const CONFIG: &str = "iresnet.config";
/// Where it has that of weights with their normalisation in them. There is one entry and not two, since they would be
/// written in any order and a checksum would mean nothing.
const FOLDED: &str = "iresnet.folded";

/// Where a tensor's values belong.
pub(crate) enum Place<'a> {
    Values(&'a mut [f32]),
    Count(&'a mut u64),
}

/// Gets the name, the shape and the place of a tensor.
type Visit<'a> = dyn FnMut(&str, &[usize], Place<'_>) -> Result<(), WeightsError> + 'a;

impl IResNet {
    /// Every tensor of the network by its `state_dict` name; `visit` gets name, shape and place.
    pub(crate) fn visit_mut(&mut self, visit: &mut Visit<'_>) -> Result<(), WeightsError> {
        let layout = self.layout.clone();
        let (trunk, head, norms) = self.all_mut();
        let mut power = norms.power.iter_mut();
        for block in layout.blocks() {
            if let Some(place) = &block.actnorm {
                let name = format!("{}.actnorm", block.name);
                let (scales, shifts) = trunk[place.clone()].split_at_mut(place.len() / 2);
                let shape = [scales.len()];
                visit(&format!("{name}.log_scale"), &shape, Place::Values(scales))?;
                visit(&format!("{name}.shift"), &shape, Place::Values(shifts))?;
                visit(&format!("{name}.initialised"), &[], Place::Count(&mut norms.actnorms_initialised))?;
            }
            for conv in &block.convs {
                let shape = [conv.out_channels, conv.in_channels, conv.kernel, conv.kernel];
                visit(&format!("{}.weight", conv.name), &shape, Place::Values(&mut trunk[conv.weight.clone()]))?;
                visit(&format!("{}.bias", conv.name), &shape[..1], Place::Values(&mut trunk[conv.bias.clone()]))?;
                if let Some(state) = power.next().filter(|state| !state.u.is_empty()) {
                    let (u, v) = ([state.u.len()], [state.v.len()]);
                    visit(&format!("{}.u", conv.name), &u, Place::Values(&mut state.u))?;
                    visit(&format!("{}.v", conv.name), &v, Place::Values(&mut state.v))?;
                }
            }
            for norm in block.norms.iter().flatten() {
                let shape = [norm.scale.len()];
                let statistics = norm.statistics.clone();
                let name = &norm.name;
                visit(&format!("{name}.weight"), &shape, Place::Values(&mut trunk[norm.scale.clone()]))?;
                visit(&format!("{name}.bias"), &shape, Place::Values(&mut trunk[norm.shift.clone()]))?;
                let mean = &mut norms.running_mean[statistics.clone()];
                visit(&format!("{name}.running_mean"), &shape, Place::Values(mean))?;
                let var = &mut norms.running_var[statistics];
                visit(&format!("{name}.running_var"), &shape, Place::Values(var))?;
                let count = &mut norms.num_batches_tracked;
                visit(&format!("{name}.num_batches_tracked"), &[], Place::Count(count))?;
            }
        }
        let (channels, classes) = (layout.latent.channels, layout.input.classes);
        let statistics = layout.statistics_len..layout.statistics_len + channels;
        let (scale, rest) = head.split_at_mut(channels);
        let (shift, rest) = rest.split_at_mut(channels);
        let (weight, bias) = rest.split_at_mut(classes * channels);
        visit("head.norm.weight", &[channels], Place::Values(scale))?;
        visit("head.norm.bias", &[channels], Place::Values(shift))?;
        let mean = &mut norms.running_mean[statistics.clone()];
        visit("head.norm.running_mean", &[channels], Place::Values(mean))?;
        visit("head.norm.running_var", &[channels], Place::Values(&mut norms.running_var[statistics]))?;
        visit("head.norm.num_batches_tracked", &[], Place::Count(&mut norms.num_batches_tracked))?;
        visit("head.linear.weight", &[classes, channels], Place::Values(weight))?;
        visit("head.linear.bias", &[classes], Place::Values(bias))
    }

    /// The network's tensors as the bytes of a `.safetensors` file.
    pub fn to_safetensors(&self) -> Vec<u8> {
        self.serialize_with(&[], HashMap::new())
    }

    /// The same with `others` and `metadata` beside the network's own tensors.
    pub(crate) fn serialize_with(&self, others: &[(&str, &[f32])], mut metadata: HashMap<String, String>) -> Vec<u8> {
        let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
        self.clone()
            .visit_mut(&mut |name, shape, place| {
                let (dtype, bytes) = match place {
                    Place::Values(values) => (Dtype::F32, bytes::of_floats(values)),
                    Place::Count(count) => (Dtype::I64, (*count as i64).to_le_bytes().to_vec()),
                };
                tensors.push((name.to_string(), dtype, shape.to_vec(), bytes));
                Ok(())
            })
            .expect("nothing is refused");
        tensors
            .extend(others.iter().map(|(name, v)| (name.to_string(), Dtype::F32, vec![v.len()], bytes::of_floats(v))));
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).expect("shape and bytes agree"))
        });
        let config = serde_json::to_string(&(&self.config, &self.layout.input)).expect("a configuration is JSON");
        let folded = self.state.power.iter().any(|state| state.u.is_empty());
        metadata.insert(if folded { FOLDED } else { CONFIG }.into(), config);
        safetensors::serialize(views, Some(metadata)).expect("names are unique")
    }

    /// Loads the values of `bytes`, which came from `path`, into this network.
    ///
    /// # Errors
    /// A damaged file, tensors that are missing, unknown, of another shape or type, or not finite. The network is
    /// unchanged then.
    pub fn load_safetensors(&mut self, bytes: &[u8], path: &Path) -> Result<(), WeightsError> {
        let file = SafeTensors::deserialize(bytes)
            .map_err(|error| WeightsError::Format { path: path.into(), message: error.to_string() })?;
        let (_, header) = SafeTensors::read_metadata(bytes).expect("it was read above");
        let folded = header.metadata().as_ref().is_some_and(|metadata| metadata.contains_key(FOLDED));
        self.load_tensors(&file, path, folded, &[])
    }

    /// The same from an opened file, which may hold `others` beside the network's own tensors; `folded` if its weights
    /// have their normalisation in them.
    pub(crate) fn load_tensors(
        &mut self,
        file: &SafeTensors<'_>,
        path: &Path,
        folded: bool,
        others: &[&str],
    ) -> Result<(), WeightsError> {
        let mut loaded = self.clone();
        let state = loaded.state_mut();
        // Unless the file says otherwise.
        state.actnorms_initialised = 1;
        if folded {
            state.forget_power();
        } else {
            state.restore_power(&self.layout);
        }
        let mut seen = Vec::new();
        loaded.visit_mut(&mut |name, shape, place| {
            let Ok(view) = file.tensor(name) else {
                // Only PyTorch's own files lack the counters.
                if matches!(place, Place::Count(_)) {
                    return Ok(());
                }
                return Err(WeightsError::Missing {
                    path: path.into(),
                    name: name.into(),
                    expected: shape.to_vec(),
                    detail: format!("it holds {} tensors", file.len()),
                });
            };
            let wanted = if matches!(place, Place::Count(_)) { Dtype::I64 } else { Dtype::F32 };
            if view.dtype() != wanted || view.shape() != shape {
                return Err(WeightsError::Shape {
                    path: path.into(),
                    name: name.into(),
                    found: format!("{:?} {:?}", view.dtype(), view.shape()),
                    expected: format!("{wanted:?} {shape:?}"),
                });
            }
            seen.push(name.to_string());
            match place {
                Place::Count(count) => {
                    *count = i64::from_le_bytes(view.data().try_into().expect("eight bytes")) as u64;
                }
                Place::Values(values) => {
                    bytes::to_floats(view.data(), values);
                    if let Some(position) = values.iter().position(|v| !v.is_finite()) {
                        let (name, value) = (name.into(), values[position]);
                        return Err(WeightsError::NotFinite { path: path.into(), name, value, position });
                    }
                }
            }
            Ok(())
        })?;
        let unknown: Vec<&str> =
            file.names().into_iter().filter(|name| !seen.iter().any(|s| s == name) && !others.contains(name)).collect();
        if !unknown.is_empty() {
            let mut names = unknown[..unknown.len().min(3)].join(", ");
            if unknown.len() > 3 {
                names += &format!(" and {} more", unknown.len() - 3);
            }
            return Err(WeightsError::Unknown { path: path.into(), names });
        }
        loaded.refresh_sigma();
        *self = loaded;
        Ok(())
    }
}
