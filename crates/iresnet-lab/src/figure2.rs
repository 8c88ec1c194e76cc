//! Figure 2: the singular values of the convolutions, several networks side by side.
//!
//! [`largest`] draws the largest one of every layer, [`full`] all those of one layer; both give an SVG element that can
//! stand in a file of its own or inside HTML. Networks differ in colour (Okabe and Ito's, which stay apart for the
//! colour-blind) and in the shape of their marks (which stay apart in black and white).

use iresnet::spectrum::{LayerSpectrum, Spectrum};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::element::Polygon;
use plotters::prelude::*;

use crate::chart::escape;

const COLOURS: [RGBColor; 6] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(150, 105, 0),
    RGBColor(86, 180, 233),
];

/// Pixels of the axes and of the labels beside them.
const WIDTH: u32 = 780;
const LEGEND: u32 = 220;

/// A plot could not be drawn.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// The drawing library refused.
    #[error("cannot draw the spectra: {0}")]
    Drawing(String),
    /// No network has singular values to draw.
    #[error("there are no singular values to draw{0}")]
    Empty(String),
}

/// The bound from above of every layer's norm, in the order of the forward pass; a line marks 1.
///
/// The axis is logarithmic where the norms span more than a factor of 20.
///
/// # Errors
/// Networks without layers, or what the drawing library refused.
pub fn largest(networks: &[(String, &Spectrum)]) -> Result<String, PlotError> {
    let points: Vec<(String, Vec<(f64, f64)>)> = networks
        .iter()
        .map(|(label, spectrum)| {
            let norms = spectrum.layers.iter().map(|l| l.norm.upper.value()).enumerate();
            (label.clone(), norms.map(|(i, norm)| (i as f64 + 1.0, norm)).collect())
        })
        .collect();
    let layers = points.iter().map(|(_, p)| p.len()).max().unwrap_or(0);
    let axes = Axes {
        x: (0.0, layers as f64 + 1.0),
        names: ["convolution, in the order of the forward pass", "largest singular value"],
        whole: true,
    };
    axes.draw(&points, usize::MAX)
}

/// All singular values (circular padding) of layer number `layer` from 0, largest first, against their rank as a share of
/// all; networks without this layer are left out.
///
/// # Errors
/// No network with this layer, or what the drawing library refused.
pub fn full(networks: &[(String, &Spectrum)], layer: usize) -> Result<String, PlotError> {
    let share = |l: &LayerSpectrum| -> Vec<(f64, f64)> {
        let last = (l.circular.len().max(2) - 1) as f64;
        // More points than pixels help nobody: every so many, and the last.
        let step = (l.circular.len() / 600).max(1);
        let kept = l.circular.iter().enumerate().filter(|(i, _)| i % step == 0 || i + 1 == l.circular.len());
        kept.map(|(i, value)| (i as f64 / last, *value)).collect()
    };
    let points: Vec<(String, Vec<(f64, f64)>)> =
        networks.iter().filter_map(|(label, s)| Some((label.clone(), share(s.layers.get(layer)?)))).collect();
    let name = networks.iter().find_map(|(_, s)| Some(s.layers.get(layer)?.name.clone())).unwrap_or_default();
    let name = format!("share of the singular values of {name} that are larger");
    Axes { x: (0.0, 1.0), names: [&name, "singular value, circular padding"], whole: false }.draw(&points, 12)
}

/// What both figures share.
struct Axes<'a> {
    x: (f64, f64),
    names: [&'a str; 2],
    /// Whether x counts something.
    whole: bool,
}

