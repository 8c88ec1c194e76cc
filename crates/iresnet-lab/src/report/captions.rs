//! How every number was obtained, in words: the same in HTML and Markdown.

use super::{Report, listed};
use crate::figure3::SHOWN;
use crate::figure4::TARGETS;

impl Report {
    /// What was run.
    pub(super) fn lede(&self) -> String {
        format!(
            "Six networks of the same shape (preset {}), trained on {} for {} epochs each with seed {}, then \
             classified, inverted and certified. iresnet {}, {} with {} threads.",
            self.preset, self.data, self.epochs, self.seed, self.version, self.device, self.threads
        )
    }

    pub(super) fn table_caption(&self) -> String {
        let samples = self.rows.first().map_or(0, |row| row.samples);
        let against = if self.data.contains("mnist") || self.data.contains("cifar") {
            "The paper\u{2019}s figures stand beside ours; it trained for 200 epochs."
        } else {
            "The paper has no figures for this data; those for MNIST stand beside for orientation."
        };
        let diverged = match self.diverged.as_slice() {
            [] => String::new(),
            models => format!(" Training diverged, so that there is no row: {}.", listed(models)),
        };
        format!(
            "Error: wrong classes among all test images, weights of the last epoch. Normed L2: mean over \
             {samples} test images of ||x \u{2212} x^|| / ||x|| on the network\u{2019}s input, after at most {} \
             iterations a block; an image\u{2019}s iteration ends early at the rounding of float32, or when its steps \
             grow (not contractive). Guaranteed inverse: every block\u{2019}s Lip(g) is \
             below 1, proved from upper bounds of the convolutions in use. {against}{diverged}",
            self.max_iterations
        )
    }

    pub(super) fn norms_caption(&self) -> String {
        "The paper does not define its norm, and its smallest figures lie below 2e-8, what rounding an image to float32 \
         alone does to it, so that they are hardly relative errors. Beside ours the length of the difference, in units of \
         the input\u{2019}s range, the same over the root of the number of an image\u{2019}s values (the root mean \
         square per value) and over that number; means over the same images."
            .into()
    }

    pub(super) fn figure1_caption(&self) -> Option<String> {
        let figure = self.figure1.as_ref()?;
        let [free, bound] = &figure.lines[..] else { return None };
        let pairs = free.places.first().map_or(0, Vec::len).saturating_sub(1);
        let largest = |l: &[f64]| l.iter().copied().fold(0.0, f64::max);
        Some(format!(
            "Two residual networks on the line, {} blocks of {} hidden values, {} steps of Adam, asked to turn the \
             interval around (x to \u{2212}x). Without constraint (mean squared error {:.1e}, Lip(g) up to {:.2}) \
             {} of {pairs} neighbouring pairs meet or change sides, so no inverse exists. With both layers of each \
             block held at norm {} (mean squared error {:.2}, Lip(g) at most {:.2}) {} do: the points come closer, to \
             {:.0e} in the end, but order is kept at every depth, whatever training asks for.",
            figure.blocks,
            figure.hidden,
            figure.steps,
            free.loss,
            largest(&free.lipschitz),
            free.crossings,
            bound.coeff.unwrap_or(1.0),
            bound.loss,
            largest(&bound.lipschitz),
            if bound.crossings == 0 { "none".into() } else { bound.crossings.to_string() },
            bound.smallest_gap,
        ))
    }

    pub(super) fn figure2_caption(&self) -> Option<String> {
        let figure = self.figure2.as_ref()?;
        let counts: Vec<String> =
            figure.networks.iter().map(|n| format!("{} {} of {}", n.model, n.above_one, n.layers.len())).collect();
        Some(format!(
            "Largest singular value of every convolution as it acts on its zero-padded input: proved upper bounds of \
             the weights in use, BatchNorm not included. Layers certainly above 1: {}.",
            listed(&counts)
        ))
    }

    pub(super) fn spectrum_caption(&self) -> Option<String> {
        let figure = self.figure2.as_ref()?;
        Some(format!(
            "All {} singular values of {} with circular padding, exact, largest first.",
            figure.values, figure.layer
        ))
    }

    pub(super) fn figure3_caption(&self) -> Option<String> {
        self.figure3.as_ref()?;
        Some(format!(
            "{SHOWN} test images at even distances, through the network and back, with the chosen number of fixed-point \
             iterations in every block (0: the latent passes back as it is). Beside each row the mean of \
             ||x \u{2212} x^|| / ||x||. Values outside the range of pixels are clipped for display, and values that \
             are not finite are black. Networks without a guarantee make every iteration, unless steps grow a million-fold."
        ))
    }

    pub(super) fn figure4_caption(&self) -> Option<String> {
        let figure = self.figure4.as_ref()?;
        Some(format!(
            "Mean of ||x \u{2212} x^|| / ||x|| over {} test images against iterations a block, by the \
             paper\u{2019}s fixed-point iteration (full lines) and with Anderson acceleration (dashed; memory 3). An iteration \
             is one evaluation of g with either. Curves end at the rounding of float32; errors beyond the axis lie on \
             its edge.",
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
             after one that is not counted, {} threads. The paper\u{2019}s CIFAR-10 network took 0.15 to 0.75 s for \
             5 to 20 iterations and 4.3 s for 100, on a GPU of 2018.",
            timing.model, timing.images, timing.calls, self.threads
        ))
    }
}
