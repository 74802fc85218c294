//! Starts and ends of servers and of the daemon, and what an operator is told of them.

mod broken_promises_are_alarms;
mod checks_warn_of_the_host;
mod dead_servers_are_told_once;
mod ended_processes_leave_nothing;
mod errors_say_where_and_why;
pub(crate) mod machine;
mod metrics_can_be_scraped;
mod shutdown_finishes_calls;
mod slow_starts_are_waited_for;
mod status_says_what_is_wrong;
mod trying_says_how_it_failed;
pub(crate) mod units_run_under_systemd;
