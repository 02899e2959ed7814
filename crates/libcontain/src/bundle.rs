//! From a bundle directory to a [`Spec`].
//!
//! Owns the reading of `config.json`, and nothing of its meaning: what the values say is for `check`. A file
//! is read once, at most [`LIMIT`] bytes of it and only if it is a regular file, so that no config can hang
//! the runtime or eat the machine's memory. JSON is taken as Go takes it (see `json`). The caller's working
//! directory is never changed: everything later resolves against [`Bundle::dir`].

mod json;
mod repeat;
mod text;
mod words;
mod zero;

use crate::error::{At, Error, Problem};
use crate::spec::Spec;
use serde::de::DeserializeOwned;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Largest `config.json` that is read, in bytes. Real ones have 10-100 kB.
pub const LIMIT: u64 = 16 << 20;

/// Longest error text about a config, in bytes: it may quote what the config holds.
const LONGEST_TEXT: usize = 600;

/// A bundle: a directory, and the config that it holds.
#[derive(Debug, Clone)]
pub struct Bundle {
    dir: PathBuf,
    spec: Spec,
    config: Vec<u8>,
    warnings: Vec<Problem>,
}

impl Bundle {
    /// Reads the bundle in `dir`.
    ///
    /// # Errors
    /// When the directory or its `config.json` cannot be read, or is not a config. The text names the config
    /// path and line where there is one.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Bundle::load(dir.as_ref())?)
    }

    fn load(given: &Path) -> Result<Self, BundleError> {
        let chdir = |error: &io::Error| BundleError::from_io(&format!("chdir {}", given.display()), error);
        let dir = std::path::absolute(given).map_err(|e| chdir(&e))?;
        let config = read_config(&dir.join("config.json")).map_err(|error| match dir.metadata() {
            // Without a bundle the config is the lesser problem.
            Err(missing) => chdir(&missing),
            Ok(found) if !found.is_dir() => chdir(&io::Error::from_raw_os_error(libc::ENOTDIR)),
            Ok(_) => error,
        })?;
        let (spec, warnings) = from_json("config.json", &config)?;
        Ok(Bundle { dir, spec, config, warnings })
    }

    /// A bundle whose config was made by the caller. Relative paths of the config are taken from `dir`.
    pub fn new(dir: impl Into<PathBuf>, spec: Spec) -> Self {
        let config = serde_json::to_vec(&spec).unwrap_or_default();
        let dir = dir.into();
        let dir = std::path::absolute(&dir).unwrap_or(dir);
        Bundle { dir, spec, config, warnings: Vec::new() }
    }

    /// The config.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The bundle directory, absolute, symlinks not resolved.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The config as it stood in the file: hooks and later commands must see what was given, not what a
    /// parser made of it.
    #[must_use]
    pub fn config_bytes(&self) -> &[u8] {
        &self.config
    }

    /// What reading found and got over: capabilities that nobody knows.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }
}

/// Why a bundle could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct BundleError {
    /// The whole message, file and place included.
    pub text: String,
    /// Place in the config, such as `process.args`.
    pub at: Option<String>,
    /// Error number of the system call that failed.
    pub errno: Option<i32>,
}

impl BundleError {
    fn plain(text: String) -> Self {
        BundleError { text, at: None, errno: None }
    }

    /// `what: no such file or directory`, in lower case as Go has it, since callers compare such texts.
    fn from_io(what: &str, error: &io::Error) -> Self {
        let mut text = error.to_string();
        if let Some(at) = text.rfind(" (os error ") {
            text.truncate(at);
        }
        if let Some(first) = text.get_mut(..1) {
            first.make_ascii_lowercase();
        }
        BundleError { text: format!("{what}: {text}"), at: None, errno: error.raw_os_error() }
    }

    fn from_fault(file: &str, fault: json::Fault) -> Self {
        let mut text = format!("{file}: ");
        if !fault.path.is_empty() {
            text.push_str(&fault.path);
            text.push_str(": ");
        }
        text.push_str(&fault.text);
        shorten(&mut text, LONGEST_TEXT);
        if fault.line > 0 {
            text = format!("{text} (line {})", fault.line);
        }
        BundleError { text, at: Some(fault.path).filter(|path| !path.is_empty()), errno: None }
    }
}

