//! Whole trees: removing them, copying them, giving them other ids, looking for special files in them.
//!
//! Both walk by descriptors ([`super::path`]): a link is never followed and a mount never entered
//! unless the caller names it, whatever happens to the tree meanwhile.

mod chain;
mod copy;
mod data;
mod filter;
mod links;
mod remove;
mod shift;
mod subvolume;
mod survey;

pub use copy::{Copied, CopyError, Measured, Progress, copy_names, copy_tree, measure};
pub use data::{SparseWriter, set_times, set_xattr};
pub use filter::{CopyFilter, CopyRule};
pub use remove::{RemoveError, remove_tree};
pub use shift::{IdShift, shift_ids};
pub use survey::{Survey, SurveyFilter, is_readable_to_all, is_set_id, survey};
