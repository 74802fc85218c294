//! Tells the code if this build has the development issuer: the configuration knows.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(development_issuer)");
    if env::var_os("DEP_AIRLOCK_CONFIG_DEVELOPMENT_ISSUER").is_some() {
        println!("cargo:rustc-cfg=development_issuer");
    }
}
