//! LISTEN: a SYN queue and an accept queue.

slotmap::new_key_type! {
    /// Names a listening TCP socket.
    pub struct ListenerId;
}
