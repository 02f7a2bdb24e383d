//! The hub's statistics page in a real browser, at three widths, light and dark, with text of strangers in its database.
//!
//! It needs Chromium, which `tests/setup --long` installs. Its screenshots are left in `target/tmp/statistics`, for a person.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use denyd::hub::page::{HEADERS, page};
use denyd::hub::statistics::Statistics;
use denyd::hub::store;
use serde_json::{Value, json};

/// Databases, by the name of their page.
fn databases(now: i64) -> Vec<(&'static str, String)> {
    let (hour, day) = (now / 3600, now / 86_400);
    let counts = |table: &str, last: i64, count: i64, of: &dyn Fn(i64) -> i64| -> String {
        let columns = if table == "days" { ", 9" } else { "" };
        (0..count)
            .map(|ago| format!("INSERT INTO {table} VALUES ({}, {}, {}{columns});", last - ago, of(ago), of(ago) / 5))
            .collect()
    };
    let host = |address: &str, times: i64| {
        format!(
            "INSERT INTO hosts(address, first_time, latest_time, resiliency, total_reports, current_reports)
             VALUES ('{}', {}, {}, 0, {}, {});",
            address.replace('\'', "''"),
            now - times * 80_000,
            now - times * 97,
            times * 31,
            times * 3
        )
    };
    let contributors = |count: i64| -> String {
        (0..count)
            .map(|n| {
                format!("INSERT INTO reporters(name, first_time, latest_time) VALUES ('token:secret-{n}', 1, {now});")
            })
            .collect()
    };
    let usual =
        |n: i64| if n % 3 == 0 { format!("2001:db8:{n:x}:42::{:x}", n * 4099) } else { format!("203.0.113.{}", n * 7) };
    let waves = |n: i64| 400 + (n * 7919 % 211) + (n * n * 31 % 389) / 2 + if n % 28 == 11 { 900 } else { 0 };
    let hostile = [
        "<script>document.title='owned';document.body.innerHTML=''</script>".to_owned(),
        "\"><img src=x onerror=\"document.title='owned'\">".to_owned(),
        "' onmouseover='document.title=1' x='".to_owned(),
        "</table></main><style>*{display:none}</style>".to_owned(),
        "<!--".to_owned(),
        "W".repeat(10_240),
        "<iframe src=http://127.0.0.1/frame>".repeat(300),
        "\u{202e}1.2.0.291".to_owned(),
        "2001:db8:1234:5678:9abc:def0:1234:5678".to_owned(),
        "&lt;b&gt;".to_owned(),
    ];
    let all = |hosts: Vec<String>| hosts.iter().zip(1..).map(|(address, n)| host(address, n)).collect::<String>();
    vec![
        ("empty", String::new()),
        (
            "one",
            host("192.0.2.1", 1)
                + &contributors(1)
                + &format!(
                    "INSERT INTO hours VALUES ({hour}, 1, 1);
             INSERT INTO days VALUES ({day}, 1, 1, 1);"
                ),
        ),
        (
            "usual",
            all((1..=40).map(usual).collect())
                + &contributors(83)
                + &counts("hours", hour, 24, &|ago| waves(ago) / 9)
                + &counts("days", day, 700, &waves),
        ),
        ("gap", {
            let days = counts("days", day, 90, &|ago| if (20..55).contains(&ago) { 0 } else { waves(ago) });
            all((1..=4).map(usual).collect()) + &contributors(3) + &counts("hours", hour, 3, &waves) + &days
        }),
        ("huge", {
            let most = |_| i64::MAX / 400;
            let rows = all((1..=10).map(usual).collect())
                + &counts("hours", hour, 24, &most)
                + &counts("days", day, 300, &most);
            rows + &format!("UPDATE hosts SET total_reports = {}, current_reports = {};", i64::MAX, i64::MAX)
        }),
        ("hostile", {
            all(hostile.to_vec())
                + &contributors(5)
                + &counts("hours", hour, 24, &waves)
                + &counts("days", day, 40, &waves)
        }),
    ]
}

