//! Posts a report to a URL, as JSON. It blocks: whoever calls it has a thread for that.
//!
//! Of the answer the number alone counts. What the server says is not shown, since it may repeat the URL, which is a secret.

use serde_json::Value;
use url::{Host, Url};

use super::http::Post;
use super::post::{Letter, Refused, said, secret};
use crate::clock;
use crate::config::Webhook;
use crate::config::webhook::Preset;

/// Characters of a report that are told.
const TEXT_MAX: usize = 3_500;

/// Posts a letter; returns what the server answered, for reading.
pub fn send(webhook: &Webhook, letter: &Letter) -> Result<String, Refused> {
    let url = webhook.url_file.as_deref().ok_or_else(|| Refused::now("no `url_file` is configured"))?;
    let url = secret(url).and_then(|text| parse(&text)).map_err(Refused::now)?;
    let (url, body) = message(webhook, url, letter);
    let code = post(webhook, &url, &body).map_err(|why| Refused::now(hidden(&why, &url)))?;
    match code {
        200..300 => Ok(format!("HTTP {code}")),
        300..400 => Err(Refused::now(format!("HTTP {code}: it sends us elsewhere, and redirects are not followed"))),
        408 | 425 | 429 => Err(Refused::now(format!("HTTP {code}: not now"))),
        400..500 => Err(Refused { why: format!("HTTP {code}: see to the URL and to `template`"), for_good: true }),
        _ => Err(Refused::now(format!("HTTP {code}"))),
    }
}

/// Whether the file of the URL holds one that can be told.
pub fn check(webhook: &Webhook) -> Result<(), String> {
    webhook.url_file.as_deref().map_or(Ok(()), |file| secret(file).and_then(|text| parse(&text)).map(|_| ()))
}

/// The host that is told, by its name or address; `None` = nobody, or the file cannot be read now.
pub fn host(webhook: &Webhook) -> Option<String> {
    let url = parse(&secret(webhook.url_file.as_deref()?).ok()?).ok()?;
    url.host_str().map(str::to_owned)
}

fn parse(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("`url_file` holds no URL: {error}"))?;
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => return Err("the URL in `url_file` names no host".to_owned()),
    };
    match url.scheme() {
        _ if !url.username().is_empty() || url.password().is_some() => {
            Err("the URL in `url_file` has a user or a password, which is not sent".to_owned())
        }
        "https" => Ok(url),
        "http" if is_here => Ok(url),
        "http" => Err("the URL in `url_file` would go over the network as it is: use https".to_owned()),
        _ => Err("the URL in `url_file` is to begin with https://".to_owned()),
    }
}

