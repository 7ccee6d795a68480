//! Text of the command language to [`Command`]s. No files, no terminal: the text comes from `shell`.
//!
//! The language is the union of what illumos, Solaris 10, Solaris 11, OmniOS and SmartOS accept;
//! [`lexer`] says where the dialects differ.

pub mod command;
pub mod complete;
pub mod error;
pub mod grammar;
pub mod lexer;

pub use command::{Argument, Command, CommandWord, ExportFormat, Pick, Span, Word};
pub use error::ParseError;
pub use grammar::{Parsed, Parser};
