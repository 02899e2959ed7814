//! `HOME` of a user, from the container's own `/etc/passwd`: for the child, so without heap.
//!
//! Only read, and only after the root has changed; a file that is missing, not regular or malformed gives "/".

use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Mode, OFlags};

use crate::fault::Result;
use crate::root::Buffer;

/// The image's file may be of any size: 4 MiB of it are read.
const MOST_CHUNKS: usize = 1024;

/// Writes `HOME=<directory>` of `uid` to `home`.
pub(crate) fn find(uid: u32, home: &mut Buffer) -> Result<()> {
    home.push(b"HOME=")?;
    let mut scan = Scan { uid, column: 0, number: Some(0), digits: 0, directory: Buffer::new() };
    if let Some(file) = open() {
        let mut chunk = [0u8; 4096];
        for _ in 0..MOST_CHUNKS {
            let Ok(len @ 1..) = rustix::io::read(&file, &mut chunk[..]) else { break };
            if chunk.iter().take(len).any(|byte| scan.feed(*byte)) {
                return home.push(scan.directory.as_bytes());
            }
        }
        if scan.feed(b'\n') {
            return home.push(scan.directory.as_bytes());
        }
    }
    home.push(b"/")
}

/// Without blocking and without becoming a terminal's owner: the image may hold anything at this path.
fn open() -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(c"/etc/passwd", flags, Mode::empty()).ok()?;
    let stat = rustix::fs::fstat(&file).ok()?;
    (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then_some(file)
}

/// One pass over `name:password:uid:gid:gecos:directory:shell` lines.
struct Scan {
    uid: u32,
    column: u32,
    /// The third column so far; `None` if it is not a number.
    number: Option<u32>,
    digits: u32,
    directory: Buffer,
}

impl Scan {
    /// True once a whole line of the user with a directory is behind us.
    fn feed(&mut self, byte: u8) -> bool {
        match byte {
            b'\n' => {
                let found = self.column >= 5 && self.is_user() && !self.directory.as_bytes().is_empty();
                if !found {
                    *self = Scan { uid: self.uid, column: 0, number: Some(0), digits: 0, directory: Buffer::new() };
                }
                return found;
            }
            b':' => self.column += 1,
            digit @ b'0'..=b'9' if self.column == 2 => {
                let digit = u32::from(digit - b'0');
                self.number = self.number.and_then(|n| n.checked_mul(10)?.checked_add(digit));
                self.digits += 1;
            }
            _ if self.column == 2 => self.number = None,
            // A directory longer than a path can be is no directory.
            byte if self.column == 5 && self.is_user() => drop(self.directory.push(&[byte])),
            _ => {}
        }
        false
    }

    fn is_user(&self) -> bool {
        self.digits > 0 && self.number == Some(self.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(uid: u32, text: &str) -> Option<String> {
        let mut scan = Scan { uid, column: 0, number: Some(0), digits: 0, directory: Buffer::new() };
        let found = text.bytes().chain([b'\n']).any(|byte| scan.feed(byte));
        found.then(|| String::from_utf8(scan.directory.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn finds_the_directory_of_a_uid() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n\nbroken\n1000:x:0:0::/wrong:\nu:x:1000:1000:,,,:/home/u:/bin/sh";
        assert_eq!(scan(0, passwd).as_deref(), Some("/root"));
        assert_eq!(scan(1000, passwd).as_deref(), Some("/home/u"));
        assert_eq!(scan(100, passwd), None);
        assert_eq!(scan(0, "a:x::0::/empty:/bin/sh"), None, "no uid is not uid 0");
        assert_eq!(scan(0, "a:x:4294967296:0::/wrapped:"), None, "a uid that overflows is not uid 0");
    }
}
