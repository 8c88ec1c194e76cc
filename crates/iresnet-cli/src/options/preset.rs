//! Networks of presets, before any training.

use iresnet::model::{IResNet, Input};
use iresnet::train::RunConfig;

use super::norm::NormArgs;
use crate::error::{Given, UsageError, of_config};

/// The network of `preset` with the normalisation and blocks asked for, on the images that the preset is meant for.
pub fn fresh(preset: &str, norm: NormArgs, blocks: Option<&[usize]>) -> Result<(IResNet, RunConfig), UsageError> {
    let mut given = vec![Given::new("preset", format!("--preset {preset}"))];
    given.extend(norm.given());
    let mut config = RunConfig::preset(preset).map_err(|error| of_config(error, &given))?;
    config.model.norm = norm.norm()?;
    if let Some(blocks) = blocks {
        let listed: Vec<String> = blocks.iter().map(usize::to_string).collect();
        given.push(Given::new("model.blocks", format!("--blocks {}", listed.join(" "))));
        config.model.blocks = blocks.into();
    }
    let model = config.model.init(usual_input(preset), 0).map_err(|error| of_config(error, &given))?;
    Ok((model, config))
}

/// The input that a preset is meant for.
fn usual_input(preset: &str) -> Input {
    match preset {
        "digits" => Input { channels: 1, height: 8, width: 8, classes: 10 },
        name if name.ends_with("mnist") => Input { channels: 1, height: 28, width: 28, classes: 10 },
        _ => Input { channels: 3, height: 32, width: 32, classes: 10 },
    }
}
