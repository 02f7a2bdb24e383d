//! Which address of the web is told what mail tells: `[webhook]`.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::Config;
use super::codec::{Codec, duration, words};
use super::document::{Reader, Table};
use super::key::Key;
use super::values::path;

/// The longest template, in bytes.
const TEMPLATE_MAX: usize = 4_000;

/// Which address of the web is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// A file with the URL alone, which only its owner may read: whoever knows it can write there, too. `None` = nobody is told.
    pub url_file: Option<PathBuf>,
    /// What is sent where there is no template. Default `text`.
    pub preset: Preset,
    /// What is sent: JSON, in whose texts `{{title}}`, `{{text}}` and `{{host}}` are replaced.
    pub template: Option<String>,
    /// The CAs of which one must have signed the server's certificate; `None` = those of the system.
    pub ca_file: Option<PathBuf>,
    /// How soon the first deny after a quiet time is told. Default a minute.
    pub first_within: Duration,
    /// From one message about denies to the next. Default an hour.
    pub every: Duration,
}

impl Default for Webhook {
    fn default() -> Self {
        Webhook {
            url_file: None,
            preset: Preset::Text,
            template: None,
            ca_file: None,
            first_within: Duration::from_secs(60),
            every: Duration::from_secs(3600),
        }
    }
}

/// What a service wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// One text: Slack, Mattermost, Rocket.Chat, Google Chat.
    Text,
    /// ntfy: the last part of the URL is its topic.
    Ntfy,
}

/// The keys of `[webhook]`.
pub(super) fn keys() -> Vec<Key<Config>> {
    let presets = [("text", Preset::Text), ("ntfy", Preset::Ntfy)];
    vec![
        key("url_file", path().optional(), |w| &mut w.url_file)
            .example(r#""/etc/denyd/webhook-url""#)
            .says(
                "A file with the URL that is told what mail tells, by a POST of JSON, and nothing else. It is a secret, as
                whoever knows it may write there: the file must be the daemon's own user's, and readable by nobody else (chmod
                0600), and no output shows it. https, or http on this machine. Redirects are not followed.",
            ),
        key("preset", words(&presets), |w| &mut w.preset).says(
            r#"What is sent: "text", which Slack, Mattermost and others take, {"text": …}; or "ntfy", for a URL such as
            https://ntfy.example.org/TOPIC."#,
        ),
        key("template", template().optional(), |w| &mut w.template)
            .example(r#""{\"content\": \"{{title}}\\n{{text}}\"}""#)
            .says(
                "What is sent instead: JSON, in whose texts {{title}}, {{text}} and {{host}} stand for what there is to tell. A
                text is cut at 3500 characters, and what would call people (@here, <!channel>) does not.",
            ),
        key("ca_file", path().optional(), |w| &mut w.ca_file)
            .example(r#""/etc/denyd/webhook-ca.pem""#)
            .says("The CAs that may have signed the server's certificate, in PEM. Default: those of the system."),
        key("first_within", duration(""), |w| &mut w.first_within)
            .says("How soon the first deny after a quiet time is told."),
        key("every", duration(""), |w| &mut w.every)
            .says("The shortest time from one message about denies to the next, which tells what was denied meanwhile."),
    ]
}

/// A key, and where its value is.
fn key<T: 'static>(name: &'static str, codec: Codec<T>, place: fn(&mut Webhook) -> &mut T) -> Key<Config> {
    Key::new(name, codec, move |config: &mut Config| Some(place(&mut config.webhook)))
}

/// JSON, as a text.
fn template() -> Codec<String> {
    let parse = |text: &str| match serde_json::from_str::<Value>(text) {
        _ if text.len() > TEMPLATE_MAX => Err(format!("expected at most {TEMPLATE_MAX} bytes")),
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("expected JSON, such as '{{\"text\": \"{{{{title}}}}\"}}': {error}")),
    };
    Codec::text(parse, String::clone)
}

/// Sees that the keys fit each other.
pub(super) fn judge(reader: &mut Reader<'_>, table: &Table<'_>, webhook: &Webhook) {
    if webhook.template.is_some() && webhook.preset == Preset::Ntfy {
        reader.wrong(table, "preset", "a template takes its place; leave one of them away");
    }
}
