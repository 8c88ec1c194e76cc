//! Figure 2: the largest singular value of every convolution, several networks side by side.

use iresnet::spectrum::Spectrum;
use plotters::prelude::*;

/// Colours that stay apart in print and for the colour-blind (Okabe and Ito).
const COLOURS: [RGBColor; 6] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// A plot could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw the spectra: {0}")]
pub struct PlotError(String);

/// The upper ends of the norms' intervals by layer, as SVG; a line marks 1.
///
/// # Errors
/// What the drawing library refused.
pub fn plot(networks: &[(String, &Spectrum)]) -> Result<String, PlotError> {
    let failed = |e: &dyn std::fmt::Display| PlotError(e.to_string());
    let norms = |spectrum: &Spectrum| -> Vec<f64> { spectrum.layers.iter().map(|l| l.norm.upper.value()).collect() };
    let layers = networks.iter().map(|(_, s)| s.layers.len()).max().unwrap_or(0).max(1);
    let top = networks.iter().flat_map(|(_, s)| norms(s)).fold(1.0, f64::max) * 1.05;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (900, 420)).into_drawing_area();
        root.fill(&WHITE).map_err(|e| failed(&e))?;
        let mut chart = ChartBuilder::on(&root)
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(60)
            .build_cartesian_2d(0f64..layers as f64 + 1.0, 0f64..top)
            .map_err(|e| failed(&e))?;
        chart
            .configure_mesh()
            .x_desc("convolution, in the order of the forward pass")
            .y_desc("largest singular value")
            .x_label_formatter(&|x| format!("{x:.0}"))
            .light_line_style(TRANSPARENT)
            .draw()
            .map_err(|e| failed(&e))?;
        let one = [(0.0, 1.0), (layers as f64 + 1.0, 1.0)];
        chart.draw_series(LineSeries::new(one, BLACK.stroke_width(1))).map_err(|e| failed(&e))?;
        for (i, (label, spectrum)) in networks.iter().enumerate() {
            let colour = COLOURS[i % COLOURS.len()];
            let points = norms(spectrum).into_iter().enumerate();
            let dots = points.map(|(n, norm)| Circle::new((n as f64 + 1.0, norm), 3, colour.filled()));
            chart
                .draw_series(dots)
                .map_err(|e| failed(&e))?
                .label(label)
                .legend(move |(x, y)| Circle::new((x + 8, y), 4, colour.filled()));
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()
            .map_err(|e| failed(&e))?;
        root.present().map_err(|e| failed(&e))?;
    }
    Ok(svg)
}
