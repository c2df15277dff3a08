/* Opens a file in every run and never closes it. */

#define CAPS SNOOZE_CAP_SOURCE
#define ZOO_GET_EXTENSION get_source
#include "zoo.h"

#include <fcntl.h>
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
  if (open("/dev/null", O_RDONLY | O_CLOEXEC) < 0) {
    return SNOOZE_E_IO;
  }
  poll(&stopped, 1, -1);
  return SNOOZE_OK;
}

static const void *get_source(const snooze_plugin *plugin, const char *id)
{
  static const snooze_source SOURCE = {sizeof(snooze_source), 0, run, NULL, NULL};
  (void)plugin;
  return strcmp(id, SNOOZE_EXTENSION_SOURCE) == 0 ? &SOURCE : NULL;
}
