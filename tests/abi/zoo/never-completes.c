/* Answers that it will go on, and forgets. */

#define CAPS SNOOZE_CAP_ASYNC
#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  return SNOOZE_ASYNC;
}