/// What is posted, and whereto.
fn message(webhook: &Webhook, mut url: Url, letter: &Letter) -> (Url, String) {
    let host = clock::host_name();
    let title = defused(&format!("denyd on {host}: {}", letter.subject));
    let cut = letter.body.chars().count() > TEXT_MAX;
    let text = letter.body.chars().take(TEXT_MAX).chain(cut.then_some('…')).collect::<String>();
    let values = [("{{title}}", title), ("{{text}}", defused(text.trim_end())), ("{{host}}", host)];
    let text = |text: &str| Value::String(text.to_owned());
    let mut json = match (&webhook.template, webhook.preset) {
        (Some(template), _) => serde_json::from_str(template).unwrap_or_default(),
        (None, Preset::Text) => {
            Value::Object([("text".to_owned(), text("{{title}}\n\n{{text}}"))].into_iter().collect())
        }
        (None, Preset::Ntfy) => {
            let topic = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default().to_owned();
            if let Ok(mut parts) = url.path_segments_mut() {
                parts.pop();
            }
            let all = [("topic", text(&topic)), ("title", text("{{title}}")), ("message", text("{{text}}"))];
            Value::Object(all.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
        }
    };
    fill(&mut json, &values);
    (url, json.to_string())
}

/// Replaces the names of values in all texts of `json`. So a value is a text whatever stands in it.
fn fill(json: &mut Value, values: &[(&str, String)]) {
    match json {
        Value::String(text) => *text = replaced(text, values),
        Value::Array(all) => all.iter_mut().for_each(|one| fill(one, values)),
        Value::Object(all) => all.values_mut().for_each(|one| fill(one, values)),
        _ => {}
    }
}

/// The same of one text, in one walk: a name in a value is none.
fn replaced(text: &str, values: &[(&str, String)]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("{{") {
        out += &rest[..at];
        rest = &rest[at..];
        let (name, value) =
            values.iter().find(|(name, _)| rest.starts_with(name)).map_or(("{{", "{{"), |(n, v)| (*n, v));
        out += value;
        rest = &rest[name.len()..];
    }
    out + rest
}

/// The same without what calls people, makes a link or hides where it leads: a blank of no width stands behind each `@`,
/// `<`, `](` and `://`, and before each backtick.
fn defused(text: &str) -> String {
    let marks =
        [("@", "@\u{200b}"), ("<", "<\u{200b}"), ("](", "](\u{200b}"), ("://", "://\u{200b}"), ("`", "\u{200b}`")];
    marks.into_iter().fold(text.to_owned(), |text, (mark, defused)| text.replace(mark, defused))
}

/// Posts; returns the number of the answer.
fn post(webhook: &Webhook, url: &Url, body: &str) -> Result<u16, String> {
    let headers = "Content-Type: application/json\r\n";
    let post = Post { url, headers, body, ca_file: webhook.ca_file.as_deref(), wanted: 0 };
    post.send().map(|answer| answer.code)
}

/// A complaint of ours without what the URL has.
fn hidden(why: &str, url: &Url) -> String {
    said(&url.host_str().map_or(why.to_owned(), |host| why.replace(host, "HOST")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(body: &str) -> Letter {
        Letter { subject: "1 host denied".to_owned(), body: body.to_owned(), id: String::new() }
    }

    #[test]
    fn values_are_texts_whatever_stands_in_them() {
        let url = || Url::parse("https://hooks.example.org/services/T0/x").unwrap();
        let check = |webhook: &Webhook, body: &str, want: Value| {
            let (_, json) = message(webhook, url(), &letter(body));
            assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), want, "{json}");
        };
        let template = |text: &str| Webhook { template: Some(text.to_owned()), ..Webhook::default() };
        let json = serde_json::json!({"a": ["\"}, {\"b\": \"\\\n{{host}}", 1, null], "{{text}}": "{{x}} {{"});
        let hostile = "\"}, {\"b\": \"\\\n{{host}}";
        check(&template(r#"{"a": ["{{text}}", 1, null], "{{text}}": "{{x}} {{"}"#), hostile, json);
        let calls = "@here <!channel> <https://evil.example|good> ![x](//evil.example) `";
        let defused = "@\u{200b}here <\u{200b}!channel> <\u{200b}https://\u{200b}evil.example|good> \
                       ![x](\u{200b}//evil.example) \u{200b}`";
        check(&template("\"{{text}}\""), calls, defused.into());
        check(&template("\"{{text}}\""), &"é".repeat(4000), ("é".repeat(TEXT_MAX) + "…").into());
    }

    #[test]
    fn ntfy_has_its_topic_in_the_message() {
        let webhook = Webhook { preset: Preset::Ntfy, ..Webhook::default() };
        let (url, json) = message(&webhook, Url::parse("https://ntfy.example.org/my-topic").unwrap(), &letter("x"));
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (url.as_str(), &json["topic"], &json["message"]),
            ("https://ntfy.example.org/", &"my-topic".into(), &"x".into())
        );
        assert!(json["title"].as_str().unwrap().ends_with(": 1 host denied"), "{json}");
    }

    #[test]
    fn a_url_is_for_https() {
        let check = |text: &str, want: &str| {
            let told = parse(text).map_or_else(|error| error, |_| "fine".to_owned());
            assert!(told.contains(want) && !told.contains("secret"), "{text}: {told}");
        };
        check("https://hooks.example.org/secret", "fine");
        check("http://localhost:8080/secret", "fine");
        check("http://[::1]/secret", "fine");
        check("http://hooks.example.org/secret", "use https");
        check("ftp://hooks.example.org/secret", "begin with https://");
        check("https://al:secret@hooks.example.org/", "which is not sent");
        check("secret", "no URL");
    }
}
