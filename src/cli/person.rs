//! Who is at this terminal, for the history: whoever may change something is root, and says which person that is.

/// The name of the person that became root by sudo or doas, or that is logged in.
pub(super) fn name() -> Option<String> {
    let of = |variable| std::env::var(variable).ok().filter(|name| !name.is_empty());
    of("SUDO_USER").or_else(|| of("DOAS_USER")).or_else(|| of("LOGNAME")).or_else(|| of("USER"))
}
