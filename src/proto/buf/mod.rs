//! Memory for stream data: pages from one bounded pool, rings made of pages, and sets of ranges.

pub mod pages;
pub mod ranges;
pub mod ring;
