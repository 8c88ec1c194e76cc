//! Line charts as SVG that stands alone and also follows the colours of the page that it is part of.
//!
//! Axes and text take `currentColor`. The colours of the series are CSS variables `--series-0` and so on, with values
//! behind them that hold where no page defines them.

use std::fmt::Write;

/// Colours that stay apart in print and for the colour-blind (Okabe and Ito).
pub const COLOURS: [&str; 6] = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// Space around the plot: left, top, right, bottom.
const MARGIN: (f64, f64, f64, f64) = (62.0, 34.0, 16.0, 46.0);
/// Width of a line of the legend.
const LEGEND_WIDTH: f64 = 108.0;

/// Colour of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Colour {
    /// One of [`COLOURS`].
    Number(usize),
    /// Between the second of them (0) and the first (1).
    Between(f64),
}

impl Colour {
    fn css(self) -> String {
        match self {
            Colour::Number(i) => format!("var(--series-{0}, {1})", i % COLOURS.len(), COLOURS[i % COLOURS.len()]),
            Colour::Between(at) => format!("color-mix(in oklab, {} {:.0}%, {})", COLOURS[0], 100.0 * at, COLOURS[1]),
        }
    }
}

/// One line.
#[derive(Clone, Debug)]
pub struct Series {
    /// For the legend; without one the line has no entry.
    pub label: String,
    /// Its colour.
    pub colour: Colour,
    /// Dashes instead of a full line.
    pub dashed: bool,
    /// Marks at the points, of another shape for each colour.
    pub markers: bool,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

/// A chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Read out in place of the picture.
    pub title: String,
    /// What the horizontal axis counts.
    pub x_label: String,
    /// What the vertical axis measures.
    pub y_label: String,
    /// Ends of the horizontal axis.
    pub x: (f64, f64),
    /// Ends of the vertical axis.
    pub y: (f64, f64),
    /// Whether the vertical axis is logarithmic.
    pub log_y: bool,
    /// Width and height in pixels.
    pub size: (usize, usize),
    /// The lines.
    pub series: Vec<Series>,
    /// A horizontal line at this height.
    pub rule: Option<f64>,
}

impl Chart {
    /// Pixels of the horizontal axis' ends.
    pub fn plot_sides(&self) -> (f64, f64) {
        (MARGIN.0, self.size.0 as f64 - MARGIN.2)
    }

    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let (left, right) = self.plot_sides();
        let (top, bottom) = (MARGIN.1, self.size.1 as f64 - MARGIN.3);
        let up = |y: f64| if self.log_y { y.log10() } else { y };
        let across = (x - self.x.0) / (self.x.1 - self.x.0);
        let height = (up(y) - up(self.y.0)) / (up(self.y.1) - up(self.y.0));
        (left + across * (right - left), bottom - height.clamp(0.0, 1.0) * (bottom - top))
    }

    /// The SVG element.
    pub fn svg(&self) -> String {
        let (width, height) = self.size;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\" aria-label=\"{}\" font-family=\"system-ui, sans-serif\" \
             font-size=\"13\" fill=\"currentColor\">\n",
            escape(&self.title)
        );
        self.axes(&mut svg);
        for series in &self.series {
            self.series(series, &mut svg);
        }
        self.legend(&mut svg);
        svg + "</svg>\n"
    }

    fn axes(&self, svg: &mut String) {
        let ((left, bottom), (right, top)) = (self.at((self.x.0, self.y.0)), self.at((self.x.1, self.y.1)));
        for y in self.y_ticks() {
            let (_, at) = self.at((self.x.0, y));
            let text = if self.log_y { power(y) } else { decimal(y) };
            _ = writeln!(
                svg,
                "<path d=\"M{left:.1} {at:.1}H{right:.1}\" stroke=\"currentColor\" stroke-opacity=\".15\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                left - 8.0,
                at + 4.5
            );
        }
        for x in linear_ticks(self.x) {
            let (at, _) = self.at((x, self.y.0));
            _ = writeln!(
                svg,
                "<path d=\"M{at:.1} {bottom:.1}v5\" stroke=\"currentColor\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 19.0,
                decimal(x)
            );
        }
        if let Some(rule) = self.rule {
            let (_, at) = self.at((self.x.0, rule));
            _ = writeln!(svg, "<path d=\"M{left:.1} {at:.1}H{right:.1}\" stroke=\"currentColor\"/>");
        }
        _ = writeln!(
            svg,
            "<path d=\"M{left:.1} {top:.1}V{bottom:.1}H{right:.1}\" fill=\"none\" stroke=\"currentColor\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n\
             <text transform=\"translate(15 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (left + right) / 2.0,
            bottom + 39.0,
            escape(&self.x_label),
            (top + bottom) / 2.0,
            escape(&self.y_label)
        );
    }

    fn series(&self, series: &Series, svg: &mut String) {
        let inside = series.points.iter().filter(|(x, _)| (self.x.0..=self.x.1).contains(x));
        let points: Vec<(f64, f64)> = inside.map(|point| self.at(*point)).collect();
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let dashes = if series.dashed { " stroke-dasharray=\"5 4\" stroke-opacity=\".7\"" } else { "" };
        _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" style=\"stroke:{}\" stroke-width=\"1.8\"{dashes}/>",
            path.join(" "),
            series.colour.css()
        );
        if series.markers {
            points.iter().for_each(|(x, y)| *svg += &marker(series.colour, *x, *y));
        }
    }

    fn legend(&self, svg: &mut String) {
        let labelled = self.series.iter().filter(|series| !series.label.is_empty());
        for (i, series) in labelled.enumerate() {
            let (x, y) = (MARGIN.0 + i as f64 * LEGEND_WIDTH, 15.0);
            _ = writeln!(
                svg,
                "<path d=\"M{x:.1} {y}h18\" style=\"stroke:{}\" stroke-width=\"2.4\"/>{}\
                 <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                series.colour.css(),
                if series.markers { marker(series.colour, x + 9.0, y) } else { String::new() },
                x + 23.0,
                y + 4.5,
                escape(&series.label)
            );
        }
    }

    fn y_ticks(&self) -> Vec<f64> {
        if !self.log_y {
            return linear_ticks(self.y);
        }
        let (low, high) = (self.y.0.log10().ceil() as i32, self.y.1.log10().floor() as i32);
        (low..=high).step_by(2).map(|exponent| 10f64.powi(exponent)).collect()
    }
}

