//! Standard output.

use std::io::Write as _;

/// Prints at once: whoever reads along is not to wait. `false` if nobody does: a reader that has closed its end has
/// seen what it wanted.
pub(super) fn say(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}
