/* Answers a number that means nothing. */

#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;

  return 12345;
}
