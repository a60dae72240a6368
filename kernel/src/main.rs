//! The kernel as a program: where the loader enters. Everything else is in the library.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
bootloader_api::entry_point!(enter, config = &kernel::arch::x86_64::LOADER_CONFIG);

// The machine calls upwards by symbol.
#[cfg(target_os = "none")]
kernel::entry_symbols! {
    kernel: kernel::entry::machine::TheKernel,
    boot: kernel::boot::machine::boot,
    enter: kernel::entry::machine::enter,
    enter_of_many: kernel::entry::machine::enter_of_many,
    interrupt: kernel::entry::machine::interrupt,
    interrupt_of_many: kernel::entry::machine::interrupt_of_many,
    event: kernel::entry::machine::event,
    dump: kernel::entry::machine::dump,
}

/// The loader's call.
#[cfg(target_os = "none")]
fn enter(info: &'static mut bootloader_api::BootInfo) -> ! {
    kernel::arch::x86_64::start(info)
}

/// On the host there is only the library.
#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is the kernel; build it for x86_64-unknown-none, or use `cargo xtask run`");
    std::process::exit(2);
}
