//! Log bytes for people: escaped, never raw. Knows nothing of what the bytes mean.

use std::fmt::Write as _;

/// Log text as a person may safely see it: printable ASCII as it is, all else escaped (`\n`, `\x1b`, `\xff`).
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b' '..=b'~' => out.push(byte as char),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    out
}

/// Bytes in base64 (RFC 4648, section 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let shown = if digit <= chunk.len() { DIGITS[(word >> (18 - 6 * digit) & 63) as usize] } else { b'=' };
            out.push(shown as char);
        }
    }
    out
}

/// Log bytes for reading, and in base64 where that changed them: what a row of JSON has under `KEY` and `KEY_b64`.
pub(crate) fn shown(bytes: &[u8]) -> (String, Option<String>) {
    let text = printable(bytes);
    let exact = (text.as_bytes() != bytes).then(|| base64(bytes));
    (text, exact)
}
