//! Where log records go: standard error, by `env_logger`.

use log::LevelFilter;

/// Starts logging. `level` is what the command line asks for; without it `RUST_LOG` decides, and without
/// that only warnings are logged.
pub(crate) fn start(level: Option<LevelFilter>) {
    let mut builder = env_logger::Builder::new();
    builder.format_timestamp_millis();
    match level {
        // The options speak of this program; the libraries under it stay at their warnings.
        Some(level) => builder.filter_level(level.min(LevelFilter::Warn)).filter_module("tunstack", level),
        None => builder.filter_level(LevelFilter::Warn).parse_default_env(),
    };
    builder.init();
}
