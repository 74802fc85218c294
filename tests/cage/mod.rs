//! The cage: servers reach nothing that they were not given, and the daemon becomes nobody else.

mod caged_servers_stay_inside;
mod neighbours_are_out_of_reach;
mod pinned_servers_reach_nothing;
mod servers_dial_in;
mod the_daemon_is_filtered;
mod the_spawner_faces_no_network;
