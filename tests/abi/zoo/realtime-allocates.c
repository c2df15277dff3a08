/* Claims SNOOZE_CAP_REALTIME and allocates. */

#define CAPS SNOOZE_CAP_REALTIME
#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  char *volatile text = (char *)malloc(100);
  (void)self, (void)event, (void)call;
  free(text);
  return SNOOZE_OK;
}
