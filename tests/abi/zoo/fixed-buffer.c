/* Copies the provider's document into a buffer of four kilobytes. */

#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  if (event != NULL) {
    char buffer[4096];
    snooze_str raw = snooze_event_text(self->host, event, SNOOZE_FIELD_RAW);
    void *(*volatile copy)(void *, const void *, size_t) = memcpy;
    if (raw.len > 0) {
      copy(buffer, raw.ptr, raw.len);
      snooze_logf(self->host, SNOOZE_LOG_DEBUG, "%c", buffer[0]);
    }
  }
  return SNOOZE_OK;
}
