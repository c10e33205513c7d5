//! What the tests that read the project's own files share.

pub(crate) mod source;
