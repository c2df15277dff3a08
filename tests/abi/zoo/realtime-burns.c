/* Claims SNOOZE_CAP_REALTIME and computes for three milliseconds. */

#define CAPS SNOOZE_CAP_REALTIME
#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  struct timespec begin, now;
  (void)self, (void)event, (void)call;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  do {
    clock_gettime(CLOCK_MONOTONIC, &now);
  } while ((now.tv_sec - begin.tv_sec) * 1000000000L + now.tv_nsec - begin.tv_nsec < 3000000);
  return SNOOZE_OK;
}
