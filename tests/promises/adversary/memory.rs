//! Clients and servers against the memory and the time of everybody else.
