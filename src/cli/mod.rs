//! What the programs do with their command lines.

pub mod completion;
pub mod manual;
pub mod report;
pub mod zlogin;
pub mod zoneadm;
pub mod zoneadmd;
pub mod zonecfg;
pub mod zonename;
pub mod zonesd;
pub mod zonestat;
