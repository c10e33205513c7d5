//! The Python programs beside the tests: they send what no socket lets one send.

use std::path::Path;
use std::process::Command;

/// The distribution's Python, since that is the one that has scapy.
const PYTHON: &str = "/usr/bin/python3";

/// A program of `tests/e2e/python`, in the test's namespace.
pub(crate) fn python(script: &str) -> Command {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/python");
    let mut command = Command::new(PYTHON);
    // -B: nothing is to be written beside the sources.
    command.arg("-B").arg(directory.join(script));
    command
}
