//! cli
pub mod zlogin;
pub mod zonename;
