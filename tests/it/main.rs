//! The integration tests: one program, a module an area.

mod radl;
