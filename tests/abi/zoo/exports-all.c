/* Exports a function with a name that another library may have too. */

#include "zoo.h"

__attribute__((visibility("default"))) int init(void);

int init(void) { return 0; }

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  return SNOOZE_OK;
}
