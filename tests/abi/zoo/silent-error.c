/* Fails and does not say why. */

#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;

  return SNOOZE_E_IO;
}
