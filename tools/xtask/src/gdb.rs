//! `cargo xtask gdb`: the debugger at the kernel's first instruction, symbols in place.
//!
//! The debugger itself starts QEMU behind a pipe, so an interrupt from the keyboard stops the guest and nothing else,
//! and the guest ends with the debugger. The kernel's place in memory is in its own file: the loader's configuration
//! names it.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail};
use bootloader_api::BootloaderConfig;
use bootloader_api::config::Mapping;
use clap::Args;
use goblin::elf::Elf;
use goblin::elf::header::ET_DYN;

use crate::choice::Choice;
use crate::qemu::Clock;
use crate::run::{self, MachineOptions};
use crate::setup::{self, Need};
use crate::{image, toolchain};

/// What `cargo xtask gdb` takes.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    machine: MachineOptions,
    /// Let the guest's time pass with its instructions
    #[arg(long)]
    icount: bool,
    #[command(flatten)]
    choice: Choice,
    /// Give the debugger this command once it has stopped; may be given several times
    #[arg(long, value_name = "COMMAND")]
    command: Vec<String>,
    /// End after the commands, or after --timeout
    #[arg(long)]
    batch: bool,
    /// Debug this kernel in the image given with --image instead of building both
    #[arg(long, value_name = "ELF", requires = "image")]
    kernel: Option<PathBuf>,
    /// The image that holds --kernel
    #[arg(long, value_name = "FILE", requires = "kernel")]
    image: Option<PathBuf>,
}

/// Becomes the debugger; comes back only when it cannot be started.
pub(crate) fn run(options: &Options) -> Result<u8> {
    let (tree, tools) = setup::prepare(Need::Debugger)?;
    let (kernel, disk) = match (&options.kernel, &options.image) {
        (Some(kernel), Some(disk)) => (kernel.clone(), disk.clone()),
        _ => {
            let guest = options.choice.programs.build(&tree, &tools)?;
            let disk = tree.built("annulus-gdb.img");
            image::assemble(&tree, &tools, &guest, &options.choice.content(), &disk)?;
            (guest.kernel, disk)
        }
    };
    let place =
        Place::of(&std::fs::read(&kernel).with_context(|| format!("cannot read {}", kernel.display()))?)?;
    let clock = if options.icount { Clock::Instructions } else { Clock::Host };
    let (serial, log) = (tree.built("gdb-serial.log"), tree.built("gdb-kernel.log"));
    let guest = run::machine(&disk, &options.machine, clock).for_debugger(&serial, &log)?;
    eprintln!("the guest's lines go to {} and {}", serial.display(), log.display());
    let mut command = debugger(options)?;
    command.args(script(&kernel, &place, &guest, &options.command));
    Err(anyhow!(command.exec()).context("cannot start gdb"))
}

/// The debugger's command: a person ends it, or the time limit does.
fn debugger(options: &Options) -> Result<Command> {
    let gdb = toolchain::required("gdb")?;
    if !options.batch {
        let mut command = Command::new(gdb);
        command.arg("-q");
        return Ok(command);
    }
    let mut command = Command::new(toolchain::required("timeout")?);
    command.args(["--kill-after=5", &options.machine.timeout.to_string()]).arg(gdb).args(["-q", "-batch"]);
    Ok(command)
}

/// Where the loader puts the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// Added to every linked address.
    base: u64,
    /// The first instruction, in memory.
    entry: u64,
}

impl Place {
    /// Reads it out of the kernel's ELF file.
    fn of(file: &[u8]) -> Result<Self> {
        let elf = Elf::parse(file).context("the kernel is no ELF file")?;
        let base = if elf.header.e_type == ET_DYN { base(&config(&elf, file)?)? } else { 0 };
        Ok(Self { base, entry: base.wrapping_add(elf.entry) })
    }
}

/// The loader's configuration, which the kernel carries in a section.
fn config(elf: &Elf<'_>, file: &[u8]) -> Result<BootloaderConfig> {
    let named = |header: &&goblin::elf::SectionHeader| {
        elf.shdr_strtab.get_at(header.sh_name) == Some(".bootloader-config")
    };
    let header =
        elf.section_headers.iter().find(named).context("the kernel has no section .bootloader-config")?;
    let bytes =
        header.file_range().and_then(|range| file.get(range)).context("the kernel's file is cut off")?;
    BootloaderConfig::deserialize(bytes)
        .map_err(|reason| anyhow!("the kernel's .bootloader-config: {reason}"))
}

fn base(config: &BootloaderConfig) -> Result<u64> {
    match (config.mappings.kernel_base, config.mappings.dynamic_range_start) {
        (Mapping::FixedAddress(base), _) => Ok(base),
        _ if config.mappings.aslr => {
            bail!("the kernel asks for a random place: switch mappings.aslr off to debug it")
        }
        // The kernel is the first thing that the loader places.
        (Mapping::Dynamic, Some(start)) => Ok(start),
        (Mapping::Dynamic, None) => {
            bail!("the kernel's configuration names neither kernel_base nor dynamic_range_start")
        }
    }
}

/// The debugger's arguments: symbols, machine, first stop, then what the user wants.
fn script(kernel: &Path, place: &Place, guest: &Command, user: &[String]) -> Vec<String> {
    let words = std::iter::once(guest.get_program()).chain(guest.get_args());
    let guest: Vec<String> = words.map(|word| quote(&word.to_string_lossy())).collect();
    let steps = [
        "set confirm off".to_owned(),
        "set pagination off".to_owned(),
        format!("symbol-file {} -o {:#x}", quote(&kernel.display().to_string()), place.base),
        format!("target remote | {}", guest.join(" ")),
        format!("hbreak *{:#x}", place.entry),
        "continue".to_owned(),
    ];
    steps.into_iter().chain(user.iter().cloned()).flat_map(|step| ["-ex".to_owned(), step]).collect()
}

/// A word for the shell, and for the debugger's own reading of file names.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_says_where_the_kernel_is() {
        let mut config = BootloaderConfig::new_default();
        assert!(base(&config).is_err());
        config.mappings.dynamic_range_start = Some(0xffff_8000_0000_0000);
        assert_eq!(base(&config).unwrap(), 0xffff_8000_0000_0000);
        config.mappings.aslr = true;
        assert!(base(&config).is_err());
        config.mappings.kernel_base = Mapping::FixedAddress(0xffff_ffff_8000_0000);
        assert_eq!(base(&config).unwrap(), 0xffff_ffff_8000_0000);
    }

    #[test]
    fn the_script_stops_at_the_entry_before_the_users_commands() {
        let place = Place { base: 0x1000, entry: 0x1234 };
        let mut guest = Command::new("qemu");
        guest.args(["-m", "a b"]);
        let words = script(Path::new("/k"), &place, &guest, &["info registers".into()]);
        let steps: Vec<&str> = words.iter().filter(|word| *word != "-ex").map(String::as_str).collect();
        assert_eq!(
            steps[2..],
            [
                "symbol-file /k -o 0x1000",
                "target remote | qemu -m 'a b'",
                "hbreak *0x1234",
                "continue",
                "info registers"
            ]
        );
    }
}
