//! The certificates of a TLS listener.

use inputs::syslog::listen::{Clients, Identity};

use super::table::{Reader, Table};
use super::values;

/// The keys that only TLS has.
pub(super) const KEYS: [&str; 4] = ["certificate", "key", "client_ca", "permitted"];

/// Whom the certificates are of; `None` where one is missing. Whether the files can be used is seen when they are.
pub(super) fn identity<'a>(reader: &mut Reader<'a>, table: &Table<'a>) -> Option<Identity> {
    let files = [
        (
            "certificate",
            "write the PEM file of this machine's certificate, such as certificate = \"/etc/denyd/server.pem\"",
        ),
        ("key", "write the PEM file of the certificate's private key, such as key = \"/etc/denyd/server.key\""),
    ];
    let [certificate, key] = files.map(|(key, expected)| {
        if !table.has(key) {
            reader.missing(table, key, expected);
        }
        reader.optional(table, key, values::path)
    });
    let permitted = reader.list(table, "permitted", values::permitted);
    if table.has("permitted") && !table.has_items("permitted") {
        let expected = "expected at least one name; without this key every certificate of client_ca is taken";
        reader.wrong(table, "permitted", expected.to_owned());
    }
    if table.has("permitted") && !table.has("client_ca") {
        reader.missing(table, "client_ca", "write the PEM file of the CA that issues certificates of permitted names");
    }
    let ca = reader.optional(table, "client_ca", values::path);
    if table.has("client_ca") && ca.is_none() {
        return None;
    }
    let clients = ca.map(|ca| Clients { ca, permitted: permitted.unwrap_or_default() });
    Some(Identity { certificate: certificate?, key: key?, clients })
}
