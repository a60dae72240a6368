//! Following symbolic links: a daemon says where a path goes on, and this counts and makes it canonical.
//!
//! A daemon that meets a link answers with the whole path to go on with: an absolute one, which may lead
//! to another scheme, or one below its own root. No daemon sees the whole chain, so the limit is kept here.
#![forbid(unsafe_code)]

use crate::path::{Canonical, canonicalise};
use ring_abi::Errno;

/// Greatest number of links on the way to one file.
pub const MOST_LINKS: usize = 32;

/// A path on its way through links.
#[derive(Clone, Debug)]
pub struct Follow {
    at: Canonical,
    followed: usize,
}

impl Follow {
    /// Starts at `path`.
    pub fn new(path: Canonical) -> Follow {
        Follow { at: path, followed: 0 }
    }

    /// The path to try now.
    pub fn path(&self) -> &Canonical {
        &self.at
    }

    /// The path that was reached.
    pub fn into_path(self) -> Canonical {
        self.at
    }

    /// A daemon said to go on at `path`. `ELOOP` if that happens too often.
    pub fn link(&mut self, path: &[u8], default_scheme: &str) -> Result<(), Errno> {
        if self.followed >= MOST_LINKS {
            return Err(Errno::LOOP);
        }
        self.followed = self.followed.saturating_add(1);
        self.at = canonicalise(&self.at.root(), default_scheme, path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Follow, MOST_LINKS};
    use crate::path::{Canonical, canonicalise};
    use ring_abi::Errno;

    fn start() -> Follow {
        let path = canonicalise(&Canonical::schemes(), "file", b"/scheme/ram/a/link").unwrap();
        Follow::new(path)
    }

    #[test]
    fn a_link_leads_anywhere() {
        for (link, result) in [
            ("/scheme/disk/x", "/scheme/disk/x"),
            ("a/x", "/scheme/ram/a/x"),
            ("a/../../../x", "/scheme/ram/x"),
            ("/etc/x", "/scheme/file/etc/x"),
            ("disk:x", "/scheme/disk/x"),
        ] {
            let mut follow = start();
            follow.link(link.as_bytes(), "file").unwrap();
            assert_eq!(follow.path().as_str(), result);
        }
    }

    #[test]
    fn a_loop_ends_after_the_limit() {
        let mut follow = start();
        for _ in 0..MOST_LINKS {
            follow.link(b"/scheme/ram/a/link", "file").unwrap();
        }
        assert_eq!(follow.link(b"/scheme/ram/a/link", "file"), Err(Errno::LOOP));
    }

    #[test]
    fn a_daemon_cannot_make_a_bad_path() {
        assert_eq!(start().link(b"", "file"), Err(Errno::NOENT));
        assert_eq!(start().link(b"\xff", "file"), Err(Errno::ILSEQ));
        assert_eq!(start().link(b"/scheme/NO/x", "file"), Err(Errno::NODEV));
    }
}
