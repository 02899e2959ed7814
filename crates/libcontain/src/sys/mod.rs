//! System calls that rustix lacks.
pub mod bpf;
