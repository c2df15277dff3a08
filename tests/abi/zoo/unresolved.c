/* Calls a function that no library has. */

#include "zoo.h"

void nobody_has_this(void);

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  nobody_has_this();
  return SNOOZE_OK;
}
