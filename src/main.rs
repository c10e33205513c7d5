//! The `tunstack` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    tunstack::app::main()
}
