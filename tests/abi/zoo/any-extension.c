/* Has an extension for everybody. */

#define ZOO_GET_EXTENSION get_anything
#include "zoo.h"

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  return SNOOZE_OK;
}

static const void *get_anything(const snooze_plugin *plugin, const char *id)
{
  (void)id;
  return plugin;
}
