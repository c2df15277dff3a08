/* Attaches a gigabyte to its answer. Nobody ever reads it, so it costs no memory. */

#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  {
    size_t len = (size_t)1 << 30;
    char *text = (char *)calloc(len, 1);
    if (text != NULL) {
      snooze_set_result(self->host, call, snooze_str_of(text, len));
      free(text);
    }
  }
  return SNOOZE_OK;
}
