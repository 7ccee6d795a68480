//! The command lines of the programs.

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
