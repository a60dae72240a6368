//! The first file tree: programs, the files of `initfs/root`, files named on the command line, and the options.
//!
//! Options for the guest are a file, `/etc/cmdline`, one `key=value` a line, so that neither kernel nor programs are
//! built anew for another run.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, Result, anyhow};
use initfs_format::Builder;

use crate::cargo::Binary;

/// The time of every file: builds repeat themselves.
const TIME: u64 = 1_767_225_600; // 2026-01-01, the guest's clock at start

/// A file of the host and its place in the guest: `HOSTFILE=/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Added {
    host: PathBuf,
    guest: String,
    /// It can be executed, whatever its mode on the host says.
    is_program: bool,
}

impl Added {
    /// A program of the guest.
    pub(crate) fn program(host: &Path, guest: &str) -> Self {
        Self { host: host.into(), guest: guest.into(), is_program: true }
    }
}

impl FromStr for Added {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Host files may have `=` in their names, guest paths begin behind the last one.
        match text.rsplit_once("=/") {
            Some((host, guest)) if !host.is_empty() && !guest.is_empty() => {
                Ok(Self { host: host.into(), guest: format!("/{guest}"), is_program: false })
            }
            _ => Err("write it as HOSTFILE=/path/in/the/guest".into()),
        }
    }
}

/// What init is told, beside the files that are always there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    /// Files to add.
    pub(crate) added: Vec<Added>,
    /// Lines of `/etc/cmdline`.
    pub(crate) options: Vec<(&'static str, String)>,
}

/// Writes the image.
pub(crate) fn image(programs: &[Binary], root: &Path, content: &Content) -> Result<Vec<u8>> {
    let mut builder = Builder::new();
    builder.mtime(TIME);
    for program in programs {
        let path = format!("/bin/{}", program.name);
        builder.file(&path, read(&program.path)?, 0o755).map_err(|reason| anyhow!("{reason}"))?;
    }
    if root.is_dir() {
        add_folder(&mut builder, root, "")?;
    }
    for Added { host, guest, is_program } in &content.added {
        let mode = if *is_program { 0o755 } else { mode_of(host)? };
        builder.file(guest, read(host)?, mode).map_err(|reason| anyhow!("--add: {reason}"))?;
    }
    let options = command_line(&content.options)?;
    builder.file("/etc/cmdline", options, 0o644).map_err(|reason| anyhow!("{reason}"))?;
    builder.finish().map_err(|reason| anyhow!("{reason}"))
}

fn command_line(options: &[(&'static str, String)]) -> Result<String> {
    let mut text = String::new();
    for (key, value) in options {
        anyhow::ensure!(!value.contains('\n'), "the option {key} cannot hold a line break");
        text.push_str(&format!("{key}={value}\n"));
    }
    Ok(text)
}

/// Adds a folder of the host under `place`, links as links.
fn add_folder(builder: &mut Builder, folder: &Path, place: &str) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{} has no name in UTF-8", path.display()))?;
        let inside = format!("{place}/{name}");
        let kind = fs::symlink_metadata(&path)?.file_type();
        if kind.is_symlink() {
            let target = fs::read_link(&path)?;
            let target = target.to_str().with_context(|| format!("{} leads nowhere", path.display()))?;
            builder.symlink(&inside, target).map_err(|reason| anyhow!("{reason}"))?;
        } else if kind.is_dir() {
            builder.directory(&inside, mode_of(&path)?).map_err(|reason| anyhow!("{reason}"))?;
            add_folder(builder, &path, &inside)?;
        } else {
            builder.file(&inside, read(&path)?, mode_of(&path)?).map_err(|reason| anyhow!("{reason}"))?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Whether everybody may execute it is all that is kept of a host file's mode: the rest differs between clones.
fn mode_of(path: &Path) -> Result<u32> {
    let mode =
        fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.permissions().mode();
    Ok(if mode & 0o100 != 0 { 0o755 } else { 0o644 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_added_file_names_both_places() {
        let added: Added = "a=b/c=/etc/x".parse().unwrap();
        assert_eq!(added, Added { host: "a=b/c".into(), guest: "/etc/x".into(), is_program: false });
        for wrong in ["a", "a=b", "=/b", "a=/"] {
            assert!(wrong.parse::<Added>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn options_are_lines_and_line_breaks_are_refused() {
        let options = [("exec", "bench --case nop.1".to_owned()), ("smp", "1".to_owned())];
        assert_eq!(command_line(&options).unwrap(), "exec=bench --case nop.1\nsmp=1\n");
        assert!(command_line(&[("exec", "a\nb".into())]).is_err());
    }

    #[test]
    fn an_image_has_programs_files_and_options() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let programs = [Binary { name: "init".into(), path: here.join("Cargo.toml") }];
        let content = Content { added: vec![], options: vec![("exec", "x".into())] };
        let bytes = image(&programs, &here.join("src"), &content).unwrap();
        initfs_format::Image::open(&bytes).unwrap();
        assert!(bytes.windows(7).any(|part| part == b"exec=x\n"));
    }
}
