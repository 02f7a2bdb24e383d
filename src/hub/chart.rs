//! Bars as SVG.
//!
//! Across, everything is in percent, so that a chart is as wide as it may be and its letters stay as they are; it has no
//! size of its own but its height. A bar is what was reported, and its dark foot the hosts that were new. Each has a title;
//! the figures also stand in the table that the page puts below.

use std::fmt::Display;

use super::markup::Markup;
use super::statistics::{Bar, Series, Step, civil};

/// Heights in pixels: of the bars, of the room above them, and below them, where times stand.
const HEIGHT: f64 = 140.0;
const ABOVE: f64 = 10.0;
const BELOW: f64 = 24.0;
/// No bar that stands for something is lower.
const LOWEST: f64 = 1.5;
/// Lines above the ground, at most.
const LINES: u64 = 4;
/// Times below, at most.
const TIMES: usize = 6;
/// Of a bar's room, what it fills, in percent.
const FILLS: f64 = 74.0;

/// The chart of `series`, which `about` tells to those who do not see it.
pub fn chart(series: &Series, about: &str) -> Markup {
    let scale = Scale::of(series.bars.iter().map(|bar| bar.reports.max(bar.new_hosts)).max().unwrap_or(0));
    let whole = ABOVE + HEIGHT + BELOW;
    let mut out = Markup::default();
    out.add("<div class=\"plot\"><svg class=\"scale\" height=\"{}\" aria-hidden=\"true\">", &[&whole]);
    for line in scale.lines() {
        out.add("<text x=\"100%\" y=\"{}\" dy=\".35em\">{}</text>", &[&px(scale.y(line)), &Short(line)]);
    }
    out.add("</svg><svg class=\"bars\" height=\"{}\" role=\"img\" aria-label=\"{}\">", &[&whole, &about]);
    for line in scale.lines() {
        let y = px(scale.y(line).round() + 0.5);
        out.add("<line class=\"{}\" x2=\"100%\" y1=\"{}\" y2=\"{}\"/>", &[&line_class(line), &y, &y]);
    }
    let room = 100.0 / series.bars.len().max(1) as f64;
    for (index, bar) in series.bars.iter().enumerate() {
        let left = room * index as f64;
        let is_last = index + 1 == series.bars.len();
        draw(&mut out, &scale, bar, &title(bar, series.step, is_last), left, room);
    }
    times(&mut out, series, room);
    out.add("</svg></div>", &[]);
    out
}

/// When the step begins, as the calendar says it.
pub fn label(start: i64, step: Step) -> impl Display {
    let format = match step {
        Step::Hour => "%-d %b %H:00",
        Step::Day | Step::Week => "%-d %b %Y",
        Step::Month => "%b %Y",
        Step::Year => "%Y",
    };
    civil(start).strftime(format).to_string()
}

fn draw(out: &mut Markup, scale: &Scale, bar: &Bar, title: &str, left: f64, room: f64) {
    out.add("<g><title>{}</title>", &[&title]);
    // All of the room answers to a pointer, not only what is drawn.
    out.add(
        "<rect class=\"room\" x=\"{}%\" width=\"{}%\" height=\"{}\"/>",
        &[&px(left), &px(room), &px(ABOVE + HEIGHT)],
    );
    let (x, width) = (px(left + room * (100.0 - FILLS) / 200.0), px(room * FILLS / 100.0));
    for (class, count) in [("told", bar.reports), ("new", bar.new_hosts)] {
        if count > 0 {
            let height = (ABOVE + HEIGHT - scale.y(count)).max(LOWEST);
            out.add(
                "<rect class=\"{}\" x=\"{}%\" y=\"{}\" width=\"{}%\" height=\"{}\"/>",
                &[&class, &x, &px(ABOVE + HEIGHT - height), &width, &px(height)],
            );
        }
    }
    out.add("</g>", &[]);
}

fn title(bar: &Bar, step: Step, is_last: bool) -> String {
    let from = if step == Step::Week { "week from " } else { "" };
    let so_far = if is_last { ", so far" } else { "" };
    format!(
        "{from}{}: {}, {}{so_far}",
        label(bar.start, step),
        Count(bar.reports, "report"),
        Count(bar.new_hosts, "new host")
    )
}

