//! Files of procfs and of the cgroup file systems: the whole of one in three system calls.
//!
//! Nothing is asked of a file but its content: the size in its inode is 0 and says nothing, and there are dozens of them
//! in a start. The last component is not followed if it is a symlink. Must not enter: files that others may make big, block
//! or replace, such as those of a rootfs.

use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::{Result, retry_on_intr};
use rustix::path::Arg;

const CHUNK: usize = 4096;

/// The text of `path` below `dir` without the white space at its end.
pub(crate) fn read(dir: impl AsFd, path: impl Arg) -> Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::openat(dir, path, flags, Mode::empty())?;
    let mut chunk = [0u8; CHUNK];
    let mut bytes = Vec::new();
    loop {
        let read = retry_on_intr(|| rustix::io::read(&fd, &mut chunk))?;
        bytes.extend_from_slice(chunk.get(..read).unwrap_or_default());
        // The kernel hands out whole lines only, so a read that is a little short need not be the last. No file has
        // lines of half a chunk.
        if read < CHUNK / 2 {
            return Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::CWD;
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn any_length_is_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for len in [0, 1, CHUNK / 2 - 1, CHUNK / 2, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 10 * CHUNK + 7] {
            let text: String = (b'a'..=b'z').cycle().map(char::from).take(len).collect();
            std::fs::write(&path, format!("{text}\n")).unwrap();
            assert_eq!(read(CWD, &path), Ok(text), "{len}");
        }
    }

    #[test]
    fn lines_that_do_not_fit_the_kernels_page_are_read() {
        let mut sleeper = std::process::Command::new("/bin/sleep").arg("100").spawn().unwrap();
        let path = format!("/proc/{}/smaps", sleeper.id());
        let whole = || (std::fs::read_to_string(&path).unwrap(), read(CWD, &path).unwrap());
        // Its maps change until it sleeps.
        let same = (0..1000).any(|_| matches!(whole(), (a, b) if a.trim_end() == b && b.len() > CHUNK));
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert!(same);
    }

    #[test]
    fn symlinks_and_what_is_missing_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/proc/self/status", dir.path().join("link")).unwrap();
        assert_eq!(read(CWD, dir.path().join("link")), Err(Errno::LOOP));
        assert_eq!(read(CWD, dir.path().join("nothing")), Err(Errno::NOENT));
    }
}
