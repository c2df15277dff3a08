/* Claims SNOOZE_CAP_REALTIME and asks the kernel something each time. */

#define CAPS SNOOZE_CAP_REALTIME
#include "zoo.h"

#include <sys/syscall.h>

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  return syscall(SYS_getppid) > 0 ? SNOOZE_OK : SNOOZE_SKIPPED;
}
