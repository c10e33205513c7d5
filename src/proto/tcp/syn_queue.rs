//! Half-open connections.

slotmap::new_key_type! {
    /// Names a half-open connection.
    pub(crate) struct HalfOpenId;
}
