//! A message has one reading, by itself, in a batch, and beside its headers.

mod batches_are_judged_one_by_one;
mod headers_repeat_arguments;
mod line_ends_begin_no_message;
mod messages_have_one_reading;
mod nulls_are_as_if_absent;
