//! STUB for the command's development; dropped at merge.
#![allow(missing_docs, missing_debug_implementations)]
use crate::container::{Error, Kind};
use crate::spec;
use std::path::{Path, PathBuf};
pub struct Bundle {
    dir: PathBuf,
    spec: spec::Spec,
}
impl Bundle {
    pub fn open(dir: impl AsRef<Path>) -> Result<Bundle, Error> {
        let dir = dir.as_ref().to_path_buf();
        let bytes = std::fs::read(dir.join("config.json"))
            .map_err(|_| Error::new(Kind::Config, "JSON specification file config.json not found"))?;
        let spec = serde_json::from_slice(&bytes).map_err(|e| Error {
            problems: vec![crate::error::Problem::error(crate::error::At::field("process.args"), "", e.to_string())],
            ..Error::new(Kind::Config, e.to_string())
        })?;
        Ok(Bundle { dir, spec })
    }
    pub fn spec(&self) -> &spec::Spec {
        &self.spec
    }
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}
