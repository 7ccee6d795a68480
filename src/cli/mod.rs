//! cli
pub mod manual;
//! What the programs do with their command lines.

pub mod zonecfg;
