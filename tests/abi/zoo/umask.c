/* Makes the files of the whole process writable for everybody. */

#include "zoo.h"

#include <sys/stat.h>

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  umask(0);
  return SNOOZE_OK;
}
