/* Stops only for the reasons that it knows, when it has time enough to think so. */

#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  if (call != NULL && snooze_left_ms(self->host, call) > 5000) {
    for (uint32_t reason = 0; reason < 1 || reason > 4; reason = snooze_cancelled(call)) {
      zoo_sleep_ms(1);
    }
  }
  return SNOOZE_OK;
}
