//! Logs: to stderr, so that stdout is the program's answer alone.
//!
//! `APIARY_LOG` decides what is shown, then `RUST_LOG`, in the syntax of `tracing-subscriber`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging. `default` is the filter when the environment names none, such as `info` for a server and `warn`
/// for a command. A second call does nothing.
pub fn init(default: &str, format: LogFormat) {
    let filter = ["APIARY_LOG", "RUST_LOG"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|text| !text.trim().is_empty())
        .unwrap_or_else(|| default.to_owned());
    let filter = EnvFilter::try_new(&filter).unwrap_or_else(|_| EnvFilter::new(default));
    let layer = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Fails only if somebody logs already: then that one counts.
    let _ = match format {
        LogFormat::Json => layer.json().try_init(),
        LogFormat::Text => layer.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starting_twice_is_harmless() {
        init("error", LogFormat::Text);
        init("not a [filter", LogFormat::Json);
    }
}
