/* Takes it for granted that every event that is over is one that it told. */

#define CAPS SNOOZE_CAP_SOURCE
#define ZOO_GET_EXTENSION get_source
#include "zoo.h"

#include <poll.h>

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  return SNOOZE_OK;
}

static snooze_status run(const snooze_plugin *plugin, const snooze_source_host *source)
{
  snooze_source_health health = {sizeof health, SNOOZE_SOURCE_SEEING, 60000, {NULL, 0}};
  struct pollfd stopped = {source->stop_fd, POLLIN, 0};
  (void)plugin;
  source->health(source, &health);
  poll(&stopped, 1, -1);
  return SNOOZE_OK;
}

static void over(const snooze_plugin *plugin, const snooze_over *over)
{
  int *known = over->event_id[0] == 1 ? (int *)plugin->ctx : NULL;
  *(volatile int *)known = 1;
}

static const void *get_source(const snooze_plugin *plugin, const char *id)
{
  static const snooze_source SOURCE = {sizeof(snooze_source), 0, run, NULL, over};
  (void)plugin;
  return strcmp(id, SNOOZE_EXTENSION_SOURCE) == 0 ? &SOURCE : NULL;
}
