/* Changes how the whole process reads and writes numbers. */

#include "zoo.h"

#include <locale.h>

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  setlocale(LC_ALL, "C.UTF-8");
  return SNOOZE_OK;
}
