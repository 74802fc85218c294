//! Pages and comments: examples work, pages agree with the source, and both can be read.

mod architecture_is_as_told;
mod comments_can_be_read;
mod files_have_no_circles;
mod pages_can_be_read;
mod readme_examples_work;
mod redaction_is_measured;
