//! The routing table: longest prefix wins.
