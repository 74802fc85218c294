//! Principals and identity providers against who is who.
