//! The ring: one active key, others accept-only or retired. An illegal ring can't be built.