/// Decodes a JSON document of the config's types, as Go would: `file` is its name in messages. Besides the
/// value it returns warnings about capabilities that are not known and were left out.
///
/// # Errors
/// When the text is not JSON or does not fit the type.
pub fn from_json<T: DeserializeOwned>(file: &str, bytes: &[u8]) -> Result<(T, Vec<Problem>), BundleError> {
    let text = text::as_go_reads(bytes);
    let nothing = match text.trim_ascii() {
        "" => Some("is empty"),
        "null" => Some("config cannot be null"),
        _ => None,
    };
    if let Some(what) = nothing {
        return Err(BundleError::plain(format!("{file}: {what}, expected a JSON object")));
    }
    let (value, dropped) = json::decode(&text).map_err(|fault| BundleError::from_fault(file, fault))?;
    Ok((value, unknown_capabilities(dropped)))
}

/// One warning per word, at the first of the lists that hold it. The spec wants them told and ignored.
fn unknown_capabilities(dropped: Vec<json::Dropped>) -> Vec<Problem> {
    let mut words: Vec<String> = Vec::new();
    let mut warnings = Vec::new();
    for json::Dropped { list, index, word } in dropped {
        if words.contains(&word) {
            continue;
        }
        let path = match list.as_str() {
            "bounding" => "process.capabilities.bounding[#]",
            "effective" => "process.capabilities.effective[#]",
            "inheritable" => "process.capabilities.inheritable[#]",
            "permitted" => "process.capabilities.permitted[#]",
            _ => "process.capabilities.ambient[#]",
        };
        let text = format!("ignoring unknown or unavailable capabilities: [{}]", shown(&word));
        warnings.push(Problem::warning(At::item(path, index), "config.md#linux-process", text));
        words.push(word);
    }
    warnings
}

/// Reads the file, if it is one, and not too much of it.
fn read_config(path: &Path) -> Result<Vec<u8>, BundleError> {
    // O_NONBLOCK: opening a FIFO waits for a writer otherwise. O_NOCTTY: a terminal must not become ours.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = file.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            let text = "JSON specification file config.json not found".to_owned();
            BundleError { text, at: None, errno: error.raw_os_error() }
        }
        _ => BundleError::from_io("open config.json", &error),
    })?;
    let found = file.metadata().map_err(|e| BundleError::from_io("stat config.json", &e))?;
    if let Some(kind) = irregular(found.file_type()) {
        return Err(BundleError::plain(format!("config.json: is {kind}, expected a regular file")));
    }
    if found.len() > LIMIT {
        return Err(too_large(&format!("{} bytes", found.len())));
    }
    read_some(&file, found.len())
}

fn read_some(file: &File, len: u64) -> Result<Vec<u8>, BundleError> {
    let mut bytes = Vec::with_capacity(usize::try_from(len).map_or(0, |len| len.saturating_add(1)));
    // A file may grow while it is read, and those of /proc have no length at all.
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(|e| BundleError::from_io("read config.json", &e))?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > LIMIT) {
        return Err(too_large("the file"));
    }
    Ok(bytes)
}

fn too_large(what: &str) -> BundleError {
    BundleError::plain(format!("config.json: {what} is more than the limit of {} MiB", LIMIT >> 20))
}

fn irregular(kind: std::fs::FileType) -> Option<&'static str> {
    match () {
        () if kind.is_file() => None,
        () if kind.is_dir() => Some("a directory"),
        () if kind.is_fifo() => Some("a FIFO"),
        () if kind.is_char_device() => Some("a character device"),
        () if kind.is_block_device() => Some("a block device"),
        () => Some("no file"),
    }
}

/// A word of the config as messages show it: on one line and not too long.
fn shown(word: &str) -> String {
    let mut word = word.escape_debug().to_string();
    shorten(&mut word, 80);
    word
}

fn shorten(text: &mut String, limit: usize) {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
        text.push('…');
    }
}

#[cfg(test)]
mod tests;