#[test]
#[ignore = "needs Chromium: tests/run --long"]
fn the_page_is_sound_in_a_browser() {
    if !kit::in_box("statistics::the_page_is_sound_in_a_browser") {
        return;
    }
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
    assert!(up.success());
    let now = kit::now().as_second();
    let pages: Vec<(&str, String)> = databases(now)
        .into_iter()
        .map(|(name, rows)| {
            let dir = tempfile::tempdir().unwrap();
            let db = store::open(dir.path()).unwrap();
            db.execute_batch(&format!("BEGIN; {rows} COMMIT;")).unwrap();
            (name, page(&Statistics::read(&db, now).unwrap(), now))
        })
        .collect();
    let names: Vec<&str> = pages.iter().map(|(name, _)| *name).collect();
    let port = serve(pages);
    let mut browser = Browser::start();
    for name in names {
        for width in [320, 820, 1600] {
            for scheme in ["light", "dark"] {
                look(&mut browser, port, name, width, scheme);
            }
        }
    }
}

/// Shows a page, takes its picture, and sees that it is sound.
fn look(browser: &mut Browser, port: u16, name: &str, width: u32, scheme: &str) {
    let of = format!("{name}, {width} wide, {scheme}");
    browser.ask(
        "Emulation.setDeviceMetricsOverride",
        json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}),
    );
    let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
    browser.ask("Emulation.setEmulatedMedia", json!({"features": features}));
    let events = browser.open(&format!("http://127.0.0.1:{port}/{name}"));
    take_picture(browser, &format!("{name}-{width}-{scheme}"), width);
    let asked: Vec<&Value> = events.iter().filter(|event| event["method"] == "Network.requestWillBeSent").collect();
    // Whatever else a page asks for is a resource; the browser itself asks for an icon.
    let asked: Vec<&str> = asked
        .iter()
        .filter_map(|event| event["params"]["request"]["url"].as_str())
        .filter(|url| !url.ends_with("/favicon.ico"))
        .collect();
    assert_eq!(asked, [format!("http://127.0.0.1:{port}/{name}")], "{of}");
    let told =
        |method: &str| events.iter().find(|event| event["method"] == method && !event.to_string().contains("favicon"));
    // The policy refused something, or a script failed.
    assert_eq!(told("Log.entryAdded"), None, "{of}");
    assert_eq!(told("Runtime.exceptionThrown"), None, "{of}");

    let mut value = |expression: &str| browser.value(expression);
    assert_eq!(value("document.title"), "denyd hub", "{of}");
    assert_eq!(value("document.querySelectorAll('script, img, iframe, object, link').length"), 0, "{of}");
    assert_eq!(
        value(
            "[...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames()).filter(n => /^on/.test(n)).length"
        ),
        0
    );
    assert_eq!(value("document.documentElement.outerHTML.includes('secret')"), false, "{of}");
    assert_eq!(value("document.documentElement.scrollWidth"), width, "{of}: it scrolls to the side");
    let beyond =
        "[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth + 0.5)
        .map(e => e.outerHTML.slice(0, 200)).join('; ')";
    assert_eq!(value(beyond), "", "{of}: cut off");
    // The style holds, and it is the one of the scheme.
    let paper = if scheme == "dark" { "rgb(20, 23, 26)" } else { "rgb(252, 252, 250)" };
    assert_eq!(value("getComputedStyle(document.body).backgroundColor"), paper, "{of}");
    // Letters beside a chart keep their size, and none lies on another.
    let crossed = "[...document.querySelectorAll('.bars, .scale')].flatMap(svg => {
        const boxes = [...svg.querySelectorAll('text')].map(t => t.getBoundingClientRect()).filter(b => b.width);
        return boxes.filter((a, i) => boxes.some((b, j) => j > i && a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom));
    }).length";
    assert_eq!(value(crossed), 0, "{of}: letters on letters");
    assert_eq!(
        value(
            "Math.min(...[...document.querySelectorAll('.plot text')].map(t => parseFloat(getComputedStyle(t).fontSize)))"
        ),
        12
    );

    // What a screen reader is told: headings, three charts by their words, tables with their rows, however narrow.
    let tree = browser.ask("Accessibility.getFullAXTree", json!({}));
    let nodes = tree["nodes"].as_array().unwrap();
    let role = |role: &str| -> Vec<&str> {
        let of_role = nodes.iter().filter(|node| node["role"]["value"] == role && node["ignored"] == false);
        of_role.map(|node| node["name"]["value"].as_str().unwrap_or_default()).collect()
    };
    let charts: Vec<&str> = role("image");
    assert_eq!(charts.len(), 3, "{of}: {charts:?}");
    assert!(charts.iter().all(|chart| chart.contains("report")), "{of}: {charts:?}");
    assert_eq!(role("heading").len(), 8, "{of}: {:?}", role("heading"));
    let hosts: usize = [1, 2]
        .iter()
        .map(|_| match name {
            "empty" => 0,
            "one" => 2,
            "gap" => 5,
            _ => 11,
        })
        .sum();
    assert_eq!(role("row").len(), hosts, "{of}");
}

