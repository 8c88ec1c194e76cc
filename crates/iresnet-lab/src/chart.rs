//! Line charts as SVG: [`Chart::svg`] follows the colours of the page that it is part of, [`Chart::file`] stands alone.
//!
//! In a page axes and text take `currentColor`, and the colours of the series are CSS variables `--series-0` and so on,
//! with values behind them that hold where the page does not define them.

use std::fmt::Write;

/// Colours that stay apart in print and for the colour-blind (Okabe and Ito), the last three darker, for a contrast of 3 to
/// white.
pub const COLOURS: [&str; 6] = ["#d55e00", "#0072b2", "#009e73", "#c0609a", "#b08500", "#3a97cc"];

/// Space around the plot: left, top below the legend, right, bottom.
const MARGIN: (f64, f64, f64, f64) = (62.0, 14.0, 16.0, 46.0);
/// Height of a row of the legend, and the least width of an entry.
const LEGEND: (f64, f64) = (20.0, 106.0);
/// Where the legend begins and how much it leaves free on the right.
const LEGEND_SIDES: (f64, f64) = (14.0, 6.0);
/// Width of a character of the legend, about.
const CHARACTER: f64 = 8.4;

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
            Colour::Between(at) => {
                let part =
                    |colour: &str, i: usize| u8::from_str_radix(&colour[1 + 2 * i..3 + 2 * i], 16).expect("a colour");
                let mixed = [0, 1, 2].map(|i| {
                    let [first, second] = [0, 1].map(|c| f64::from(part(COLOURS[c], i)));
                    (at * first + (1.0 - at) * second).round() as u8
                });
                format!("#{:02x}{:02x}{:02x}", mixed[0], mixed[1], mixed[2])
            }
        }
    }
}

/// How the points of a series are joined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stroke {
    /// By a full line.
    Full,
    /// By dashes.
    Dashed,
    /// Not at all.
    Absent,
}

/// One network's points.
#[derive(Clone, Debug)]
pub struct Series {
    /// For the legend; without one the line has no entry.
    pub label: String,
    /// Its colour.
    pub colour: Colour,
    /// What joins the points.
    pub stroke: Stroke,
    /// Marks at the points, of another shape for each colour: at all of them, at every so many, or at none for 0.
    pub marks_every: usize,
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
    /// Pixels of the plot's edges: left, top, right, bottom.
    pub fn plot_area(&self) -> (f64, f64, f64, f64) {
        let labels = self.labelled().count();
        let rows = labels.div_ceil(self.legend_columns().0);
        (MARGIN.0, MARGIN.1 + LEGEND.0 * rows as f64, self.size.0 as f64 - MARGIN.2, self.size.1 as f64 - MARGIN.3)
    }

    fn labelled(&self) -> impl Iterator<Item = &Series> {
        self.series.iter().filter(|series| !series.label.is_empty())
    }

    /// How many entries stand in a row of the legend, and their width.
    fn legend_columns(&self) -> (usize, f64) {
        let longest = self.labelled().map(|series| series.label.chars().count()).max().unwrap_or(0);
        let width = LEGEND.1.max(30.0 + CHARACTER * longest as f64);
        let columns = (self.size.0 as f64 - LEGEND_SIDES.0 - LEGEND_SIDES.1) / width;
        ((columns as usize).max(1), width)
    }

    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let (left, top, right, bottom) = self.plot_area();
        let up = |y: f64| if self.log_y { y.log10() } else { y };
        let across = (x - self.x.0) / (self.x.1 - self.x.0);
        let height = (up(y) - up(self.y.0)) / (up(self.y.1) - up(self.y.0));
        (left + across * (right - left), bottom - height.clamp(0.0, 1.0) * (bottom - top))
    }

    /// The SVG element for a file of its own: dark on white, in plain colours, which viewers without CSS know too.
    pub fn file(&self) -> String {
        let mut svg = self.svg().replace("currentColor", "#1d1f22");
        for (i, colour) in COLOURS.iter().enumerate() {
            svg = svg.replace(&format!("var(--series-{i}, {colour})"), colour);
        }
        let end = svg.find('>').expect("an element begins") + 1;
        svg.insert_str(end, "\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>");
        svg
    }

    /// The SVG element for a page.
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
        let (left, top, right, bottom) = self.plot_area();
        for y in self.y_ticks() {
            let (_, at) = self.at((self.x.0, y));
            let text = if self.log_y && self.decades() > DECADES { power(y) } else { decimal(y) };
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
        let colour = series.colour.css();
        if series.stroke != Stroke::Absent {
            let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let dashed = series.stroke == Stroke::Dashed;
            let dashes = if dashed { " stroke-dasharray=\"5 4\" stroke-opacity=\".7\"" } else { "" };
            _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" style=\"stroke:{colour}\" stroke-width=\"1.8\"{dashes}/>",
                path.join(" ")
            );
        }
        if series.marks_every > 0 {
            *svg += &marks(series.colour, points.iter().step_by(series.marks_every));
        }
    }

    fn legend(&self, svg: &mut String) {
        let (columns, width) = self.legend_columns();
        for (i, series) in self.labelled().enumerate() {
            let (x, y) = (LEGEND_SIDES.0 + (i % columns) as f64 * width, 15.0 + LEGEND.0 * (i / columns) as f64);
            let colour = series.colour.css();
            if series.stroke != Stroke::Absent {
                _ = writeln!(svg, "<path d=\"M{x:.1} {y}h18\" style=\"stroke:{colour}\" stroke-width=\"2.4\"/>");
            }
            if series.marks_every > 0 {
                *svg += &marks(series.colour, [(x + 9.0, y)].iter());
            }
            _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", x + 23.0, y + 4.5, escape(&series.label));
        }
    }

    /// Powers of ten that the vertical axis spans.
    fn decades(&self) -> f64 {
        (self.y.1 / self.y.0).log10()
    }

    fn y_ticks(&self) -> Vec<f64> {
        if !self.log_y {
            return linear_ticks(self.y);
        }
        if self.decades() <= DECADES {
            let powers = self.y.0.log10().floor() as i32..=self.y.1.log10().floor() as i32;
            let ticks = powers.flat_map(|exponent| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(exponent)));
            return ticks.filter(|tick| (self.y.0..=self.y.1).contains(tick)).collect();
        }
        let (low, high) = (self.y.0.log10().ceil() as i32, self.y.1.log10().floor() as i32);
        (low..=high).step_by(2).map(|exponent| 10f64.powi(exponent)).collect()
    }
}

