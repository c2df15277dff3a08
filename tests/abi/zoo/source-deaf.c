/* Watches on when it is told to stop. */

#define CAPS SNOOZE_CAP_SOURCE
#define ZOO_GET_EXTENSION get_source
#include "zoo.h"


static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  return SNOOZE_OK;
}

static snooze_status run(const snooze_plugin *plugin, const snooze_source_host *source)
{
  snooze_source_health health = {sizeof health, SNOOZE_SOURCE_SEEING, 60000, {NULL, 0}};
  (void)plugin;
  source->health(source, &health);
  zoo_sleep_ms(60000);
  return SNOOZE_OK;
}

static const void *get_source(const snooze_plugin *plugin, const char *id)
{
  static const snooze_source SOURCE = {sizeof(snooze_source), 0, run, NULL, NULL};
  (void)plugin;
  return strcmp(id, SNOOZE_EXTENSION_SOURCE) == 0 ? &SOURCE : NULL;
}