/// Some of the times at which bars begin, below them.
fn times(out: &mut Markup, series: &Series, room: f64) {
    let begins: Vec<(usize, String)> = series
        .bars
        .iter()
        .enumerate()
        .filter_map(|(index, bar)| Some((index, told(bar, series.step, series.bars.len())?)))
        .collect();
    let longest = begins.iter().map(|(_, text)| text.len()).max().unwrap_or(0);
    // Of months, such as stand at the same place of each year.
    let every = [1, 2, 3, 6, 12].into_iter().find(|every| begins.len() <= every * TIMES).unwrap_or(24);
    for (place, (index, text)) in begins.iter().step_by(every).enumerate() {
        let middle = room * (*index as f64 + 0.5);
        // What stands at an edge stays within.
        let anchor = match middle {
            _ if middle < 6.0 => "start",
            _ if middle > 94.0 => "end",
            _ => "middle",
        };
        let x = match anchor {
            "start" => room * *index as f64,
            "end" => room * (*index as f64 + 1.0),
            _ => middle,
        };
        // Where it is narrow every other one is left out, if they are long.
        let class = if place % 2 == 1 && longest > 5 { "more" } else { "time" };
        out.add(
            "<text class=\"{}\" x=\"{}%\" y=\"{}\" text-anchor=\"{}\">{}</text>",
            &[&class, &px(x), &px(ABOVE + HEIGHT + 18.0), &anchor, text],
        );
    }
}

/// What stands below a bar where it may.
fn told(bar: &Bar, step: Step, bars: usize) -> Option<String> {
    let begin = civil(bar.start);
    let (may, format) = match step {
        Step::Hour => (begin.hour() % 6 == 0, "%H:00"),
        Step::Day if bars <= 70 => (begin.weekday() == jiff::civil::Weekday::Monday, "%-d %b"),
        Step::Day => (begin.day() == 1, "%b %Y"),
        Step::Week => (begin.day() <= 7, "%b %Y"),
        Step::Month if bars <= 24 => (begin.month() % 3 == 1, "%b %Y"),
        Step::Month => (begin.month() == 1, "%Y"),
        Step::Year => (true, "%Y"),
    };
    may.then(|| begin.strftime(format).to_string())
}

/// How counts become heights: a step of 1, 2 or 5 times a power of ten, so that few lines reach above the highest bar.
struct Scale {
    step: u64,
    lines: u64,
}

impl Scale {
    fn of(highest: u64) -> Scale {
        let powers = std::iter::successors(Some(1u64), |power| power.checked_mul(10));
        let mut steps = powers.flat_map(|power| [1, 2, 5].map(|times| power.saturating_mul(times)));
        let step = steps.find(|step| step.saturating_mul(LINES) >= highest).unwrap_or(u64::MAX);
        Scale { step, lines: highest.div_ceil(step).max(1) }
    }

    /// The counts at which a line stands, from the ground up.
    fn lines(&self) -> impl Iterator<Item = u64> {
        (0..=self.lines).map(|line| self.step.saturating_mul(line))
    }

    fn y(&self, count: u64) -> f64 {
        ABOVE + HEIGHT * (1.0 - count as f64 / (self.step as f64 * self.lines as f64))
    }
}

fn line_class(line: u64) -> &'static str {
    if line == 0 { "ground" } else { "line" }
}

/// A length to a hundredth.
fn px(length: f64) -> f64 {
    (length * 100.0).round() / 100.0
}

/// A count in few letters: `1.5k`, `20M`.
struct Short(u64);