/// Leaves a picture of all of the page.
fn take_picture(browser: &mut Browser, file: &str, width: u32) {
    let size = browser.ask("Page.getLayoutMetrics", json!({}))["cssContentSize"].clone();
    let clip = json!({"x": 0, "y": 0, "width": width, "height": size["height"], "scale": 1});
    let shot = browser.ask("Page.captureScreenshot", json!({"captureBeyondViewport": true, "clip": clip}));
    let dir = kit::root().join("target/tmp/statistics");
    std::fs::create_dir_all(&dir).unwrap();
    write_base64(&dir.join(format!("{file}.png")), shot["data"].as_str().unwrap());
}

fn write_base64(path: &PathBuf, text: &str) {
    let file = std::fs::File::create(path).unwrap();
    let mut decoder = Command::new("base64").arg("-d").stdin(Stdio::piped()).stdout(file).spawn().unwrap();
    decoder.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(decoder.wait().unwrap().success());
}

/// Serves pages by their names, with the page's headers, until the process ends.
fn serve(pages: Vec<(&'static str, String)>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
            let first = lines.reduce(|first, _| first).unwrap_or_default();
            let name = first.split([' ', '/']).nth(2).unwrap_or_default();
            let body = pages.iter().find(|(page, _)| *page == name).map_or("", |(_, body)| body);
            let headers: String = HEADERS.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let status = if body.is_empty() { "404 Not Found" } else { "200 OK" };
            let head =
                format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            // The browser may leave when it wants.
            let _ = stream.write_all((head + body).as_bytes());
        }
    });
    port
}

/// A Chromium that is driven through two pipes by its DevTools protocol: JSON, each message with a NUL behind it.
struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    asked: u64,
    events: Vec<Value>,
    _dir: tempfile::TempDir,
}

impl Browser {
    fn start() -> Browser {
        let dir = tempfile::tempdir().unwrap();
        // Its protocol is on the descriptors 3 and 4. Its own sandbox does not work for root; it is in a box of ours.
        let command = "exec chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage \
            --disable-background-networking --no-first-run --hide-scrollbars --remote-debugging-pipe \
            --user-data-dir=\"$0\" about:blank 3<&0 4>&1 </dev/null >/dev/null 2>&1";
        let mut child = Command::new("sh")
            .args(["-c", command])
            .arg(dir.path())
            .env("HOME", dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut browser = Browser { child, to, from, session: None, asked: 0, events: Vec::new(), _dir: dir };
        let targets = browser.ask("Target.getTargets", json!({}));
        let page =
            targets["targetInfos"].as_array().unwrap().iter().find(|target| target["type"] == "page").unwrap().clone();
        let attached = browser.ask("Target.attachToTarget", json!({"targetId": page["targetId"], "flatten": true}));
        browser.session = Some(kit::text(&attached["sessionId"]));
        for domain in ["Page", "Network", "Log", "Runtime", "Accessibility"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Asks, and waits for the answer.
    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let mut message = json!({"id": self.asked, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let answer = self.read();
            if answer["id"] == self.asked {
                assert_eq!(answer["error"], Value::Null, "{method}");
                return answer["result"].clone();
            }
            self.events.push(answer);
        }
    }

    fn read(&mut self) -> Value {
        let mut message = Vec::new();
        self.from.read_until(0, &mut message).unwrap();
        assert_eq!(message.pop(), Some(0), "Chromium ended: is it installed? tests/setup --long");
        serde_json::from_slice(&message).unwrap()
    }

    /// Opens a page, and returns what the browser told meanwhile.
    fn open(&mut self, url: &str) -> Vec<Value> {
        self.events.clear();
        self.ask("Page.navigate", json!({"url": url}));
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.read();
            self.events.push(event);
        }
        // What the page did until then has been told before this is answered.
        self.value("new Promise(done => requestAnimationFrame(() => setTimeout(done)))");
        std::mem::take(&mut self.events)
    }

    /// What an expression is worth in the page.
    fn value(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.ask("Runtime.evaluate", params);
        assert_eq!(answer["exceptionDetails"], Value::Null, "{expression}");
        answer["result"]["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
