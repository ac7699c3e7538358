//! What changed between two configurations, in words.