impl Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let units = [(1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
        let count = self.0 as f64;
        match units.into_iter().find(|(unit, _)| count >= *unit) {
            Some((unit, name)) => write!(f, "{}{name}", (count / unit * 10.0).round() / 10.0),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A count with what it counts, of which it may be one: `1 report`, `2 345 reports`.
pub struct Count(pub u64, pub &'static str);

impl Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let s = if self.0 == 1 { "" } else { "s" };
        write!(f, "{}\u{a0}{}{s}", Grouped(self.0), self.1)
    }
}

/// A count by thousands, with narrow spaces that do not break a line.
pub struct Grouped(pub u64);

impl Display for Grouped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_str("\u{202f}")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_round_and_few() {
        let check = |highest: u64, want: &[u64]| {
            assert_eq!(Scale::of(highest).lines().collect::<Vec<_>>(), want, "{highest}");
        };
        check(0, &[0, 1]);
        check(1, &[0, 1]);
        check(3, &[0, 1, 2, 3]);
        check(4, &[0, 1, 2, 3, 4]);
        check(5, &[0, 2, 4, 6]);
        check(9, &[0, 5, 10]);
        check(21, &[0, 10, 20, 30]);
        check(312, &[0, 100, 200, 300, 400]);
        check(401, &[0, 200, 400, 600]);
        check(1_999_999, &[0, 500_000, 1_000_000, 1_500_000, 2_000_000]);
        assert_eq!(Scale::of(u64::MAX).lines().count(), 5);
    }

    #[test]
    fn bars_stay_within_their_chart() {
        for highest in [0, 1, 7, 1000, u64::MAX] {
            let scale = Scale::of(highest);
            for count in [0, 1, highest / 3, highest] {
                let y = scale.y(count);
                assert!((ABOVE..=ABOVE + HEIGHT).contains(&y) || highest == 0, "{count} of {highest}: {y}");
            }
        }
        let bar = |reports, new_hosts| Bar { start: 0, reports, new_hosts };
        let series = Series { step: Step::Hour, bars: vec![bar(100, 50), bar(1, 0), bar(0, 0)] };
        let svg = chart(&series, "").into_string();
        // 100 of 100 is as high as the chart, 50 a half, 1 of 100 1.4, which is seen no less than 1.5.
        let want = [
            "class=\"told\" x=\"4.33%\" y=\"10\" width=\"24.67%\" height=\"140\"",
            "class=\"new\" x=\"4.33%\" y=\"80\" width=\"24.67%\" height=\"70\"",
            "class=\"told\" x=\"37.67%\" y=\"148.5\" width=\"24.67%\" height=\"1.5\"",
        ];
        for want in want {
            assert!(svg.contains(want), "{want} in {svg}");
        }
        assert_eq!(svg.matches("class=\"told\"").count() + svg.matches("class=\"new\"").count(), 3, "{svg}");
    }

    #[test]
    fn counts_are_read_at_a_glance() {
        let check = |count: u64, short: &str, grouped: &str| {
            assert_eq!(
                (Short(count).to_string().as_str(), Grouped(count).to_string().replace('\u{202f}', " ")),
                (short, grouped.to_owned())
            );
        };
        check(0, "0", "0");
        check(999, "999", "999");
        check(1000, "1k", "1 000");
        check(1500, "1.5k", "1 500");
        check(20_000_000, "20M", "20 000 000");
        check(u64::MAX, "18.4E", "18 446 744 073 709 551 615");
        assert_eq!(Count(1, "report").to_string(), "1\u{a0}report");
        assert_eq!(Count(0, "new host").to_string(), "0\u{a0}new hosts");
    }

    #[test]
    fn times_below_are_few() {
        let check = |step, hours: i64, bars: i64, want: &str| {
            let bars = (0..bars).map(|index| Bar { start: index * hours * 3600, ..Bar::default() }).collect();
            let mut out = Markup::default();
            times(&mut out, &Series { step, bars }, 1.0);
            let found = out.into_string();
            let texts: Vec<&str> =
                found.split("</text>").filter_map(|text| text.rsplit_once('>')).map(|(_, text)| text).collect();
            assert_eq!(texts.join(", "), want, "{step:?}");
        };
        check(Step::Hour, 1, 24, "00:00, 06:00, 12:00, 18:00");
        // 1970 began on a Thursday.
        check(Step::Day, 24, 28, "5 Jan, 12 Jan, 19 Jan, 26 Jan");
        check(Step::Day, 24, 120, "Jan 1970, Feb 1970, Mar 1970, Apr 1970");
        check(Step::Week, 7 * 24, 53, "Jan 1970, Mar 1970, May 1970, Jul 1970, Sep 1970, Nov 1970");
        check(Step::Year, 366 * 24, 30, "1970, 1976, 1982, 1988, 1994");
    }
}
