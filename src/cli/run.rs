//! `marea run`
