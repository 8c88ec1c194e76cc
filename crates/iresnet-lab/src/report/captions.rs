//! How every number was obtained, in words: the same in HTML and Markdown.

use iresnet::train::RunConfig;

use super::content::Report;
use super::words::{counted, listed};
use crate::figure1::APART;
use crate::figure2::{FAINT, NetworkNorms};
use crate::figure4::TARGETS;
use crate::table1::PaperData;

impl Report {
    /// What was run.
    pub(super) fn lede(&self) -> String {
        let software =
            format!("This report: iresnet {}, {} with {}.", self.version, self.device, counted(self.threads, "thread"));
        let Some(config) = &self.config else { return software };
        let diverged = match self.diverged.as_slice() {
            [] => String::new(),
            models => format!(" Training diverged, so that nothing is shown of it: {}.", listed(models)),
        };
        format!(
            "{} of the same shape (preset {}), trained on {} for {} each with seed {}, then classified, \
             inverted and certified.{diverged} {} {software}",
            match self.networks.len() {
                0 => "No network".into(),
                1 => "One network".into(),
                6 => "Six networks".into(),
                some => format!("{some} networks"),
            },
            self.preset,
            self.data,
            counted(self.epochs, "epoch"),
            self.seed,
            recipe(config),
        )
    }

    pub(super) fn table_caption(&self) -> String {
        let samples = self.rows.first().map_or(0, |row| row.samples);
        let against = match self.paper {
            Some(_) => "The paper\u{2019}s figures stand beside ours; it trained for 200 epochs.",
            None => "The paper has no figures for this data; those for MNIST stand beside for orientation.",
        };
        format!(
            "Error: wrong classes among all test images, weights of the last epoch. Normed L2: mean over \
             {samples} test images of ||x \u{2212} x^|| / ||x|| on the network\u{2019}s input, after {} iterations a \
             block. With a guarantee latents are computed in float64, an image ends in a block when float32 changes nothing \
             any more, and up to two more steps follow in float64; without one all is float32 and every iteration is made, \
             unless a step is a million times as long as the first, and the outcomes are those of an inverse that gives up \
             where steps grow (not contractive). Guaranteed inverse: every block\u{2019}s Lip(g) is \
             below 1, proved from upper bounds of the convolutions in use. Training: its time, on however many threads; \
             of an epoch that was interrupted, the last part. {against}",
            self.max_iterations
        )
    }

    pub(super) fn norms_caption(&self) -> String {
        let rounding = match self.paper {
            Some(PaperData::Cifar10) => {
                ", and its smallest figure, 7.2e-9, lies below what rounding to float32 takes away of most values, about \
                 2e-8 of their length, so that it is hardly a relative error"
            }
            _ => "",
        };
        format!(
            "The paper does not define its norm{rounding}. Beside ours the length of the difference, in units of the \
             input\u{2019}s range, the same over the root of the number of an image\u{2019}s values (the root mean \
             square per value) and over that number; means over the same images."
        )
    }

    pub(super) fn figure1_caption(&self) -> Option<String> {
        let figure = self.figure1.as_ref()?;
        let [free, bound] = &figure.lines[..] else { return None };
        let pairs = free.places.first().map_or(0, Vec::len).saturating_sub(1);
        let largest = |l: &[f64]| l.iter().copied().fold(0.0, f64::max);
        Some(format!(
            "Two residual networks on the line, {} blocks of {} hidden values, {} steps of Adam, asked to fold the \
             interval (x to 2|x| \u{2212} 1). Without constraint (mean squared error {:.1e}, Lip(g) up to {:.2}) \
             {} of {pairs} neighbouring pairs change sides and the others do not, so that two starts reach the same \
             place and no inverse exists: starts at least {APART} apart end within {:.0e} of each other. With both layers \
             of each block held at norm {} (mean squared error {:.2}, Lip(g) at most {:.2}) {} does: order is kept at every \
             depth whatever training asks for, and such starts end at least {:.2} apart.",
            figure.blocks,
            figure.hidden,
            figure.steps,
            free.loss,
            largest(&free.lipschitz),
            free.crossings,
            free.nearest,
            bound.coeff.unwrap_or(1.0),
            bound.loss,
            largest(&bound.lipschitz),
            if bound.crossings == 0 { "none".into() } else { bound.crossings.to_string() },
            bound.nearest,
        ))
    }

    pub(super) fn figure2_caption(&self) -> Option<String> {
        let figure = self.figure2.as_ref()?;
        let blocks = |n: &NetworkNorms| n.layers.len() / 3;
        let above = figure.networks.iter().map(|n| format!("{}: {} of {}", n.model, n.above_one, n.layers.len()));
        let faint = figure.networks.iter().filter(|n| n.faint_blocks > 0);
        let faint: Vec<String> = faint.map(|n| format!("{}: {} of {}", n.model, n.faint_blocks, blocks(n))).collect();
        let faint = match faint.as_slice() {
            [] => String::new(),
            networks => format!(
                " Blocks that change distances by less than {FAINT} of them, by the product of their norms: {}.",
                networks.join(", ")
            ),
        };
        Some(format!(
            "Largest singular value of every convolution as it acts on its zero-padded input: proved upper bounds of \
             the weights in use, BatchNorm not included. Layers certainly above 1: {}; in the paper about two thirds of \
             vanilla\u{2019}s and BatchNorm\u{2019}s.{faint}",
            above.collect::<Vec<_>>().join(", ")
        ))
    }