impl Axes<'_> {
    /// Draws points, joined by a line that has about `marks` marks; with [`usize::MAX`] every point is a mark and none
    /// are joined.
    fn draw(&self, networks: &[(String, Vec<(f64, f64)>)], marks: usize) -> Result<String, PlotError> {
        let values = || networks.iter().flat_map(|(_, p)| p.iter().map(|(_, y)| *y)).filter(|y| y.is_finite());
        let (top, bottom) = (values().fold(1.0, f64::max), values().filter(|y| *y > 0.0).fold(1.0, f64::min));
        if values().next().is_none() {
            return Err(PlotError::Empty(format!(" ({})", self.names[0])));
        }
        let joined = marks != usize::MAX;
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, (WIDTH + LEGEND, 420)).into_drawing_area();
            root.fill(&WHITE).map_err(failed)?;
            // The full spectrum falls to zero, which a logarithm does not reach.
            if !joined && top / bottom > 20.0 {
                self.draw_on(&root, (bottom / 1.3..top * 1.3).log_scale(), networks, marks)?;
            } else {
                self.draw_on(&root, 0.0..top * 1.05, networks, marks)?;
            }
            root.present().map_err(failed)?;
        }
        Ok(svg.replacen("<svg ", "<svg role=\"img\" ", 1).replacen(
            '>',
            &format!("><title>{}</title>", escape(self.names[1])),
            1,
        ))
    }

    fn draw_on<Y>(
        &self,
        root: &DrawingArea<SVGBackend<'_>, Shift>,
        y: Y,
        networks: &[(String, Vec<(f64, f64)>)],
        marks: usize,
    ) -> Result<(), PlotError>
    where
        Y: AsRangedCoord<Value = f64>,
        Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let (chart, legend) = root.split_horizontally(WIDTH);
        let mut chart = ChartBuilder::on(&chart)
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(self.x.0..self.x.1, y)
            .map_err(failed)?;
        let whole = self.whole;
        chart
            .configure_mesh()
            .x_desc(self.names[0])
            .y_desc(self.names[1])
            .x_label_formatter(&|x| if whole { format!("{x:.0}") } else { format!("{x:.1}") })
            .y_label_formatter(&|y| format!("{}", (y * 1e6).round() / 1e6))
            .axis_desc_style(("sans-serif", 16))
            .label_style(("sans-serif", 14))
            .light_line_style(TRANSPARENT)
            .draw()
            .map_err(failed)?;
        let one = [(self.x.0, 1.0), (self.x.1, 1.0)];
        chart.draw_series(DashedLineSeries::new(one, 6, 4, BLACK.stroke_width(1))).map_err(failed)?;
        for (network, (label, points)) in networks.iter().enumerate() {
            let points: Vec<(f64, f64)> = points.iter().copied().filter(|(_, y)| y.is_finite()).collect();
            let colour = COLOURS[network % COLOURS.len()];
            if marks != usize::MAX {
                chart.draw_series(LineSeries::new(points.clone(), colour.stroke_width(2))).map_err(failed)?;
            }
            let step = (points.len() / marks).max(1);
            // Networks have their marks at different places, so that they can be told apart where lines meet.
            let first = if step > 1 { step * network / networks.len().max(1) } else { 0 };
            let marked = points.iter().skip(first).step_by(step);
            let drawn = marked.map(|at| EmptyElement::at(*at) + mark(network, (0, 0), colour));
            chart.draw_series(drawn).map_err(failed)?;
            // Beside the chart, where no mark can lie beneath it.
            let line = 30 + 22 * network as i32;
            legend.draw(&mark(network, (8, line), colour)).map_err(failed)?;
            legend.draw(&Text::new(label.clone(), (20, line - 7), ("sans-serif", 14))).map_err(failed)?;
        }
        Ok(())
    }
}

/// The mark of a network around a pixel: disc, triangle, square, triangle on its point, diamond, cross.
fn mark(network: usize, (x, y): (i32, i32), colour: RGBColor) -> Polygon<(i32, i32)> {
    const DISC: [(i32, i32); 8] = [(4, 0), (3, 3), (0, 4), (-3, 3), (-4, 0), (-3, -3), (0, -4), (3, -3)];
    const UP: [(i32, i32); 3] = [(0, -5), (5, 4), (-5, 4)];
    const SQUARE: [(i32, i32); 4] = [(-3, -3), (4, -3), (4, 4), (-3, 4)];
    const DOWN: [(i32, i32); 3] = [(0, 5), (5, -4), (-5, -4)];
    const DIAMOND: [(i32, i32); 4] = [(0, -6), (4, 0), (0, 6), (-4, 0)];
    const CROSS: [(i32, i32); 12] =
        [(-1, -5), (1, -5), (1, -1), (5, -1), (5, 1), (1, 1), (1, 5), (-1, 5), (-1, 1), (-5, 1), (-5, -1), (-1, -1)];
    let shapes: [&[(i32, i32)]; 6] = [&DISC, &UP, &SQUARE, &DOWN, &DIAMOND, &CROSS];
    let corners: Vec<(i32, i32)> = shapes[network % shapes.len()].iter().map(|(dx, dy)| (x + dx, y + dy)).collect();
    Polygon::new(corners, colour.filled())
}

fn failed(error: impl std::fmt::Display) -> PlotError {
    PlotError::Drawing(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use iresnet::model::{Input, ModelConfig};

    fn spectrum(seed: u64) -> Spectrum {
        let config = ModelConfig { blocks: vec![1, 1], ..ModelConfig::preset("digits").unwrap() };
        let model = config.init(Input { channels: 1, height: 4, width: 4, classes: 3 }, seed).unwrap();
        Spectrum::of(&model.effective_weights().layers(model.layout()), |_, _| {})
    }

    #[test]
    fn every_network_has_its_marks_and_its_label() {
        let (a, b) = (spectrum(1), spectrum(2));
        let svg = largest(&[("vanilla".into(), &a), ("c < 1".into(), &b)]).unwrap();
        assert!(svg.starts_with("<svg role=\"img\"") && svg.contains("<title>largest singular value</title>"));
        for colour in ["#D55E00", "#0072B2"] {
            // A mark a layer, and one in the legend.
            assert_eq!(svg.matches("<polygon").count(), 14, "{svg}");
            assert_eq!(svg.matches(&format!("fill=\"{colour}\"")).count(), 7, "{colour}");
        }
        assert!(svg.contains("c &lt; 1") && svg.contains("convolution, in the order"), "{svg}");
        let svg = full(&[("vanilla".into(), &a), ("c < 1".into(), &b)], 4).unwrap();
        assert!(svg.contains("stages.1.blocks.0.conv2") && svg.contains("<polyline"), "{svg}");
    }

    #[test]
    fn nothing_to_draw_is_said() {
        assert!(matches!(largest(&[]), Err(PlotError::Empty(_))));
        assert!(matches!(full(&[("a".into(), &spectrum(1))], 6), Err(PlotError::Empty(_))));
    }
}
