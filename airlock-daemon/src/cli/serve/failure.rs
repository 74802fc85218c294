//! The error of a start.

use std::error::Error;

pub(super) type Failure = Box<dyn Error + Send + Sync>;
