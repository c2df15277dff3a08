/* Has room for forty events and does not look. */

#include "zoo.h"

static int next;

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  if (next++ == 40) {
    abort();
  }
  return SNOOZE_OK;
}
