/* Waits for the cancellation to change, and so misses one that came before it began. */

#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  if (call != NULL && snooze_left_ms(self->host, call) > 5000) {
    for (uint32_t before = snooze_cancelled(call); snooze_cancelled(call) == before;) {
      zoo_sleep_ms(1);
    }
  }
  return SNOOZE_OK;
}