/// A mark, of another shape for each colour.
fn marker(colour: Colour, x: f64, y: f64) -> String {
    let shape = match colour {
        Colour::Number(i) => i % COLOURS.len(),
        Colour::Between(_) => 0,
    };
    let path =
        ["m-4-4h8v8h-8z", "m0-5 5 5-5 5-5-5z", "", "m0-5 5 8.5h-10z", "m0 5 5-8.5h-10z", "m-4 0h8m-4-4v8"][shape];
    let colour = colour.css();
    if path.is_empty() {
        return format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.8\" style=\"fill:{colour}\"/>");
    }
    format!("<path d=\"M{x:.1} {y:.1}{path}\" style=\"fill:{colour};stroke:{colour}\" stroke-width=\"1.4\"/>")
}

/// About five round numbers between the ends.
fn linear_ticks((low, high): (f64, f64)) -> Vec<f64> {
    let rough = (high - low) / 5.0;
    let unit = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|s| s * unit).into_iter().find(|s| *s >= rough * 0.99).unwrap_or(unit);
    let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
    (first..=last).map(|i| i as f64 * step).collect()
}

fn decimal(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').replace('-', "\u{2212}")
}

/// `10` with a raised exponent.
fn power(value: f64) -> String {
    let exponent = value.log10().round().to_string().replace('-', "\u{2212}");
    format!("10<tspan dy=\"-5\" font-size=\"10\">{exponent}</tspan>")
}

/// Text for HTML and SVG.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(log_y: bool) -> Chart {
        Chart {
            title: "a < b".into(),
            x_label: "x".into(),
            y_label: "y".into(),
            x: (0.0, 10.0),
            y: (1e-8, 1.0),
            log_y,
            size: (400, 300),
            series: vec![Series {
                label: "s".into(),
                colour: Colour::Number(1),
                dashed: false,
                markers: true,
                points: vec![(0.0, 1e-4), (10.0, 1e-12), (11.0, 1.0)],
            }],
            rule: None,
        }
    }

    #[test]
    fn points_land_where_the_axes_say() {
        let chart = chart(true);
        let (top, bottom) = (MARGIN.1, 300.0 - MARGIN.3);
        assert_eq!(chart.at((0.0, 1e-4)), (MARGIN.0, (top + bottom) / 2.0));
        // Values beyond the axis lie on its edge; points right of the plot are left out.
        assert_eq!(chart.at((10.0, 1e-12)), (400.0 - MARGIN.2, bottom));
        let svg = chart.svg();
        assert!(svg.contains("points=\"62.0,144.0 384.0,254.0\""), "{svg}");
        assert!(svg.contains("aria-label=\"a &lt; b\""));
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(linear_ticks((0.0, 1.0)).len(), 6);
        assert_eq!(linear_ticks((0.0, 20.0)), [0.0, 5.0, 10.0, 15.0, 20.0]);
        assert_eq!(linear_ticks((-1.05, 1.05)), [-1.0, -0.5, 0.0, 0.5, 1.0]);
        assert_eq!(chart(true).y_ticks().len(), 5);
        assert_eq!([decimal(0.5), decimal(-1.0), decimal(20.0)], ["0.5", "\u{2212}1", "20"]);
    }
}
