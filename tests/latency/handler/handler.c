/* The handler that every design calls through a pointer from dlsym, as a plugin would be called. Its very first
 * instructions read the clock; other work it has none. Apache-2.0. */

#define _GNU_SOURCE

#include "slot.h"

__attribute__((visibility("default"))) void latency_handler(struct latency_slot *slot) { latency_mark(slot); }
