//! Simple plugins for tests of the daemon around them.
