//! The second reading of the specification, for the fuzz targets to hold the filter against.

#![allow(dead_code)]

#[path = "../reference/compare.rs"]
pub mod compare;
#[path = "../reference/generate/mod.rs"]
pub mod generate;
#[path = "../reference/spec/mod.rs"]
pub mod spec;
#[path = "../reference/subject.rs"]
pub mod subject;
