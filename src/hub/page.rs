//! The page that the hub shows to everybody: what was reported to it, in figures, charts and two tables.
//!
//! One file of HTML and SVG with its style in it: it asks for nothing else and runs nothing. It says of contributors how many
//! there are, and nothing about any of them.

use super::chart::{Count, Grouped, chart, label};
use super::markup::Markup;
use super::statistics::{CONTRIBUTES_DAYS, Host, Series, Statistics, Step, civil};

/// What the server says of the page, besides its length: that it asks for nothing and is nobody's frame. The style is known
/// by its hash.
pub const HEADERS: &[(&str, &str)] = &[
    ("Content-Type", "text/html; charset=utf-8"),
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'sha256-CvQbWhFCZxJS+eYV2uWkywfD81ZXvo/omGfo56lk+Wo='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "max-age=60"),
];

/// Figures that are older are said to be old.
const LATE_S: i64 = 15 * 60;

const STYLE: &str = include_str!("page.css");

/// The page, at `now` (seconds since 1970).
pub fn page(statistics: &Statistics, now: i64) -> String {
    let mut out = Markup::default();
    out.add(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"description\" content=\"Hosts that guess passwords of sshd, as machines reported them\">\n\
         <title>denyd hub</title>\n<style>",
        &[],
    );
    out.add(STYLE, &[]);
    out.add("</style>\n</head>\n<body>\n", &[]);
    head(&mut out, statistics, now);
    out.add("<main>\n", &[]);
    counts(&mut out, statistics);
    charts(&mut out, statistics);
    out.add("<div class=\"two\">\n", &[]);
    hosts(&mut out, "Most reported hosts", &statistics.most);
    hosts(&mut out, "Recently reported hosts", &statistics.recent);
    out.add("</div>\n", &[]);
    out.add(WORDS, &[&CONTRIBUTES_DAYS]);
    out.add("</main>\n<footer><p>denyd {}. ", &[&env!("CARGO_PKG_VERSION")]);
    if statistics.made > 0 {
        out.add("Counted {}. ", &[&moment(statistics.made, "%Y-%m-%d %H:%M:%S")]);
    }
    out.add("All times are UTC.</p></footer>\n</body>\n</html>\n", &[]);
    out.into_string()
}

fn head(out: &mut Markup, statistics: &Statistics, now: i64) {
    out.add(
        "<header>\n<h1>denyd hub</h1>\n<p>Hosts that guess passwords of sshd, reported by the machines they tried, so that \
         others can deny them before they come.</p>\n",
        &[],
    );
    let age = now.saturating_sub(statistics.made);
    if statistics.made == 0 {
        out.add("<p class=\"late\" role=\"status\">Nothing was counted yet. Please come back in a minute.</p>\n", &[]);
    } else if age > LATE_S {
        out.add(
            "<p class=\"late\" role=\"status\">These figures are {} minutes old.</p>\n",
            &[&Grouped(age as u64 / 60)],
        );
    }
    out.add("</header>\n", &[]);
}

fn counts(out: &mut Markup, statistics: &Statistics) {
    let counts = [
        ("hosts on the list", statistics.hosts),
        ("reports in all", statistics.reports),
        ("reports in 24 hours", statistics.day.reports()),
        ("new hosts in 24 hours", statistics.day.new_hosts()),
        ("contributors", statistics.contributors),
    ];
    out.add("<dl class=\"counts\">\n", &[]);
    for (name, count) in counts {
        out.add("<div><dt>{}</dt><dd>{}</dd></div>\n", &[&name, &Grouped(count)]);
    }
    out.add("</dl>\n", &[]);
}

fn charts(out: &mut Markup, statistics: &Statistics) {
    out.add(
        "<p class=\"key\"><span><svg aria-hidden=\"true\"><rect class=\"told\" width=\"100%\" height=\"100%\"/></svg>reports\
         </span><span><svg aria-hidden=\"true\"><rect class=\"new\" width=\"100%\" height=\"100%\"/></svg>hosts that were new\
         </span></p>\n<div class=\"two\">\n",
        &[],
    );
    figure(out, "<figure>\n", "The last 24 hours", &statistics.day);
    figure(out, "<figure>\n", "The last 28 days", &statistics.month);
    figure(out, "<figure class=\"wide\">\n", "The whole history", &statistics.history);
    out.add("</div>\n", &[]);
}

