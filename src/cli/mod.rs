//! cli
pub mod manual;
//! What the programs do with their command lines.

pub mod zonecfg;
pub mod zlogin;
pub mod zonename;
