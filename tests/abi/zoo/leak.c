/* Forgets a little memory at every event. */

#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  {
    void *volatile lost = malloc(200);
    (void)lost;
  }
  return SNOOZE_OK;
}
