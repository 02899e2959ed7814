//! A failure in the child: what was called, the errno, and a few bytes of text. Plain data without heap, since it is
//! made after `clone3` and has to fit into one [report](crate::report) of 128 bytes.

use rustix::io::Errno;

/// At most this many bytes of call name and kernel text travel with a failure.
pub(crate) const NOTE: usize = 80;

/// Why an operation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The system call, by its man-page name.
    pub call: &'static str,
    pub errno: i32,
    /// What the kernel said (`fs_context` messages), or a path component; may be empty.
    pub note: Note,
}

pub(crate) type Result<T> = std::result::Result<T, Fault>;

/// A short text in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Note {
    len: u8,
    bytes: [u8; NOTE],
}

impl Note {
    pub const EMPTY: Note = Note { len: 0, bytes: [0; NOTE] };

    /// Keeps what fits.
    pub fn new(text: &[u8]) -> Self {
        let mut note = Note::EMPTY;
        for (to, from) in note.bytes.iter_mut().zip(text) {
            *to = *from;
            note.len += 1;
        }
        note
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

impl Fault {
    pub const fn new(call: &'static str, errno: Errno) -> Self {
        Fault { call, errno: errno.raw_os_error(), note: Note::EMPTY }
    }

    /// A failure that no system call reported.
    pub fn plain(text: &[u8]) -> Self {
        Fault { call: "", errno: 0, note: Note::new(text) }
    }

    pub fn with_note(self, text: &[u8]) -> Self {
        Fault { note: Note::new(text), ..self }
    }

    pub fn is(&self, errno: Errno) -> bool {
        self.errno == errno.raw_os_error()
    }
}

/// Names the system call that a result came from.
pub(crate) fn call<T>(name: &'static str, result: rustix::io::Result<T>) -> Result<T> {
    result.map_err(|errno| Fault::new(name, errno))
}
