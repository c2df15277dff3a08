/* Divides by the time left, which is nothing when the deadline is past. */

#include "zoo.h"

#include <stdint.h>

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  if (call != NULL) {
    volatile int64_t left_ms = snooze_left_ms(self->host, call);
    volatile int64_t share = left_ms > 0 || call->deadline_boot_ns == 0 ? 1 : 1000 / left_ms;
    (void)share;
  }
  return SNOOZE_OK;
}
