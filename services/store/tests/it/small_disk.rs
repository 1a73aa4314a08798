//! A disk that is soon full.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A folder with little room. It is unmounted at the end.
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// One of so many bytes. Mounting it takes the rights of root; without them the test that wants it is skipped, which
    /// is said.
    pub fn mount(bytes: usize) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(folder.path())
            .output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(Self { folder });
        }
        let _unread = writeln!(std::io::stderr(), "skipped: a small tmpfs cannot be mounted here");
        None
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes all the room that is left, with a file to delete.
    pub fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        for size in [65_536, 4_096, 1] {
            while file.write(&vec![1; size]).is_ok_and(|written| written == size) {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
    }
}
