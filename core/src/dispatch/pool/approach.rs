//! What a notice on its way will need: asked for while it is still being read.
//!
//! Inputs: the plan that its event will have. Outputs: none; lines on their way into the cache of this CPU. Must never
//! take the lock or wait.

use super::{Pool, Shared};
use crate::dispatch::plan::Plan;
use crate::host;
use crate::sys::prefetch;

impl Pool {
    /// An event with this plan may come. Source threads, as soon as they hold a notice and before they read it.
    pub fn approach(&self, plan: &Plan<Shared>) {
        // Code first: it is the most, and needs no pointer to be followed.
        prefetch::hot_code();
        prefetch::value(&*self.0);
        host::approach();
        prefetch::value(plan);
        prefetch::value(plan.wants(0));
        if let Some(first) = plan.first() {
            prefetch::value(&**first);
            first.instance.approach();
        }
    }
}
