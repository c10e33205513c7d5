//! What must hold, whatever happens: looked at after every event.
//!
//! | oracle | says |
//! |---|---|
//! | `wire` | what may be seen of every segment that a correct TCP sends |
//! | `connection` | congestion window and timers, as a connection tells of them |
//! | `stack` | counters that add up, and memory within its limits |
//!
//! What applications read is checked by the applications themselves (`harness::apps`), and that nothing is left over by
//! `World::run_out`.

pub(crate) mod connection;
pub(crate) mod stack;
pub(crate) mod wire;
