//! The machine that the guest runs on, as QEMU's command line.
//!
//! It is the same for every run: fixed clock, fixed seed, no string instructions whose cost depends on the model. The
//! firmware's NVRAM is not kept, so no run leaves anything for the next.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::toolchain;

/// Combined firmware images, by where distributions put them.
const FIRMWARE: &[&str] = &[
    "/usr/share/ovmf/OVMF.fd",
    "/usr/share/qemu/OVMF.fd",
    "/usr/share/edk2/x64/OVMF.4m.fd",
    "/usr/share/edk2/x64/OVMF.fd",
    "/usr/share/edk2-ovmf/x64/OVMF.fd",
    "/usr/share/edk2/ovmf/OVMF.fd",
];

/// The emulator's program name.
pub(crate) const PROGRAM: &str = "qemu-system-x86_64";

/// The firmware of this host, if it has one.
pub(crate) fn firmware() -> Option<PathBuf> {
    FIRMWARE.iter().map(PathBuf::from).find(|path| path.is_file())
}

/// How time passes in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// With the host.
    Host,
    /// With the instructions executed: 16 ticks of the TSC for each, and every run is alike.
    Instructions,
}

/// One virtual machine.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// The disk image to boot; it is not changed.
    pub(crate) image: PathBuf,
    /// Number of processors.
    pub(crate) processors: u32,
    /// Size of memory, as QEMU writes it: `512M`, `1G`.
    pub(crate) memory: String,
    /// How time passes.
    pub(crate) clock: Clock,
    /// A plugin of QEMU with its arguments.
    pub(crate) plugin: Option<String>,
    /// Whether what comes on our stdin is typed on the guest's console.
    pub(crate) typed: bool,
}

/// What is at the other end of the machine's lines.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ends<'a> {
    /// This tool: COM1 on stdout, port 0xe9 and QEMU's own words on stderr, the monitor on this socket.
    Pipes(&'a Path),
    /// A debugger on stdin and stdout, which finds the machine stopped; COM1 and port 0xe9 go to these files.
    Debugger(&'a Path, &'a Path),
}

impl Machine {
    /// The command that starts it with its lines on pipes and its monitor on a socket.
    pub(crate) fn command(&self, monitor: &Path) -> Result<Command> {
        let mut command = self.words(&Ends::Pipes(monitor))?;
        let input = if self.typed { Stdio::piped() } else { Stdio::null() };
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }

    /// The command that a debugger runs to have the machine, stopped, behind a pipe.
    pub(crate) fn for_debugger(&self, serial: &Path, log: &Path) -> Result<Command> {
        self.words(&Ends::Debugger(serial, log))
    }

    fn words(&self, ends: &Ends<'_>) -> Result<Command> {
        self.check()?;
        let emulator = toolchain::required(PROGRAM)?;
        let Some(firmware) = firmware() else { bail!("no UEFI firmware found: install the package ovmf") };
        let mut command = match toolchain::program("setpriv") {
            // Ends the guest with us, however we end.
            Some(wrapper) => {
                let mut command = Command::new(wrapper);
                command.args(["--pdeathsig", "KILL"]).arg(emulator);
                command
            }
            None => Command::new(emulator),
        };
        command.args(self.arguments(&firmware, ends));
        Ok(command)
    }

    fn check(&self) -> Result<()> {
        if self.clock == Clock::Instructions && self.processors != 1 {
            bail!("--icount counts the instructions of one processor: leave --smp at 1");
        }
        if !is_size(&self.memory) {
            bail!("--memory {} is no size: write it as 512M or 1G", self.memory);
        }
        Ok(())
    }

    fn arguments(&self, firmware: &Path, ends: &Ends<'_>) -> Vec<String> {
        let drive = escape(&self.image);
        let mut list: Vec<String> = Vec::new();
        let mut add = |words: &[&str]| list.extend(words.iter().map(|word| (*word).to_owned()));
        add(&["-M", "q35", "-nodefaults", "-no-reboot", "-display", "none"]);
        add(&["-boot", "menu=on,splash-time=0", "-bios", &firmware.display().to_string()]);
        add(&["-drive", &format!("if=virtio,format=raw,snapshot=on,file={drive}")]);
        add(&["-cpu", "max,-erms,-fsrm,-la57"]);
        add(&["-smp", &self.processors.to_string(), "-m", &self.memory]);
        add(&["-device", "isa-debugcon,iobase=0xe9,chardev=log"]);
        add(&["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]);
        add(&["-rtc", "base=2026-01-01,clock=vm", "-seed", "1"]);
        match self.clock {
            Clock::Instructions => add(&["-accel", "tcg", "-icount", "shift=4,sleep=off"]),
            Clock::Host => add(&["-accel", if self.processors > 1 { "tcg,thread=multi" } else { "tcg" }]),
        }
        self.plugin.iter().for_each(|plugin| add(&["-plugin", plugin]));
        match ends {
            Ends::Pipes(monitor) => {
                add(&["-serial", "stdio", "-chardev", "file,id=log,path=/dev/stderr"]);
                add(&["-monitor", &format!("unix:{},server=on,wait=off", escape(monitor))]);
            }
            Ends::Debugger(serial, log) => {
                add(&[
                    "-monitor",
                    "none",
                    "-S",
                    "-gdb",
                    "stdio",
                    "-serial",
                    &format!("file:{}", escape(serial)),
                ]);
                add(&["-chardev", &format!("file,id=log,path={}", escape(log))]);
            }
        }
        list
    }
}

/// Commas separate QEMU's options; two stand for one in a value.
fn escape(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

fn is_size(text: &str) -> bool {
    let digits = text.trim_end_matches(['K', 'M', 'G', 'k', 'm', 'g']);
    text.len() - digits.len() <= 1 && digits.parse::<u32>().is_ok_and(|number| number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            image: PathBuf::from("/tmp/a,b.img"),
            processors: 1,
            memory: "1G".into(),
            clock: Clock::Host,
            plugin: None,
            typed: false,
        }
    }

    #[test]
    fn a_comma_in_the_image_path_is_doubled() {
        let list = machine().arguments(Path::new("/f"), &Ends::Pipes(Path::new("/m")));
        assert!(list.iter().any(|word| word.ends_with("file=/tmp/a,,b.img")), "{list:?}");
    }

    #[test]
    fn counting_instructions_needs_one_processor() {
        let two = Machine { processors: 2, clock: Clock::Instructions, ..machine() };
        assert!(two.check().is_err());
        assert!(Machine { processors: 1, ..two }.check().is_ok());
    }

    #[test]
    fn sizes_are_a_number_and_at_most_one_letter() {
        assert!(["64M", "1G", "512"].iter().all(|text| is_size(text)));
        assert!(["", "G", "1GB", "0M", "1 G", "-1G"].iter().all(|text| !is_size(text)));
    }
}
