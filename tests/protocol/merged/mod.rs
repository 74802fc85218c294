//! The merged endpoint, where all servers stand together.

mod merged_names_are_safe;
mod merged_servers_are_introduced;
mod paths_mean_what_was_meant;
