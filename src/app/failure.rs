//! Failures: one line that says what is wrong and the command that mends it, and an exit status.

use std::fmt;

/// Why the daemon can't start, or had to end.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    status: u8,
}

impl Failure {
    /// Something was wrong with the world: status 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Failure { message: message.into(), status: 1 }
    }

    /// Something was wrong with the command line: status 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Failure { message: message.into(), status: 2 }
    }

    /// The same with another status, for commands whose statuses mean something of their own.
    pub(crate) fn with_status(self, status: u8) -> Self {
        Failure { status, ..self }
    }

    /// The exit status that tells of it.
    pub(crate) fn status(&self) -> u8 {
        self.status
    }
}

impl fmt::Display for Failure {
    /// Always one line, whatever the message was made of.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tunstack: ")?;
        for (index, line) in self.message.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(line)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line() {
        let failure = Failure::new("first\n  second\n\nthird\n");
        assert_eq!(failure.to_string(), "tunstack: first second third");
        assert_eq!(failure.status(), 1);
    }
}
