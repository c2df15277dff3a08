/* Claims SNOOZE_CAP_REENTRANT, and breaks when two calls meet. */

#define CAPS SNOOZE_CAP_REENTRANT
#include "zoo.h"

#include <stdatomic.h>

static atomic_int inside;

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  /* Stands for a container that two threads change at the same time. */
  if (atomic_fetch_add(&inside, 1) != 0) {
    abort();
  }
  zoo_sleep_ms(1);
  atomic_fetch_sub(&inside, 1);
  return SNOOZE_OK;
}
