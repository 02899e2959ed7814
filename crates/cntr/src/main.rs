//! `cntr`: a runc-compatible OCI container runtime over `libcontain`.
fn main() {
    println!("hi");
}
