//! `snooze-plugin-host`: runs one plugin in a process of its own. The daemon starts it; there is nothing to do by hand.
//! Inputs: a socket for standard input. Outputs: an exit status. Must never hold logic of its own.

fn main() {
    // Leaves without the static destructors of the library: their order is nobody's to steer.
    cloudsnooze::sys::leave(cloudsnooze::host::isolate::child::main())
}
