/* Where a handler leaves the time of its first instruction, and how whoever waits for its end is woken.
 *
 * Every design in C, C++ and Rust calls code made from this header, so that all measure the same. The wake-up stands
 * behind the reading of the clock: it is part of no figure. Apache-2.0. */

#ifndef LATENCY_SLOT_H
#define LATENCY_SLOT_H

#include <linux/futex.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* One cache line, so that handlers on several CPUs do not slow each other down. The same layout stands in src/slot.rs. */
struct latency_slot {
  int64_t started_ns; /* CLOCK_MONOTONIC */
  uint32_t done;      /* 0 before the call, 1 after it; the word that is waited on */
} __attribute__((aligned(64)));

static inline int64_t latency_now_ns(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The whole work of a handler. Not FUTEX_PRIVATE: a plugin maps the slot at an address of its own. */
static inline void latency_mark(struct latency_slot *slot)
{
  slot->started_ns = latency_now_ns();
  __atomic_store_n(&slot->done, 1u, __ATOMIC_RELEASE);
  syscall(SYS_futex, &slot->done, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* Waits for the end of the handler and makes the slot ready for the next event. No time limit: a limit would start a
 * timer between the publishing and the handler's start. */
static inline void latency_wait(struct latency_slot *slot)
{
  while (__atomic_load_n(&slot->done, __ATOMIC_ACQUIRE) == 0) {
    syscall(SYS_futex, &slot->done, FUTEX_WAIT, 0, NULL, NULL, 0);
  }
  __atomic_store_n(&slot->done, 0u, __ATOMIC_RELAXED);
}

#endif
