//! A caged server against its host, its neighbours and the daemon that started it.
