//! `iresnet bench inverse`

use anyhow::Result;
use clap::{Args, ValueEnum};
use iresnet::evaluate::{mean_normed_l2, normed_l2};
use iresnet::model::Inversion;
use iresnet::solve::{Anderson, Picard, Solver, Stop};

use super::network::{ImagesArgs, NetworkArgs};
use super::timing::{Case, Found, TimingArgs};
use crate::options::values::{at_least_one, not_negative};

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SolverKind {
    /// The paper's iteration x <- y - g(x)
    Picard,
    /// Anderson acceleration of it, safeguarded
    Anderson,
}

#[derive(Args, Debug)]
pub struct InverseArgs {
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    images: ImagesArgs,
    /// Solver
    #[arg(long, value_enum, default_value = "picard")]
    solver: SolverKind,
    /// Residual, relative to the block's output, at which an image is done [default: none, all make --iterations]
    #[arg(long, value_parser = not_negative)]
    tolerance: Option<f64>,
    /// Fixed-point iterations a block, at most
    #[arg(long, default_value_t = 20, value_parser = at_least_one)]
    iterations: usize,
    #[command(flatten)]
    timing: TimingArgs,
}

pub fn run(args: InverseArgs) -> Result<()> {
    args.timing.start()?;
    let network = args.network.network()?;
    let (images, _) = args.images.load(&network)?;
    let (model, batch) = (&network.model, args.images.batch);
    let prepared = model.prepare();
    let latents = prepared.latents(model.layout().view(&images));
    let solver: &dyn Solver<f32> = match args.solver {
        SolverKind::Picard => &Picard,
        SolverKind::Anderson => &Anderson::default(),
    };
    let stop = Stop { tolerance: args.tolerance, max_iterations: args.iterations };
    let mut last = None;
    let seconds = args.timing.seconds(|| last = Some(prepared.inverse(latents.view(), solver, stop)));
    let Inversion { images: inverted, report } = last.expect("at least one call");
    let inverted = inverted.as_slice().expect("a new array");
    let len = images.len() / batch;
    let errors: Vec<f64> = images.chunks(len).zip(inverted.chunks(len)).map(|(x, y)| normed_l2(x, y)).collect();
    let iterations: usize = report.images.iter().map(|image| image.iterations).sum();
    let found = Found {
        normed_l2: Some(mean_normed_l2(&errors)),
        mean_iterations: Some(iterations as f64 / (batch * model.layout().num_blocks()) as f64),
    };
    let case = Case {
        kind: "inverse",
        preset: network.name,
        batch: Some(batch),
        iterations: Some(args.iterations),
        found,
        ..Case::default()
    };
    args.timing.report(case, &seconds)
}
