// SPDX-License-Identifier: GPL-2.0
//! Curves over the number of addresses, slaves or destinations, as SVG.

use crate::parse::{Clock, Results};
use anyhow::{anyhow, Result};
use plotters::prelude::*;
use std::fs;
use std::path::Path;

const SIZE: (u32, u32) = (640, 400);

struct Plot {
    file: &'static str,
    row: &'static str,
    clock: Clock,
    title: &'static str,
    x: &'static str,
    y: &'static str,
}

const PLOTS: &[Plot] = &[
    Plot {
        file: "rx.svg",
        row: "rx random",
        clock: Clock::Instructions,
        title: "Received for a slave, random destinations",
        x: "addresses on the master",
        y: "instructions per packet",
    },
    Plot {
        file: "rx-ns.svg",
        row: "rx random",
        clock: Clock::Nanoseconds,
        title: "Received for a slave, random destinations",
        x: "addresses on the master",
        y: "ns per packet",
    },
    Plot {
        file: "tx-l3.svg",
        row: "tx l3 v4 destinations",
        clock: Clock::Instructions,
        title: "Sent by a slave in mode L3, IPv4",
        x: "destinations",
        y: "instructions per packet",
    },
    Plot {
        file: "address.svg",
        row: "adding an address",
        clock: Clock::Instructions,
        title: "Adding one more address",
        x: "addresses on the master",
        y: "instructions",
    },
    Plot {
        file: "slave.svg",
        row: "adding a slave",
        clock: Clock::Instructions,
        title: "Adding one more slave",
        x: "slaves of the master",
        y: "instructions",
    },
    Plot {
        file: "broadcast.svg",
        row: "broadcast",
        clock: Clock::Instructions,
        title: "A broadcast from the wire",
        x: "slaves that listen",
        y: "instructions per copy",
    },
];

const COLOURS: &[(&str, RGBColor)] = &[
    ("bare", RGBColor(120, 120, 120)),
    ("dummy", RGBColor(120, 120, 120)),
    ("ipvlan", RGBColor(214, 94, 0)),
    ("ipvlan_rs", RGBColor(0, 114, 178)),
    ("macvlan", RGBColor(0, 158, 115)),
];

/// Draws each plot for which there is more than one point.
pub fn draw(results: &Results, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)?;
    for plot in PLOTS {
        let lines: Vec<_> = COLOURS
            .iter()
            .map(|(kind, colour)| {
                let points: Vec<(f64, f64)> = results
                    .rows
                    .iter()
                    .filter(|r| r.row == plot.row && r.clock == plot.clock && r.kind == *kind)
                    .map(|r| (r.x as f64, r.median))
                    .collect();
                (*kind, *colour, points)
            })
            .filter(|(_, _, points)| points.len() > 1)
            .collect();
        if lines.is_empty() {
            continue;
        }
        let kernel = match plot.clock {
            Clock::Instructions => results.kernels.first(),
            Clock::Nanoseconds => results.kernels.last(),
        };
        let kernel = kernel.map_or("", String::as_str);
        let mut text = String::new();
        lay(&mut text, &lines, kernel, plot).map_err(|e| anyhow!("{}: {e}", plot.file))?;
        // Every file of the project says its licence.
        let marked = text.replacen('>', "><!-- SPDX-License-Identifier: GPL-2.0 -->", 1);
        fs::write(dir.join(plot.file), marked + "\n")?;
    }
    Ok(())
}

type Line = (&'static str, RGBColor, Vec<(f64, f64)>);

fn lay(
    text: &mut String,
    lines: &[Line],
    kernel: &str,
    plot: &Plot,
) -> Result<(), Box<dyn std::error::Error>> {
    let all = || lines.iter().flat_map(|(_, _, points)| points);
    let right = all().map(|p| p.0).fold(2.0, f64::max);
    let left = all().map(|p| p.0).fold(right / 2.0, f64::min);
    let top = all().map(|p| p.1).fold(1.0, f64::max) * 1.05;
    let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let (head, body) = area.split_vertically(58);
    let title = format!("{} (Linux {kernel})", plot.title);
    head.draw(&Text::new(title, (20, 12), ("sans-serif", 17)))?;
    // The legend above the curves, where it hides none.
    for (n, (kind, colour, _)) in (0i32..).zip(lines) {
        let x = 86 + n * 110;
        let stroke = colour.stroke_width(3);
        head.draw(&PathElement::new(vec![(x, 46), (x + 20, 46)], stroke))?;
        head.draw(&Text::new(*kind, (x + 26, 39), ("sans-serif", 13)))?;
    }
    let mut chart = ChartBuilder::on(&body)
        .margin(8)
        // Half of the last number is right of its place.
        .margin_right(36)
        .x_label_area_size(40)
        .y_label_area_size(78)
        .build_cartesian_2d((left..right).log_scale(), 0.0..top)?;
    chart
        .configure_mesh()
        .x_desc(plot.x)
        .y_desc(plot.y)
        .light_line_style(TRANSPARENT)
        .x_label_formatter(&|v| grouped(*v))
        .y_label_formatter(&|v| grouped(*v))
        .draw()?;
    for (_, colour, points) in lines {
        let stroke = colour.stroke_width(2);
        chart.draw_series(LineSeries::new(points.iter().copied(), stroke))?;
        chart.draw_series(points.iter().map(|p| Circle::new(*p, 3, colour.filled())))?;
    }
    area.present()?;
    Ok(())
}

/// A whole number, with a thin space at each thousand.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n) % 3 == 0 && digits.len() > 4 {
            out.push('\u{2009}');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        let seen = [0.0, 999.4, 4096.0, 10_000.0, 1_234_567.0].map(grouped);
        let want = [
            "0",
            "999",
            "4096",
            "10\u{2009}000",
            "1\u{2009}234\u{2009}567",
        ];
        assert_eq!(seen, want);
    }
}
