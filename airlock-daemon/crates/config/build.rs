//! Tells the code, and the build script of the daemon, if this build has the development issuer.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(development_issuer)");
    if has_development_issuer() {
        println!("cargo:rustc-cfg=development_issuer");
        println!("cargo:development_issuer=1");
    }
}

/// A release has no development issuer, unless the feature of that name is asked for.
fn has_development_issuer() -> bool {
    let has = |feature: &str| env::var_os(feature).is_some();
    let is_debug = env::var("PROFILE").is_ok_and(|profile| profile == "debug");
    has("CARGO_FEATURE_DEVELOPMENT_ISSUER") || (is_debug && has("CARGO_FEATURE_DEBUG_ISSUER"))
}
