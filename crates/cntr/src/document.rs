//! JSON documents that are named on the command line, as bytes. What they say is the library's.

use anyhow::{Context, bail};
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

/// As much as is read: that of config.json.
const LIMIT: u64 = 16 << 20;

/// The whole of a file, or of standard input for `-`.
pub fn read_file_or_stdin(file: &OsStr) -> anyhow::Result<Vec<u8>> {
    if file == "-" { read(std::io::stdin().lock(), OsStr::new("/dev/stdin")) } else { read_file(file) }
}

/// The whole of a file.
pub fn read_file(file: &OsStr) -> anyhow::Result<Vec<u8>> {
    // A terminal must not become ours.
    let open = OpenOptions::new().read(true).custom_flags(nix::libc::O_NOCTTY).open(file);
    read(open.with_context(|| format!("open {}", file.display()))?, file)
}

fn read(from: impl Read, name: &OsStr) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    let got = from.take(LIMIT + 1).read_to_end(&mut text).with_context(|| format!("read {}", name.display()))?;
    if u64::try_from(got).is_ok_and(|got| got > LIMIT) {
        bail!("{}: more than the limit of {} MiB", name.display(), LIMIT >> 20);
    }
    Ok(text)
}
