//! Bytes that the application has shared with connections, and that those need no more.
//!
//! Owns them from the moment they leave the stack until they are dropped, without the lock: what their owner's `drop` does is the
//! application's business, and may be to use a socket of this stack. Its panic is nobody else's end, either.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use super::run::message;
use crate::proto::Stack;

/// What is to be dropped once the lock is let go.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct ToDrop(Vec<Bytes>);

impl ToDrop {
    /// Takes over what the stack has kept. To be called under the lock, with nothing left from before.
    pub(super) fn take(&mut self, stack: &mut Stack) {
        stack.take_released(&mut self.0);
    }

    /// Whether there is nothing to drop.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Drops all. To be called without the lock.
    #[inline]
    pub(super) fn let_go(&mut self) {
        if !self.is_empty() {
            self.drop_each();
        }
    }

    #[inline(never)]
    fn drop_each(&mut self) {
        for bytes in self.0.drain(..) {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(bytes))) {
                log::error!(
                    "the owner of bytes that were sent panicked when they were dropped: {}",
                    message(&*panic)
                );
            }
        }
    }
}
