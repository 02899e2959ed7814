//! The `features` document.
