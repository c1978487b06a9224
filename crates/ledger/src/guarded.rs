//! Where a library's decoder panics on bytes that nobody should have written, the panic stops here: such bytes are
//! damage, and damage is an error that names its object.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `decode` answers; a panic in it is an answer, too. It must leave nothing half changed behind.
pub(crate) fn guarded<T>(decode: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| Err("it cannot be decoded".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        assert_eq!(guarded::<()>(|| panic!("by the library")), Err("it cannot be decoded".to_owned()));
        assert_eq!(guarded(|| Ok(1)), Ok(1));
    }
}
