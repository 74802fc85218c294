//! The eBPF programs: `pin` refuses the network to servers, `drop` drops packets early.
//!
//! They are built for the target `bpfel-unknown-none` only (`cargo xtask build-ebpf`); on the host this is a
//! stub, so that the workspace builds everywhere.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod drop;
#[cfg(target_arch = "bpf")]
mod pin;

#[cfg(target_arch = "bpf")]
mod runtime {
    //! The parts that every object needs: a licence, for the helpers that are reserved to GPL programs, and a
    //! panic handler.
    #![allow(unsafe_code)]

    // SAFETY: the name and the section are what the loader looks for, and nothing else uses them.
    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 4] = *b"GPL\0";

    /// Never reached: the programs have no panicking path, and the verifier would refuse this loop.
    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("the eBPF programs run in the kernel; build them with `cargo xtask build-ebpf`");
    std::process::exit(2);
}