    pub(super) fn spectrum_caption(&self) -> Option<String> {
        let chosen = self.figure2.as_ref()?.chosen()?;
        Some(format!(
            "All {} singular values of {} with circular padding, exact, largest first. The operator in use pads with zeros: \
             its norm, above, may be smaller than the largest of these.",
            chosen.values, chosen.layer
        ))
    }

    pub(super) fn figure3_caption(&self) -> Option<String> {
        let shown = self.figure3.as_ref()?.classes.len();
        Some(format!(
            "{shown} test images at even distances, through the network and back, with the chosen number of fixed-point \
             iterations in every block (0: the latent passes back as it is). Beside each row the mean of \
             ||x \u{2212} x^|| / ||x||. Values outside the range of pixels are clipped for display, and values that \
             are not finite are black. Networks without a guarantee make every iteration, unless steps grow a million-fold; \
             those with one start from latents in float64, and where float32 changes nothing any more up to two steps in \
             float64 follow, as in Table 1."
        ))
    }

    pub(super) fn figure4_caption(&self) -> Option<String> {
        let figure = self.figure4.as_ref()?;
        Some(format!(
            "Mean of ||x \u{2212} x^|| / ||x|| over {} test images against iterations a block, by the \
             paper\u{2019}s fixed-point iteration (full lines) and with Anderson acceleration (dashed; memory 3). An iteration \
             is one evaluation of g with either. Curves of networks with a guarantee lie level where float32 changes nothing any \
             more, and fall once again by the steps in float64 that follow; errors beyond the axis lie on its edge.",
            figure.samples
        ))
    }

    /// The number that the paper gives as about a half, and how it was obtained.
    pub(super) fn factor_sentences(&self) -> Option<[String; 2]> {
        let figure = self.figure4.as_ref()?;
        let Some((target, factor)) = figure.finest_factor() else {
            let none = "Too few networks reach a common error to say how iterations depend on c.";
            return Some([none.into(), String::new()]);
        };
        let others = TARGETS.iter().zip(&figure.factors).filter(|(other, _)| **other != target);
        let others: Vec<String> =
            others.filter_map(|(other, factor)| Some(format!("{:.2} for {other:.0e}", (*factor)?))).collect();
        let others =
            if others.is_empty() { String::new() } else { format!(" Factors for other errors: {}.", listed(&others)) };
        Some([
            format!("For each 0.2 less of c, {factor:.2} times as many iterations reach an error of {target:.0e}."),
            format!(
                "That is the least-squares line through c and the logarithms of the iterations of the normalised \
                 networks, counted with fractions; the paper says about half.{others}"
            ),
        ])
    }

    pub(super) fn timing_caption(&self) -> Option<String> {
        let timing = self.timing.as_ref()?;
        Some(format!(
            "The trunk of {}, {} images a call, every iteration made in every block; best and median of {} calls \
             after one that is not counted, {}, in float32 throughout: without Table 1\u{2019}s steps in float64. The \
             paper\u{2019}s CIFAR-10 network took 0.15 to 0.75 s for 5 to 20 iterations and 4.3 s for 100, on a GPU of 2018.",
            timing.model,
            timing.images,
            timing.calls,
            counted(self.threads, "thread")
        ))
    }
}

/// The recipe in words.
fn recipe(RunConfig { model, train }: &RunConfig) -> String {
    let percent = |m: &f64| format!("{}", (1e3 * m).round() / 10.0);
    let milestones = listed(&train.milestones.iter().map(percent).collect::<Vec<_>>());
    let rate = match train.milestones.is_empty() {
        true => format!("rate {}", train.learning_rate),
        false => format!("rate {} times {} after {milestones} % of the epochs", train.learning_rate, train.decay),
    };
    let clipped = match train.clip_norm {
        0.0 => String::new(),
        length => format!(", gradients shortened to {length}"),
    };
    let muon = match train.muon_rate {
        0.0 => String::new(),
        rate => format!(", kernels by Muon with rate {rate}"),
    };
    let dropout = match model.dropout {
        0.0 => "no dropout".into(),
        probability => format!("dropout {probability}"),
    };
    let mut changes = Vec::new();
    if train.shift > 0 {
        changes.push(format!("shifts of up to {} pixels", train.shift));
    }
    if train.flip {
        changes.push("flips".into());
    }
    let augmented = if changes.is_empty() { String::new() } else { format!(", {}", listed(&changes)) };
    let held_out = match train.validation {
        0 => String::new(),
        images => format!(", {images} training images held out"),
    };
    format!(
        "SGD with momentum {}, batch {}, {rate}{muon}, weight decay {}{clipped}, {dropout}{augmented}{held_out}.",
        train.momentum, train.batch_size, train.weight_decay
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_is_in_it() {
        let line = Report { data: "digits".into(), version: "1".into(), ..Report::default() };
        assert!(!line.lede().contains("trained"), "{}", line.lede());
        let config = RunConfig::preset_with("digits", &["train.clip_norm=0.25".into(), "model.dropout=0.1".into()]);
        let networks = vec!["vanilla".into(), "c = 0.9".into()];
        let two = Report { networks, config: config.ok(), ..line };
        for part in ["2 networks", "shortened to 0.25", "dropout 0.1"] {
            assert!(two.lede().contains(part), "{part}: {}", two.lede());
        }
        // Only figures that are shown are spoken of.
        let cifar = Report { paper: Some(PaperData::Cifar10), ..two.clone() };
        assert!(cifar.norms_caption().contains("7.2e-9") && !two.norms_caption().contains("7.2e-9"));
    }
}