fn figure(out: &mut Markup, begin: &'static str, name: &str, series: &Series) {
    let step = match series.step {
        Step::Hour => "hour",
        Step::Day => "day",
        Step::Week => "week",
        Step::Month => "month",
        Step::Year => "year",
    };
    let sum = format!("{}, {}", Count(series.reports(), "report"), Count(series.new_hosts(), "new host"));
    let most = series.bars.iter().max_by_key(|bar| bar.reports).filter(|bar| bar.reports > 0);
    let most =
        most.map(|bar| format!(" Most in the {step} of {}: {}.", label(bar.start, series.step), Grouped(bar.reports)));
    let about = format!("{name}, by the {step}: {sum}.{} The table below has the figures.", most.unwrap_or_default());
    out.add(begin, &[]);
    out.add("<figcaption><h2>{}</h2><p>{}, by the {}</p></figcaption>\n", &[&name, &sum, &step]);
    out.append(&chart(series, &about));
    out.add(
        "\n<details><summary>The figures as a table</summary><div class=\"figures\" tabindex=\"0\"><table>\n\
         <thead><tr><th scope=\"col\">From</th><th scope=\"col\" class=\"n\">Reports</th>\
         <th scope=\"col\" class=\"n\">New hosts</th></tr></thead>\n<tbody>\n",
        &[],
    );
    for bar in series.bars.iter().rev() {
        out.add(
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
            &[&label(bar.start, series.step), &Grouped(bar.reports), &Grouped(bar.new_hosts)],
        );
    }
    out.add("</tbody></table></div></details>\n</figure>\n", &[]);
}

/// A table. Where it is narrow each row becomes a block, and would be a table to nobody's screen reader without the roles.
fn hosts(out: &mut Markup, name: &str, hosts: &[Host]) {
    out.add("<section>\n<h2>{}</h2>\n", &[&name]);
    if hosts.is_empty() {
        out.add("<p class=\"key\">No host was reported yet.</p>\n</section>\n", &[]);
        return;
    }
    out.add(
        "<table class=\"hosts\" role=\"table\" aria-label=\"{}\">\n<thead role=\"rowgroup\"><tr role=\"row\">\
         <th role=\"columnheader\" scope=\"col\">Address</th><th role=\"columnheader\" scope=\"col\">Latest</th>\
         <th role=\"columnheader\" scope=\"col\">First</th><th role=\"columnheader\" scope=\"col\" class=\"n\">Reports</th>\
         <th role=\"columnheader\" scope=\"col\" class=\"n\">Reporters</th></tr></thead>\n<tbody role=\"rowgroup\">\n",
        &[&name],
    );
    for host in hosts {
        let address: String = match host.address.char_indices().nth(ADDRESS_MAX) {
            Some((end, _)) => format!("{}…", &host.address[..end]),
            None => host.address.clone(),
        };
        out.add("<tr role=\"row\"><th role=\"rowheader\" scope=\"row\" class=\"address\">{}</th>", &[&address]);
        for (name, time, format) in [("latest", host.latest, "%Y-%m-%d %H:%M"), ("first", host.first, "%Y-%m-%d")] {
            out.add(
                "<td role=\"cell\" data-name=\"{}\"><time datetime=\"{}\">{}</time></td>",
                &[&name, &moment(time, "%Y-%m-%dT%H:%MZ"), &moment(time, format)],
            );
        }
        for (name, count) in [("reports", host.reports), ("reporters", host.reporters)] {
            out.add("<td role=\"cell\" class=\"n\" data-name=\"{}\">{}</td>", &[&name, &Grouped(count)]);
        }
        out.add("</tr>\n", &[]);
    }
    out.add("</tbody></table>\n</section>\n", &[]);
}

/// Letters of an address, which has no more.
const ADDRESS_MAX: usize = 45;

const WORDS: &str = "<div class=\"two prose\">\n\
    <section>\n<h2>Take part</h2>\n\
    <p>Any denyd or DenyHosts can report to this hub and ask it for what others reported. The address is the one that your \
    browser shows for this page. In <code>denyd.toml</code>:</p>\n\
    <pre><code>[sync]\nserver = \"https://…\"</code></pre>\n\
    <p>and in <code>denyhosts.conf</code>:</p>\n\
    <pre><code>SYNC_SERVER = http://…\nSYNC_UPLOAD = yes\nSYNC_DOWNLOAD = yes\nSYNC_DOWNLOAD_THRESHOLD = 3</code></pre>\n\
    </section>\n\
    <section>\n<h2>Fair use</h2>\n\
    <p>The list is there to protect machines. Who stands on it was reported, not convicted: the machine may be a victim \
    itself, and the address somebody else's tomorrow. Deny it, tell its network's abuse contact; do not attack it, do not \
    expose or sell the list, and do not keep an address on it longer than the hub does.</p>\n\
    <p>Of contributors this page knows how many reported in the last {} days. Their addresses, names and tokens are shown and \
    handed out to nobody.</p>\n\
    </section>\n</div>\n";

/// A time of UTC; a dash where there is none.
fn moment(time: i64, format: &'static str) -> String {
    if time <= 0 { "–".to_owned() } else { civil(time).strftime(format).to_string() }
}

#[cfg(test)]
mod tests;
