/* Its constructor changes the floating-point mode of the thread that loads it, as -ffast-math does. */

#include "zoo.h"

__attribute__((constructor)) static void flush_to_zero(void)
{
#if defined(__x86_64__)
  unsigned mode;
  __asm__ volatile("stmxcsr %0" : "=m"(mode));
  mode |= 0x8040;
  __asm__ volatile("ldmxcsr %0" : : "m"(mode));
#elif defined(__aarch64__)
  unsigned long mode;
  __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
  mode |= 1ul << 24;
  __asm__ volatile("msr fpcr, %0" : : "r"(mode));
#endif
}

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;

  return SNOOZE_OK;
}