/// Up to so many powers of ten a logarithmic axis is marked at 1, 2 and 5 of each.
const DECADES: f64 = 3.0;

/// Marks at all of `points`, of another shape for each colour.
fn marks<'a>(colour: Colour, points: impl Iterator<Item = &'a (f64, f64)>) -> String {
    let number = match colour {
        Colour::Number(i) => i % COLOURS.len(),
        Colour::Between(_) => 0,
    };
    let shape = [
        "m-4-4h8v8h-8z",
        "m0-5 5 5-5 5-5-5z",
        "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
        "m0-5 5 8.5h-10z",
        "m0 5 5-8.5h-10z",
        "m-4 0h8m-4-4v8",
    ][number];
    let path: String = points.map(|(x, y)| format!("M{x:.1} {y:.1}{shape}")).collect();
    let colour = colour.css();
    // The last shape is nothing but its lines.
    let width = if number == 5 { 2.0 } else { 1.2 };
    format!(
        "<path class=\"marks\" d=\"{path}\" style=\"fill:{colour};stroke:{colour}\" opacity=\".85\" \
         stroke-width=\"{width}\"/>\n"
    )
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
    ((value * 1e6).round() / 1e6).to_string().replace('-', "\u{2212}")
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
                stroke: Stroke::Full,
                marks_every: 1,
                points: vec![(0.0, 1e-4), (10.0, 1e-12), (11.0, 1.0)],
            }],
            rule: None,
        }
    }

    #[test]
    fn points_land_where_the_axes_say() {
        let chart = chart(true);
        let (_, top, _, bottom) = chart.plot_area();
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
        assert_eq!([decimal(0.1 + 0.2), decimal(-1.0), decimal(20.0)], ["0.3", "\u{2212}1", "20"]);
        assert_eq!(Chart { y: (0.03, 12.0), ..chart(true) }.y_ticks(), [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]);
    }

    #[test]
    fn a_long_legend_takes_more_rows() {
        let with = |label: &str, count: usize| {
            let one = Series { label: label.into(), ..chart(true).series.remove(0) };
            Chart { series: vec![one; count], ..chart(true) }
        };
        let top = |chart: Chart| chart.plot_area().1;
        assert_eq!(top(with("s", 3)), top(with("s", 1)));
        assert_eq!(top(with("s", 4)), top(with("s", 1)) + LEGEND.0);
        assert_eq!(top(with("a label that leaves no room for others", 3)), top(with("s", 1)) + 2.0 * LEGEND.0);
        let chart = Chart { y: (1e-12, 1.0), ..with("s", 4) };
        let svg = chart.svg();
        assert_eq!(svg.matches("class=\"marks\"").count(), 8, "{svg}");
        let file = chart.file();
        assert!(svg.contains("currentColor") && svg.contains("var(--series-1, #0072b2)"), "{svg}");
        assert!(["currentColor", "var(", "color-mix"].iter().all(|css| !file.contains(css)), "{file}");
        assert!(file.contains("style=\"stroke:#0072b2\""), "{file}");
        assert_eq!(Colour::Between(0.5).css(), "#6b6859");
    }
}
