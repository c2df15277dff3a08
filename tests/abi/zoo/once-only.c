/* Cannot bear the same delivery a second time. */

#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  static unsigned char seen[16];
  (void)self, (void)event;
  if (call != NULL) {
    if (memcmp(seen, call->idempotency_key, sizeof seen) == 0) {
      abort();
    }
    memcpy(seen, call->idempotency_key, sizeof seen);
  }
  return SNOOZE_OK;
}
