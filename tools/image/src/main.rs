//! Turns kernel and ramdisk into a UEFI disk image.
//!
//! It stands outside the workspace because the `bootloader` crate compiles its UEFI stage from a build script, which
//! needs the compiler of the system and its source of `core`; the rest of the host tool builds with any stable Rust.
//! Usage: `image KERNEL RAMDISK OUTPUT`.

use std::path::PathBuf;
use std::process::ExitCode;

use bootloader::DiskImageBuilder;

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [kernel, ramdisk, output] = arguments.as_slice() else {
        eprintln!("usage: image KERNEL RAMDISK OUTPUT");
        return ExitCode::from(2);
    };
    let mut builder = DiskImageBuilder::new(kernel.clone());
    builder.set_ramdisk(ramdisk.clone());
    match builder.create_uefi_image(output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("cannot write {}: {reason:#}", output.display());
            ExitCode::FAILURE
        }
    }
}
