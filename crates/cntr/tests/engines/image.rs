//! The one image: busybox, without a registry. `/bin/sh` and the applets of the black-box tests, users `root` and `mars`
//! (1000), and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{host, sandbox};

/// The root file system as a tar, made in `dir`.
pub fn tar(dir: &Path) -> PathBuf {
    let (tree, file) = (dir.join("rootfs"), dir.join("rootfs.tar"));
    if !file.exists() {
        sandbox::busybox_tree(&tree);
        host("tar", &["-C", &tree.to_string_lossy(), "-cf", &file.to_string_lossy(), "."]);
    }
    file
}

/// The image as a tar with an OCI layout in it, called `name` (`docker.io/library/box:latest`), made in `dir`.
pub fn archive(dir: &Path, name: &str) -> PathBuf {
    archive_of(dir, name, &["/bin/sh"])
}

/// The same with another command.
pub fn archive_of(dir: &Path, name: &str, command: &[&str]) -> PathBuf {
    let layout = dir.join("layout");
    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    let layer = blob(&layout, &fs::read(tar(dir)).unwrap(), "application/vnd.oci.image.layer.v1.tar");
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "Env": ["PATH=/usr/bin:/bin"], "Cmd": command },
        // one layer, not compressed: its digest is that of what it holds
        "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
    });
    let config = document(&layout, &config, "application/vnd.oci.image.config.v1+json");
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({ "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer] });
    let mut manifest = document(&layout, &manifest, media_type);
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": name, "io.containerd.image.name": name });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    fs::write(layout.join("oci-layout"), json!({ "imageLayoutVersion": "1.0.0" }).to_string()).unwrap();
    let file = dir.join("image.tar");
    host("tar", &["-C", &layout.to_string_lossy(), "-cf", &file.to_string_lossy(), "."]);
    file
}

fn document(layout: &Path, value: &Value, media_type: &str) -> Value {
    blob(layout, value.to_string().as_bytes(), media_type)
}

/// Writes a blob under the name of its digest, and describes it.
fn blob(layout: &Path, bytes: &[u8], media_type: &str) -> Value {
    let written = layout.join("blob");
    fs::write(&written, bytes).unwrap();
    let digest = host("sha256sum", &[&written.to_string_lossy()]);
    let digest = digest.split(' ').next().unwrap().trim_start_matches('\\');
    fs::rename(&written, layout.join("blobs/sha256").join(digest)).unwrap();
    json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len() })
}
