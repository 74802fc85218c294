//! The versions of every tool that is not a dependency in Cargo.lock, in one place. The npm and Python trees
//! are pinned by `xtask/tools/package-lock.json` and `xtask/tools/requirements.txt`.

/// The linker of the kernel programs.
pub(crate) const BPF_LINKER: &str = "0.13.0";

/// The test runner.
pub(crate) const NEXTEST: &str = "0.9.143";

/// Changes the code to see if a test notices.
pub(crate) const MUTANTS: &str = "27.1.0";

/// The LLVM that Debian packages, that the linker is built against and whose coverage tools read what rustc
/// 1.95 writes.
pub(crate) const LLVM: &str = "22";
