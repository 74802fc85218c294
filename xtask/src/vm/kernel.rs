//! Kernels from Debian's archive, unpacked below target/tools/vm and never installed.

use std::fs;
use std::path::{Path, PathBuf};

use crate::setup::is_root;
use crate::shell::{command, on_path, output, run_quietly};
use crate::tools;

/// A kernel that can be booted.
#[derive(Debug)]
pub(super) struct Kernel {
    /// As `uname -r` will print it.
    pub(super) release: String,
    /// The image that qemu boots.
    pub(super) image: PathBuf,
    /// The directory of its modules.
    pub(super) modules: PathBuf,
}

/// The newest kernel of a series that Debian has for clouds, or that was unpacked earlier. An error says why
/// there is none.
pub(super) fn find(series: &str) -> Result<Kernel, String> {
    if cfg!(not(target_arch = "x86_64")) {
        return Err("guests are booted on x86_64 only".to_owned());
    }
    let home = tools::dir().join("vm");
    fs::create_dir_all(&home).map_err(|error| format!("{}: {error}", home.display()))?;
    let unpacked = |package: &str| Kernel::below(&home.join(package)).ok();
    let mut known = newest(series)?;
    if known.is_none() && is_root()? && on_path("apt-get").is_some() {
        // A bare host has no lists yet.
        if let Err(error) = run_quietly(&mut command("apt-get", &["update", "-qq"])) {
            println!("going on: {error}");
        }
        known = newest(series)?;
    }
    let Some(package) = known else {
        return earlier(&home, series)
            .ok_or_else(|| format!("apt knows no package linux-image-{series}*-cloud-amd64 on this host"));
    };
    if let Some(kernel) = unpacked(&package) {
        return Ok(kernel);
    }
    if let Err(error) = download(&package, &home) {
        // An older one of the same series proves almost as much; which one it was is printed with the
        // results.
        return earlier(&home, series).ok_or(error);
    }
    Kernel::below(&home.join(&package))
}

impl Kernel {
    /// The kernel in an unpacked package.
    fn below(dir: &Path) -> Result<Self, String> {
        let modules = dir.join("lib/modules");
        let entries = fs::read_dir(&modules).map_err(|error| format!("{}: {error}", modules.display()))?;
        let release = entries.flatten().find_map(|entry| entry.file_name().into_string().ok());
        let release = release.ok_or_else(|| format!("{}: no modules", modules.display()))?;
        let image = dir.join("boot").join(format!("vmlinuz-{release}"));
        if !image.is_file() {
            return Err(format!("{}: there is no such kernel", image.display()));
        }
        Ok(Self { image, modules: modules.join(&release), release })
    }
}

/// The package of the newest kernel of a series.
fn newest(series: &str) -> Result<Option<String>, String> {
    if on_path("apt-cache").is_none() {
        return Ok(None);
    }
    let pattern = format!("^linux-image-{}[.].*-cloud-amd64$", series.replace('.', "[.]"));
    let found = output(&mut command("apt-cache", &["search", "--names-only", &pattern]))?;
    let names = found.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned);
    Ok(names.max_by_key(|name| numbers(name)))
}

/// The newest of a series that was unpacked earlier.
fn earlier(home: &Path, series: &str) -> Option<Kernel> {
    let prefix = format!("linux-image-{series}.");
    let names = fs::read_dir(home).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let name = names.filter(|name| name.starts_with(&prefix)).max_by_key(|name| numbers(name))?;
    Kernel::below(&home.join(name)).ok()
}

/// The numbers in a name, in order, by which versions are compared.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

/// Downloads and unpacks a package.
fn download(package: &str, home: &Path) -> Result<(), String> {
    let dir = home.join(format!("{package}.part"));
    if dir.exists() {
        fs::remove_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    }
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    // As whoever we are: the user that apt would become may not write here.
    let mut apt = command("apt-get", &["download", "-qq", "-o", "APT::Sandbox::User=root", package]);
    run_quietly(apt.current_dir(&dir))?;
    let entries = fs::read_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let archive = entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    let archive = archive.ok_or_else(|| format!("{package}: apt-get downloaded nothing"))?;
    run_quietly(command("dpkg-deb", &["-x"]).arg(&archive).arg(&dir))?;
    fs::remove_file(&archive).map_err(|error| format!("{}: {error}", archive.display()))?;
    // Only a whole one gets the name.
    fs::rename(&dir, home.join(package)).map_err(|error| format!("{}: {error}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        let names = [
            "linux-image-6.12.101+deb12-cloud-amd64",
            "linux-image-6.12.113+deb12-cloud-amd64",
            "linux-image-6.12.9+deb12-cloud-amd64",
        ];
        assert_eq!(names.into_iter().max_by_key(|name| numbers(name)), Some(names[1]));
        assert!(numbers("linux-image-6.1.0-56-cloud-amd64") > numbers("linux-image-6.1.0-9-cloud-amd64"));
    }
}
