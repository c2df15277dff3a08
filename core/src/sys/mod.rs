//! The fence around the kernel: every system call with a rule of its own stands here behind a safe
//! function. Inputs: plain values. Outputs: plain values and errors that name the call. Must never
//! know what an event or a plugin is.

pub mod beat;
pub mod bell;
pub mod clock;
pub mod conduct;
pub mod confine;
pub mod dmi;
pub mod fault;
pub mod memory;
pub mod peer;
pub mod prefetch;
pub mod process;
pub mod sched;
pub mod shared;
pub mod slate;
pub mod socket;
pub mod surroundings;

/// Ends the process at once, without running exit handlers or static destructors: those of plugins
/// run in an order that nobody can steer, and may use what is gone already. Flush first.
pub fn leave(code: i32) -> ! {
    // SAFETY: _exit(2) only ends the process.
    #[allow(unsafe_code)]
    unsafe {
        libc::_exit(code)
    }
}
