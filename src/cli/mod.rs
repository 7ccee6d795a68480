//! What the programs do with their command lines.

pub mod manual;
pub mod zlogin;
pub mod zonecfg;
pub mod report;
pub mod zoneadm;
pub mod zonename;
